"""The node that README describes: its networks, pods that run, pods that are gone, an operator's shell."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from contextlib import ExitStack
from typing import Any

from plugin.node.identity import machine_id
from tests.support import makeconfig, readme
from tests.support.apiserver import ApiServer
from tests.support.dist import ARCHIVE
from tests.support.netns import Machine
from tests.support.nodes import make_node
from tests.support.parts import host_local
from tests.support.rules import node_authorizer
from tests.support.runtime import Answer, Call, Config, Pod, run

NODE = "vm-002"
PODCIDRS = ("11.0.1.0/24", "1100:0:0:1::/64")
BIN = "/opt/cni/bin"
RELEASE = "/run/release"
CONF = "/etc/cni/net.d"
RESULTS = "/var/lib/cni/results"
KUBECONFIG = "/etc/kubernetes/kubelet.conf"
CERTIFICATE = "/var/lib/kubelet/pki/kubelet-client-current.pem"
STATE = "/run/container-ipam-state"
UPTIME = 400000  # seconds since boot, for the commands of the operator
_PREPARE = f"""
cp -a /etc /run/etc
mount --bind /run/etc /etc
rm -rf /etc/cni /etc/kubernetes
mkdir -p {CONF} /etc/kubernetes {RELEASE} {RESULTS} /var/lib/kubelet/pki /run/opt/cni/bin
mount --bind /run/opt /opt
"""


class Scene:
    """A context manager: a machine of its own, with the reference plugins and the kubelet's credentials."""

    def __enter__(self) -> Scene:
        self.environ = {"CNI_PATH": BIN, "PATH": os.environ["PATH"]}
        with ExitStack() as stack:
            self.machine = Machine()
            stack.enter_context(self.machine)
            self.server = ApiServer(rule=node_authorizer)
            self.machine.call(self.server.start)
            stack.callback(self.server.stop)
            plugins = {name: _bytes(os.path.join(host_local(), name)) for name in os.listdir(host_local())}
            self.machine.run("sh", "-ec", _PREPARE)
            for name, content in plugins.items():
                self.write(f"{BIN}/{name}", content, 0o755)
            shutil.copy(ARCHIVE, self.file(RELEASE))
            self.server.add(make_node(NODE, PODCIDRS, machine_id=machine_id()))
            self._write_credentials()
            self.write("/run/containerd", _bytes("/bin/cat"), 0o755)  # /proc is the machine's if a runtime is in it
            runtime = subprocess.Popen([*self.machine.enter, "/run/containerd"], stdin=subprocess.PIPE)
            stack.callback(runtime.communicate)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stack.close()

    def _write_credentials(self) -> None:
        """Write the kubelet's credentials where kubeadm puts them."""
        pair = self.server.client_authority.client(f"system:node:{NODE}", ("system:nodes",))
        self.write(CERTIFICATE, pair.certificate + pair.key, 0o600)
        kubeconfig = self.server.kubeconfig("none", f"system:node:{NODE}")
        kubeconfig["users"][0]["user"] = {"client-certificate": CERTIFICATE, "client-key": CERTIFICATE}
        self.kubeconfig(kubeconfig)

    def kubeconfig(self, value: dict[str, Any]) -> None:
        """Let this be the kubelet's kubeconfig."""
        self.write(KUBECONFIG, makeconfig.as_yaml(value).encode(), 0o600)

    def configure(self) -> None:
        """Write README's files and annotate the Node as README does."""
        for path, text in readme.files().items():
            self.write(path, text.encode())
        for command in readme.commands():
            words = shlex.split(command) if command.startswith("kubectl annotate node ") else []
            if words:
                name, _, value = words[4].partition("=")
                self.server.annotate(words[3], name, value)

    def shell(self, command: str, directory: str = "/") -> subprocess.CompletedProcess[str]:
        """Run a command of README's on a machine that was started long ago, whatever comes of it."""
        script = f"cd {directory} && {command}"
        clock = ["unshare", "--kill-child", "--time", f"--boottime={UPTIME}"]
        argv = [*self.machine.enter, *clock, "sh", "-c", script]
        environ = {"PATH": os.environ["PATH"], "HOME": "/root"}
        return subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)

    def call(self, command: str, config: Config, pod: Pod) -> Answer:
        """Run each plugin of a configuration or list for a pod, as libcni does; the last answer, or the first error."""
        plugins = config.get("plugins", [config])
        head = {"cniVersion": config["cniVersion"], "name": config["name"]}
        previous = self._result(config, pod).get("result") if command in ("CHECK", "DEL") else None
        for plugin in plugins if command != "DEL" else reversed(plugins):
            request = {**plugin, **head, **({"prevResult": previous} if previous else {})}
            environ = {**pod.arguments(), "CNI_NETNS": f"/run/netns/{pod.name}", "CNI_COMMAND": command}
            environ |= self.environ
            argv = (*self.machine.enter, f"{BIN}/{plugin['type']}")
            answer = run(Call(argv, environ, json.dumps(request).encode()))
            if answer.status:
                return answer
            if command == "ADD":
                previous = answer.document()
        if command == "ADD":
            self._keep(config, pod, previous)
        if command == "DEL":
            os.unlink(self.file(self._kept(config, pod)))
        return answer

    def pod(self, name: str) -> Pod:
        """Make the network namespace of a pod."""
        self.machine.run("ip", "netns", "add", name)
        return Pod(name)

    def end(self, pod: Pod) -> None:
        """End a pod and its network namespace without a DEL."""
        self.machine.run("ip", "netns", "del", pod.name)

    def leases(self, config: Config, pod: Pod | None = None) -> list[str]:
        """Return the addresses in host-local's store of a network, or those of one pod."""
        store = self.file(f"{STATE}/{config['name']}/{config['name']}")
        if not os.path.isdir(store):
            return []
        found = [name for name in os.listdir(store) if name != "lock" and not name.startswith("last_reserved_ip")]
        return sorted(name for name in found if not pod or pod.container.encode() in _bytes(f"{store}/{name}"))

    def lease(self, network: str, address: str, content: str = "", age: float = 0.0) -> None:
        """Write a lease, or make one older."""
        path = f"{STATE}/{network}/{network}/{address}"
        if not os.path.exists(self.file(path)):
            self.write(path, content.encode())
        made = time.time() - age
        os.utime(self.file(path), (made, made))

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file of the machine."""
        with open(self.file(path), "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)

    def file(self, path: str) -> str:
        """Return where a file of the machine is for this process."""
        return f"/proc/{self.machine.pid}/root{path}"

    def _kept(self, config: Config, pod: Pod) -> str:
        return f"{RESULTS}/{config['name']}-{pod.container}-{pod.interface}"

    def _keep(self, config: Config, pod: Pod, result: Any) -> None:
        """Write what libcni keeps of an attachment."""
        kept = {
            "kind": "cniCacheV1",
            "containerId": pod.container,
            "config": json.dumps(config),
            "ifName": pod.interface,
            "networkName": config["name"],
            "netns": f"/run/netns/{pod.name}",
            "result": result,
        }
        self.write(self._kept(config, pod), json.dumps(kept).encode())

    def _result(self, config: Config, pod: Pod) -> Config:
        found: Config = json.loads(_bytes(self.file(self._kept(config, pod))))
        return found


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
