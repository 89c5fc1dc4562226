"""A node as kubelet and containerd make it: the plugins installed, the kubelet's credentials in their usual place."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from plugin.node.identity import machine_id
from tests.support import cgroups, makeconfig
from tests.support.apiserver import ApiServer
from tests.support.containerd import Containerd
from tests.support.netns import Machine
from tests.support.nodes import make_node
from tests.support.rules import node_authorizer
from tests.support.runtime import Config, Pod

T = TypeVar("T")
K = TypeVar("K")

NODE = "vm-002"
PODCIDRS = ("11.0.1.0/24", "1100:0:0:1::/64")
STATE = "/run/container-ipam-state"
KUBECONFIG = "/var/lib/kubelet/kubeconfig"
WORKERS = 8


class CriNode:
    """One node. All paths in configurations are the machine's own; the API server is on its loopback."""

    def __init__(self, containerd: Containerd, server: ApiServer) -> None:
        self.containerd = containerd
        self.server = server
        self.node = server.add(make_node(NODE, PODCIDRS, machine_id=machine_id()))
        server.rule = node_authorizer
        kubeconfig = server.kubeconfig("certificate", f"system:node:{NODE}", ("system:nodes",))
        self.write(KUBECONFIG, makeconfig.as_yaml(kubeconfig))

    def config(self, network: str = "k8snet", *, version: str = "1.0.0", **ipam: Any) -> Config:
        """Return a network of type kube-node, its leases on a tmpfs."""
        keys = {"type": "kube-node", "dataDir": f"{STATE}/{network}", **ipam}
        return {"cniVersion": version, "name": network, "ipam": keys}

    def write(self, path: str, text: str) -> None:
        """Write a file of the machine."""
        directory, name = os.path.split(self.containerd.file(path))
        os.makedirs(directory, exist_ok=True)
        makeconfig.write(directory, name, text.encode())

    def serve(self) -> None:
        """Start the API server again after server.stop()."""
        self.containerd.machine.call(self.server.start)

    def start(self, pods: Sequence[Pod]) -> dict[str, list[str]]:
        """Start pods, some at a time; return their addresses by the ids of their sandboxes."""
        sandboxes = at_once(self.containerd.cri.start, pods)
        return {sandbox: self.containerd.cri.addresses(sandbox) for sandbox in sandboxes}

    def end(self, sandboxes: Sequence[str]) -> None:
        """Stop and remove these, some at a time."""
        at_once(self.containerd.cri.end, sandboxes)

    def leases(self, network: str = "k8snet") -> dict[str, str]:
        """Return the leases in host-local's store: address -> the id of the container."""
        directory = f"{STATE}/{network}/{network}"
        names = [name for name in self.containerd.names(directory) if name[0] in "0123456789abcdef" and "_" not in name]
        return {name: self._owner(f"{directory}/{name}") for name in names}

    def pass_time(self, seconds: float, network: str = "k8snet") -> None:
        """Let all leases be this much older: by their files, and by the clock since boot of what is started now."""
        for name in self.leases(network):
            path = self.containerd.file(f"{STATE}/{network}/{network}/{name}")
            made = os.stat(path).st_mtime - seconds
            os.utime(path, (made, made))
        self.containerd.later += seconds

    def results(self) -> set[str]:
        """Return the ids of the containers that libcni keeps a result of."""
        return {name.split("-")[-2] for name in self.containerd.names("/var/lib/cni/results")}

    def _owner(self, path: str) -> str:
        with open(self.containerd.file(path), encoding="utf-8") as file:
            return file.read().split()[0]


@contextlib.contextmanager
def running(plugins: str, directory: str) -> Iterator[CriNode]:
    """Make a node with these plugins; remove it at the end, also after a failure."""
    server = ApiServer()
    with contextlib.ExitStack() as stack:
        stack.callback(cgroups.remove)
        machine = Machine()
        stack.enter_context(machine)
        machine.call(server.start)
        stack.callback(server.stop)
        yield CriNode(stack.enter_context(Containerd(machine, plugins, directory)), server)


def at_once(function: Callable[[K], T], each: Sequence[K]) -> list[T]:
    """Call a function for each of these, eight at a time."""
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(function, each))
