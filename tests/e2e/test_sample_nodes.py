"""Nodes as distributions make them: the built kube-node, without a key, has this node's ranges or says what to do."""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import noderoot, parts
from tests.support.apiserver import ApiServer
from tests.support.dist import ARCHIVE
from tests.support.nodes import make_node
from tests.support.pki import Authority
from tests.support.rules import User
from tests.support.samples import ACCOUNTS, SAMPLES, Entry, Sample

AUTHORITY = Authority()
MACHINE = "0123456789abcdef0123456789abcdef"
CHECKS = ("kubeconfig", "credential", "server", "permission", "node", "ranges")
RANGE, OTHER_RANGE = "10.244.7.0/24", "172.31.0.0/24"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/c1",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
}
_OUTSIDE = 'echo "$1" > /proc/sys/kernel/hostname; shift; exec chroot "$@"'
# The arguments are the kubelet's command line, if it has one. Everything printed is in a file.
_INSIDE = """
if [ $# -gt 0 ]; then
  /usr/bin/python3 -ISc 'import os, sys; wait = "import time; time.sleep(60)"
os.execv("/usr/bin/python3", [sys.argv[1], "-ISc", wait, *sys.argv[2:]])' "$@" < /dev/null > /dev/null 2>&1 &
  until tr '\\0' '\\n' < /proc/$!/cmdline | head -n 1 | grep -q kubelet; do sleep 0.02; done
fi
for command in ADD DEL; do
  CNI_COMMAND=$command /opt/cni/bin/kube-node < /request > /out/$command 2> /out/$command.stderr
  echo $? > /out/$command.status
done
/opt/cni/bin/node-ipam.pyz doctor -o json > /out/doctor 2> /out/doctor.stderr
[ $# = 0 ] || kill $!
"""


class Machine:
    """A node of a sample: its root, the API server of its cluster, and what the plugin printed there."""

    def __init__(self, sample: Sample, directory: Path, server: ApiServer) -> None:
        self.sample = sample
        self.root = noderoot.NodeRoot(str(directory / "root"))
        self.local = directory / "local"  # is /usr/local
        self.local.mkdir()
        self.root.mount(str(self.local), "usr/local")
        self.server = server
        server.rule, server.reviews = sample.rule, sample.reviews
        server.add(make_node(sample.node, [RANGE], machine_id=MACHINE))
        server.add(make_node("another", [OTHER_RANGE]))
        self.values = self._values()
        for entry in ACCOUNTS + sample.files:
            self._make(entry)
        self._make(("/etc/machine-id", 0o444, 0, 0, f"{MACHINE}\n"))
        for name in ("out", "run", "tmp", "opt/cni/bin"):
            self.root.make(name)
        ipam = {"type": "kube-node", **dict(sample.ipam)}
        network = {"cniVersion": "1.0.0", "name": "k8snet", "type": "bridge", "ipam": ipam}
        self._make(("/request", 0o600, 0, 0, json.dumps(network)))
        self._make(("/etc/cni/net.d/10-k8snet.conf", 0o600, 0, 0, json.dumps(network)))
        self._install()

    def _values(self) -> dict[str, str]:
        user, groups = f"system:node:{self.sample.node}", ("system:nodes",)
        authority = AUTHORITY
        pair, old = authority.client(user, groups), authority.client(user, groups, expired=True)
        token = self.server.token(user, groups)
        status = {"clientCertificateData": pair.certificate.decode(), "clientKeyData": pair.key.decode()}
        return {
            "server": self.server.url,
            "ca": authority.ca_pem.decode(),
            "ca_data": _data(authority.ca_pem),
            "certificate": pair.certificate.decode(),
            "key": pair.key.decode(),
            "pem": (pair.certificate + pair.key).decode(),
            "old_certificate_data": _data(old.certificate),
            "old_key_data": _data(old.key),
            "token": token,
            "bound_token": self._bound_token(),
            "token_program": _program({"token": token}),
            "certificate_program": _program(status),
        }

    def _bound_token(self) -> str:
        """The token of a pod on this node."""
        claims = {"kubernetes.io": {"namespace": "kube-system", "node": {"name": self.sample.node}}}
        texts = [json.dumps(part).encode() for part in ({"alg": "RS256"}, claims, {})]
        token = ".".join(base64.urlsafe_b64encode(text).decode().rstrip("=") for text in texts)
        self.server.users[token] = User("system:serviceaccount:kube-system:plugin")
        return token

    def _outside(self, path: str) -> Path:
        if path.startswith("/usr/local/"):
            return self.local / path[len("/usr/local/") :]
        return Path(self.root.path) / path.lstrip("/")

    def _make(self, entry: Entry) -> None:
        path = self._outside(entry[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        if len(entry) == 2:
            path.symlink_to(str(entry[1]))
            return
        mode, user, group, *text = entry[1:]
        if text:
            path.write_text(self._filled(str(text[0])))
        else:
            path.mkdir(exist_ok=True)
        os.chown(path, int(user), int(group))
        path.chmod(int(mode))

    def _filled(self, text: str) -> str:
        for name, value in self.values.items():
            text = text.replace("{" + name + "}", value)
        return text

    def _install(self) -> None:
        directory = self._outside("/opt/cni/bin")
        shutil.copy(ARCHIVE, directory)
        shutil.copy(os.path.join(parts.host_local(), "host-local"), directory)
        (directory / "kube-node").symlink_to(os.path.basename(ARCHIVE))

    def run(self) -> None:
        """ADD, DEL and doctor, in this order."""
        outside = ["unshare", "--uts", "sh", "-ec", _OUTSIDE, "sh", self.sample.host, self.root.path]
        done = self.root.run([*outside, "/bin/sh", "-c", _INSIDE, "sh", *self.sample.kubelet], ENVIRONMENT)
        assert done.stderr == ""

    def printed(self, name: str) -> str:
        """What there is in a file of /out."""
        return self._outside(f"/out/{name}").read_text()

    def document(self, name: str) -> Any:
        """The JSON that a command printed."""
        return json.loads(self.printed(name))

    def doctor(self) -> dict[str, dict[str, Any]]:
        """The lines of doctor by check."""
        return {line["check"]: line for line in self.document("doctor")["checks"]}


def _data(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def _program(status: dict[str, str]) -> str:
    answer = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1beta1", "status": status}
    return f"#!/bin/sh\ncat << 'END'\n{json.dumps(answer)}\nEND\n"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """The API server of a cluster."""
    if reason := noderoot.why_not():
        pytest.skip(reason)
    with ApiServer(authority=AUTHORITY) as running:
        yield running


@pytest.mark.parametrize("name", SAMPLES)
def test_sample(name: str, server: ApiServer, tmp_path: Path) -> None:
    """{"type": "kube-node"} gives an address of this node's range, or the error says the one thing to do."""
    sample = SAMPLES[name]
    machine = Machine(sample, tmp_path, server)
    machine.run()
    answer, doctor = machine.document("ADD"), machine.doctor()

    assert machine.printed("DEL.status") == "0\n", machine.printed("DEL")
    if not sample.kubeconfig:
        assert sample.expected in answer["msg"]
        assert sample.remedy in answer["details"]
        assert any(doctor[check]["status"] == "fail" and doctor[check]["remedy"] for check in CHECKS if check in doctor)
        return
    assert "ips" in answer, answer
    (address,) = (ipaddress.ip_interface(each["address"]) for each in answer["ips"])
    assert address.ip in ipaddress.ip_network(RANGE)
    assert doctor["kubeconfig"]["what"].startswith(f"{sample.kubeconfig} (")
    assert doctor["node"]["what"].startswith(f"{sample.node}, by {sample.expected}")
    for check in CHECKS:
        assert doctor[check]["status"] in ("ok", "warn"), doctor[check]
    found = {line["finding"] for line in doctor.values() if line["finding"]}
    assert found == {"links-unused", "plugins-missing"}  # of this node: it has kube-node and host-local only
