"""Multus' habits: the runtime runs our plugin with what Multus has cached (thin), or Multus' container does (thick).

https://github.com/k8snetworkplumbingwg/multus-cni/blob/master/pkg/server/exec_chroot.go
"""

from __future__ import annotations

import concurrent.futures
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugin.ops.install import archive
from tests.support import cgroups, makeconfig, noderoot
from tests.support.apiserver import ApiServer
from tests.support.dist import ARCHIVE
from tests.support.noderoot import NodeRoot
from tests.support.parts import host_local
from tests.support.runtime import Config, Pod, Runtime
from tests.support.world import NODE, World

PLUGINS = "/opt/cni/bin"
MEMORY = 50 << 20  # bytes, the limit in deployments/multus-daemonset-thick.yml
# What the container of Multus has and the node has not: files below /var/run/secrets are the container's own.
ENVIRON = {
    "KUBERNETES_SERVICE_HOST": "192.0.2.1",
    "KUBERNETES_SERVICE_PORT": "443",
    "KUBERNETES_PORT": "tcp://192.0.2.1:443",
}
ANNOTATION = "example.com/net"


class Thick(Runtime):
    """Runs plugins as thick Multus does: with the node's root, but the container's environment and memory."""

    def __init__(self, root: NodeRoot, memory: cgroups.Memory) -> None:
        join = f"echo $$ > {memory.processes}"
        chroot = shutil.which("chroot", path=f"{os.defpath}:/usr/sbin:/sbin")
        enter = root.command(["sh", "-ec", f'{join}; exec {chroot} {root.path} "$@"', "sh"])
        super().__init__([PLUGINS], {"PATH": os.defpath, "HOME": "/root", **ENVIRON}, enter)

    def find(self, name: str) -> str:
        """The path of a plugin, on the node."""
        return os.path.join(PLUGINS, name)


class ThickNode(World):
    """A node with Multus; configurations name no kubeconfig, the node has the kubelet's."""

    def __init__(self, directory: str, server: ApiServer) -> None:
        super().__init__(directory, server)
        root = NodeRoot(self.path("root"))
        for folder in ("etc/kubernetes", "run", "var/lib", "tmp", "root"):
            root.make(folder)
        plugins = root.make(PLUGINS[1:])
        archive.place(os.path.join(plugins, archive.FILE), Path(ARCHIVE).read_bytes())
        for name in archive.LINKS:
            os.symlink(archive.FILE, os.path.join(plugins, name))
        os.symlink(os.path.join(host_local(), "host-local"), os.path.join(plugins, "host-local"))
        kubeconfig = server.kubeconfig("certificate", f"system:node:{NODE}", ("system:nodes",))
        makeconfig.write(
            os.path.join(root.path, "etc/kubernetes"), "kubelet.conf", makeconfig.as_yaml(kubeconfig).encode()
        )
        self.memory = cgroups.Memory(MEMORY)
        self.runtime = Thick(root, self.memory)

    def leases(self, network: str = "k8snet", data: str = "root/run/data") -> list[str]:
        """The addresses that are reserved in a store on the node."""
        return super().leases(network, data)


@pytest.fixture
def thick(tmp_path: Path) -> Iterator[ThickNode]:
    """A node with thick Multus."""
    if noderoot.why_not():
        pytest.skip(noderoot.why_not())
    try:
        with ApiServer() as server:
            yield ThickNode(str(tmp_path), server)
    finally:
        cgroups.remove()


def configured(world: World, kind: str, data: str) -> Config:
    """Return a network of a NetworkAttachmentDefinition, with its leases in this directory."""
    if kind == "podCIDRs":
        return world.config(dataDir=data, kubeconfig=None)
    if kind == "annotation":
        world.annotate(ANNOTATION, "11.0.1.0/24,1100:0:0:1::/64")
        return world.config(dataDir=data, annotation=ANNOTATION, kubeconfig=None)
    ranges = '"ranges": [[{"subnet": "11.0.1.0/24"}], [{"subnet": "1100:0:0:1::/64"}]]'
    world.annotate(ANNOTATION, f'{ranges}, "dataDir": "{data}"')
    return {"cniVersion": "1.0.0", "name": "k8snet", "ipam": {"type": "node-annotation", "annotation": ANNOTATION}}


KINDS = ("podCIDRs", "annotation", "node-annotation")


@pytest.mark.parametrize("kind", KINDS)
def test_thick(thick: ThickNode, kind: str) -> None:
    """In another root, with a service's address in the environment and 50 MiB, a pod's life is as on the node."""
    config = configured(thick, kind, "/run/data")
    for name in ("cold", "known"):
        assert len(thick.addresses(config, name)) == 2
        checked = thick.runtime.run("CHECK", config, Pod(name))
        assert (checked.status, checked.stdout) == (0, b""), checked
    assert thick.server.count() == 1
    assert len(thick.leases()) == 4
    thick.server.stop()
    for name in ("cold", "known"):
        assert thick.delete(config, name).status == 0
    assert thick.leases() == []
    print(f"memory at most: {thick.memory.peak() >> 20} MiB")


def test_thick_many_at_once(thick: ThickNode) -> None:
    """Four pods at once, on a node never seen before, fit into the memory of Multus' container."""
    config = configured(thick, "podCIDRs", "/run/data")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        given = list(pool.map(lambda number: thick.addresses(config, f"web-{number}"), range(4)))
    print(f"memory at most: {thick.memory.peak() >> 20} MiB")

    assert len({address for addresses in given for address in addresses}) == 8
    assert thick.server.count() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_thin(world: World, kind: str) -> None:
    """CHECK and DEL find a pod's leases though Multus' cache has lost all but the names and types of its network.

    So did Multus of April 2025 to July 2026 where a network is a list: https://github.com/k8snetworkplumbingwg/multus-cni/pull/1521.
    """
    config = configured(world, kind, world.path("data"))
    if kind != "node-annotation":
        config["ipam"]["kubeconfig"] = world.kubeconfig
    else:
        world.annotated("k8snet", ANNOTATION)
    for name in ("one", "two"):
        world.addresses(config, name)
    lost = {"cniVersion": "1.0.0", "name": "k8snet", "type": "bridge", "ipam": {"type": config["ipam"]["type"]}}
    world.annotate(ANNOTATION, None)
    world.server.stop()

    for name in ("one", "two"):
        checked = world.runtime.run("CHECK", lost, Pod(name))
        assert (checked.status, checked.stdout) == (0, b""), checked
    assert len(world.leases()) == 4
    assert world.delete(lost, "one").status == 0
    assert len(world.leases()) == 2
    assert world.delete(lost, "two").status == 0
    assert world.leases() == []
