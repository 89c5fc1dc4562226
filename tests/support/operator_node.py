"""A node for the operator's commands: plugins installed, networks configured, an API server, leases in a store."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from plugin import deadline
from plugin.kube import places
from plugin.leases import hostlocal
from plugin.leases.evidence import results
from plugin.node import freshness, identity
from plugin.ops import main
from plugin.ops.doctor import doctor, state
from plugin.ops.install import archive
from plugin.ops.networks import networks
from plugin.ops.networks.configurations import Network
from tests.support.apiserver import ApiServer
from tests.support.fakeproc import FakeProc
from tests.support.nodes import make_node
from tests.support.parts import host_local
from tests.support.recorder import ROOT
from tests.support.rules import node_authorizer

NODE = "vm-002"
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0")
MACHINE_ID = "0123456789abcdef0123456789abcdef"
MOUNTINFO = "21 1 0:1 / / rw - ext4 /dev/vda1 rw\n22 21 0:2 / {} rw,nosuid shared:2 - tmpfs tmpfs rw\n"
MOUNTINFO += "23 21 0:3 / /run rw - tmpfs tmpfs rw\n"


def sources() -> dict[str, bytes]:
    """Return the program's own files as in an archive, without the bundled packages: VERSION does not need them."""
    found = {}
    for path in Path(ROOT, "plugin").rglob("*.py"):
        name = str(path.relative_to(ROOT))
        if not name.startswith("plugin/vendor/") or name == "plugin/vendor/__init__.py":
            found[name] = path.read_bytes()
    found["__main__.py"] = found["plugin/__main__.py"]
    return found


class OperatorNode:
    """A node in one directory; the program's fixed paths are redirected to it."""

    def __init__(self, directory: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.server = server
        self.monkeypatch = monkeypatch
        self.learnt: list[str] = []  # what the server was asked for while a test prepared the cache
        self.bin, self.conf, self.memory, self.results = (
            self.make(name) for name in ("bin", "net.d", "run", "results")
        )
        self.node = server.add(make_node(NODE, machine_id=MACHINE_ID))
        server.rule = node_authorizer
        monkeypatch.setattr(places, "ROOT", str(directory))
        monkeypatch.setattr(identity, "MACHINE_ID_FILES", (self.write("machine-id", MACHINE_ID + "\n"),))
        monkeypatch.setattr(results, "DIRECTORIES", (str(self.results),))
        self.proc = FakeProc(directory, monkeypatch)
        monkeypatch.setattr(hostlocal, "DATA_DIR", str(directory / "networks"))
        monkeypatch.setattr(state, "MOUNTS", self.write("mountinfo", MOUNTINFO.format(self.memory)))
        monkeypatch.setattr(doctor, "is_root", lambda: True)
        monkeypatch.setenv("CNI_PATH", str(self.bin))
        monkeypatch.setenv("HOME", str(directory))
        self.make("etc/kubernetes")
        self.kubeconfig = server.write_kubeconfig(directory / "etc/kubernetes/kubelet.conf", "kubelet", NODE)

    def install(self) -> None:
        """Put the program, its links and host-local into bin."""
        archive.place(str(self.bin / archive.FILE), archive.pack(sources(), sys.executable))
        for name in archive.LINKS:
            archive.link(str(self.bin / name), archive.FILE)
        archive.link(str(self.bin / "host-local"), os.path.join(host_local(), "host-local"))
        for name in ("bridge", "portmap"):
            self.plugin(name)

    def plugin(self, name: str, *versions: str) -> None:
        """Put a plugin into bin that speaks these versions, by default what bridge 1.1.1 speaks."""
        speaks = json.dumps({"cniVersion": "1.0.0", "supportedVersions": versions or VERSIONS})
        os.chmod(self.write(f"bin/{name}", f"#!/bin/sh\necho '{speaks}'\n"), 0o755)

    def make(self, name: str) -> Path:
        """A directory in it."""
        path = self.directory / name
        path.mkdir(parents=True)
        return path

    def write(self, name: str, text: str) -> str:
        """A file in it; its path."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    def network(self, name: str = "k8snet", **ipam: Any) -> dict[str, Any]:
        """Configure a network in a list of plugins; the configuration its first plugin gets. None leaves a key out."""
        keys = {"type": "kube-node", "dataDir": str(self.memory), **ipam}
        plugin = {"type": "bridge", "ipam": {key: value for key, value in keys.items() if value is not None}}
        config = {"cniVersion": "1.0.0", "name": name, "plugins": [plugin, {"type": "portmap"}]}
        self.write(f"net.d/10-{name}.conflist", json.dumps(config))
        return {"cniVersion": "1.0.0", "name": name, **plugin}

    def lease(self, address: str, owner: str = "", age: float = 0.0, network: str = "k8snet") -> Path:
        """A lease as host-local writes it; owner: container and interface, or the container alone, as it once was."""
        path = self.memory / network / address
        path.parent.mkdir(exist_ok=True)
        (path.parent / "lock").touch()
        path.write_bytes(owner.replace(" ", "\r\n").encode())
        made = time.time() - age
        os.utime(path, (made, made))
        return path

    def result(
        self, container: str, interface: str = "eth0", network: str = "k8snet", alive: bool = True, age: float = 86400.0
    ) -> Path:
        """What libcni keeps of an attachment, https://github.com/containernetworking/cni/blob/main/libcni/api.go.

        alive: whether its network namespace exists. age: seconds since it was made.
        """
        netns = self.proc.namespace(container) if alive else self.proc.gone(container)
        config = {"cniVersion": "1.0.0", "name": network, "plugins": [{"type": "bridge"}]}
        cached = {
            "kind": "cniCacheV1",
            "containerId": container,
            "config": json.dumps(config),
            "ifName": interface,
            "networkName": network,
            "netns": netns,
            "cniArgs": [["IgnoreUnknown", "1"], ["K8S_POD_NAME", "web-0"]],
            "result": {"cniVersion": "1.0.0", "ips": [{"address": "10.244.1.2/24"}]},
        }
        path = self.results / f"{network}-{container}-{interface}"
        path.write_text(json.dumps(cached), encoding="utf-8")
        os.utime(path, (time.time() - age,) * 2)
        return path

    def learn(self, config: dict[str, Any], **environ: str) -> None:
        """Let the cache know the Node, as after an ADD of this network in this environment."""
        before = len(self.server.requests)
        variables = {**os.environ, **environ}
        _, settings = networks.setup(Network(config, "test"), "STATUS", variables)
        with deadline.within(10):
            freshness.facts(settings)
        self.learnt += [asked.path for asked in self.server.requests[before:]]

    def feed(self, config: object) -> None:
        """Put a configuration on standard input."""
        text = config if isinstance(config, bytes) else json.dumps(config).encode()
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))

    def run(self, command: str, *arguments: str) -> int:
        """Run a command of the operator's; its exit status."""
        return main.run([str(self.bin / archive.FILE), command, "--conf-dir", str(self.conf), *arguments])
