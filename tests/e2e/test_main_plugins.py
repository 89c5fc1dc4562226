"""Pods through the real main plugins, which call our plugins for addresses.

A pod is a network namespace, and so is the node; the API server listens on the node's own loopback.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import otherkernel
from tests.support.apiserver import ApiServer
from tests.support.netns import NEEDS_ROOT, Namespace, kernel_has, require
from tests.support.rules import rbac_nothing
from tests.support.runtime import Answer, Config, Pod
from tests.support.world import PODCIDRS, World

PLUGINS = ("bridge", "ptp", "macvlan", "ipvlan")
HERE = [name for name in PLUGINS if not name.endswith("vlan") or kernel_has(name)]
GATEWAYS = ["11.0.1.1", "1100:0:0:1::1"]
SECOND = "kube-node.nordix.org/net1"
BRIDGED = "example.com/bridge"
MERIDIO = """"ranges": [
  [{ "subnet":"4000::16.0.0.0/120", "rangeStart":"4000::16.0.0.0" , "rangeEnd":"4000::16.0.0.7"}],
  [{ "subnet":"16.0.0.0/24", "rangeStart":"16.0.0.0" , "rangeEnd":"16.0.0.7"}]
]"""


class Cluster:
    """A node with pods on it, and a router in the network that its eth0 is in."""

    def __init__(self, world: World, node: Namespace, stack: ExitStack) -> None:
        self.world = world
        self.node = node
        self.stack = stack
        self.sandboxes: dict[str, Namespace] = {}
        world.runtime.interpreter = node.enter
        world.runtime.main = True

    def sandbox(self, name: str) -> Namespace:
        """The network namespace of a pod, made when it is first asked for."""
        if name not in self.sandboxes:
            self.sandboxes[name] = self.stack.enter_context(Namespace())
        return self.sandboxes[name]

    def router(self) -> Namespace:
        """A machine at the other end of the node's eth0 that has the addresses of the gateways."""
        router = self.stack.enter_context(Namespace())
        self.node.run(*f"ip link add eth0 type veth peer name eth0 netns {router.pid}".split())
        self.node.run("ip", "link", "set", "eth0", "up")
        router.run("ip", "link", "set", "eth0", "up")
        for address, cidr in zip(GATEWAYS, PODCIDRS):
            router.run("ip", "address", "add", f"{address}/{cidr.partition('/')[2]}", "dev", "eth0")
        return router

    def network(self, plugin: str, name: str = "k8snet", *, version: str = "1.0.0", **ipam: Any) -> Config:
        """A network of a main plugin with kube-node."""
        return {**self.world.config(name, version=version, **ipam), **main(plugin, name)}

    def run(self, command: str, config: Config, name: str = "web-0", interface: str = "eth0") -> Answer:
        """Run the plugin for an interface of a pod, as a runtime does."""
        pod = Pod(name, interface=interface)
        return self.world.runtime.run(command, config, pod, CNI_NETNS=self.sandbox(name).path)

    def add(self, config: Config, name: str = "web-0", interface: str = "eth0") -> list[str]:
        """The addresses that an ADD gives a pod; fails when it does not."""
        answer = self.run("ADD", config, name, interface)
        assert answer.status == 0, answer
        return addresses(answer.document())


def main(plugin: str, name: str) -> Config:
    """What a configuration holds for a main plugin. No bridge is shared by two networks."""
    if plugin == "bridge":
        return {"type": plugin, "bridge": f"br-{name}"[:15]}
    mode = {"macvlan": "bridge", "ipvlan": "l2"}
    return {"type": plugin, "master": "eth0", "mode": mode[plugin]} if plugin in mode else {"type": plugin}


def addresses(result: Config) -> list[str]:
    """The addresses in a result, without the length of the prefix."""
    return [each["address"].partition("/")[0] for each in result["ips"]]


def alone(config: Config) -> Config:
    """The configuration for its IPAM plugin, called directly."""
    return {key: value for key, value in config.items() if key != "type"}


def complaint(answer: Answer) -> Config:
    """What an error says; a main plugin leaves out the version."""
    document = answer.document()
    return {key: document.get(key) for key in ("code", "msg", "details")}


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> None:
    """Skip without network namespaces."""
    require("busybox")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A node in a network namespace, the API server in it too."""
    with ExitStack() as stack:
        node = stack.enter_context(Namespace())
        server = ApiServer()
        node.call(server.start)
        stack.callback(server.stop)
        yield Cluster(World(str(tmp_path), server), node, stack)


@pytest.fixture(params=HERE)
def plugin(request: pytest.FixtureRequest, cluster: Cluster) -> str:
    """Each main plugin whose kind of interface this kernel has."""
    name = str(request.param)
    if name.endswith("vlan"):
        cluster.router()
    return name


def test_pods_reach_each_other(cluster: Cluster, plugin: str) -> None:
    """Two pods have an address of each podCIDR, and reach each other and the gateway in both families."""
    config = cluster.network(plugin)
    one, two = cluster.add(config, "one"), cluster.add(config, "two")

    assert (one, two) == (["11.0.1.2", "1100:0:0:1::2"], ["11.0.1.3", "1100:0:0:1::3"])
    for address in (*two, *GATEWAYS):
        cluster.sandbox("one").ping(address)
    for address in (*one, *GATEWAYS):
        cluster.sandbox("two").ping(address)
    assert cluster.world.server.count() == 1


def test_delete_without_server(cluster: Cluster, plugin: str) -> None:
    """DEL frees addresses and removes the interface with no server, cache or kubeconfig; as often as it is asked for.

    It does so too when the pod's namespace has gone before, as after a reboot.
    """
    config = cluster.network(plugin)
    for name in ("one", "gone"):
        cluster.add(config, name)
    cluster.world.server.stop()
    shutil.rmtree(cluster.world.cache)
    os.unlink(cluster.world.kubeconfig)
    cluster.sandbox("gone").close()

    for name in ("one", "one", "gone", "gone"):
        assert cluster.run("DEL", config, name).status == 0
    assert cluster.world.leases() == []
    assert cluster.sandbox("one").links() == set()
    assert {link for link in cluster.node.links() if link.startswith("veth")} == set()


@pytest.mark.skipif(os.geteuid() != 0, reason=NEEDS_ROOT)
@pytest.mark.skipif(os.geteuid() == 0 and "ipvlan" in HERE, reason="it is among those that are tested here")
def test_ipvlan(tmp_path: Path) -> None:
    """Where this kernel has no ipvlan its tests run on one that has, as a process of this machine."""
    names = [test.__name__ for test in (test_pods_reach_each_other, test_delete_without_server)]
    tests = [f"{__file__}::{name}[ipvlan]" for name in names]
    command = [sys.executable, "-m", "pytest", "-o", "cache_dir=/run/tmp/pytest", "--color=no", *tests]
    status, printed = otherkernel.run(command, ("veth", "ipvlan"), str(tmp_path))

    assert (status, f"{len(tests)} passed in" in printed) == (0, True), printed


@pytest.mark.parametrize("plugin", PLUGINS)
def test_delete_of_what_has_no_interface(cluster: Cluster, plugin: str) -> None:
    """A lease without an interface, as an ADD cut short leaves it, is freed through every main plugin."""
    config = cluster.network(plugin)
    cluster.router()
    assert cluster.run("ADD", alone(config)).status == 0
    cluster.world.runtime.results.clear()
    cluster.world.server.stop()

    assert cluster.run("DEL", config).status == 0
    assert cluster.world.leases() == []


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_every_version(cluster: Cluster, version: str) -> None:
    """A pod's life in each version through bridge or, where that is too old for it, in kube-node alone."""
    config = cluster.network("bridge", version=version)
    spoken = cluster.world.runtime.version("bridge").document()["supportedVersions"]
    if version not in spoken:
        config = alone(config)
    answer = cluster.run("ADD", config)
    document = answer.document()

    assert (answer.status, document["cniVersion"]) == (0, version)
    assert addresses(document) == ["11.0.1.2", "1100:0:0:1::2"]
    families = [each.get("version") for each in document["ips"]]
    assert families == (["4", "6"] if version < "1.0.0" else [None, None])
    assert cluster.sandbox("web-0").links() == ({"eth0"} if "type" in config else set())
    if version >= "0.4.0":
        assert cluster.run("CHECK", config).status == 0
        assert cluster.run("DEL", config).status == 0
        checked = cluster.run("CHECK", {**config, "prevResult": document})
        assert checked.status == 1, "there is nothing left to find right"
    assert cluster.run("DEL", config).status == 0
    assert cluster.world.leases() == []


def test_two_networks_on_one_pod(cluster: Cluster) -> None:
    """A pod has the main network and an annotated one, as Multus attaches it; each is released by itself."""
    cluster.world.annotate(SECOND, "fd00::2:0:0/96,172.20.2.0/24")
    networks = [
        (cluster.network("bridge"), "eth0", ["11.0.1.1", "1100:0:0:1::1"]),
        (cluster.network("bridge", "net1", annotation=SECOND), "net1", ["fd00::2:0:1", "172.20.2.1"]),
    ]
    given = {name: [cluster.add(config, name, port) for config, port, _ in networks] for name in ("one", "two")}

    assert given["two"] == [["11.0.1.3", "1100:0:0:1::3"], ["fd00::2:0:3", "172.20.2.3"]]
    assert cluster.sandbox("one").links() == {"eth0", "net1"}
    for addresses_of_two, (_, _, gateways) in zip(given["two"], networks):
        for address in (*addresses_of_two, *gateways):
            cluster.sandbox("one").ping(address)
    cluster.world.server.stop()
    for config, interface, _ in reversed(networks):
        assert cluster.run("DEL", config, "one", interface).status == 0
    assert cluster.sandbox("one").links() == set()
    assert cluster.world.leases() == ["11.0.1.3", "1100:0:0:1::3"]
    assert cluster.world.leases("net1") == ["172.20.2.3", "fd00::2:0:3"]


def test_range_of_eight(cluster: Cluster) -> None:
    """The documented bridge annotation serves seven pods, host-local keeping the gateway's address for itself.

    From then on the caller gets host-local's own message, code and exit status.
    """
    cluster.world.annotate(BRIDGED, f'"dataDir": "{cluster.world.path("data")}", {MERIDIO}')
    config = cluster.world.annotated("meridio-bridge", BRIDGED, version="0.4.0")
    through = {**config, **main("bridge", "meridio"), "isGateway": True}
    given = [cluster.add(through, f"pod-{number}") for number in range(7)]
    usable = [0, 2, 3, 4, 5, 6, 7]

    assert sorted(given) == [[f"4000::1000:{number}", f"16.0.0.{number}"] for number in usable]
    for address in (*given[-1], "16.0.0.1", "4000::1000:1"):
        cluster.sandbox("pod-1").ping(address)
    host_local = {"type": "host-local", "dataDir": cluster.world.path("data"), **json.loads(f"{{{MERIDIO}}}")}
    expected = cluster.run("ADD", {**config, "ipam": host_local}, "eighth")
    assert "no IP addresses available in range set" in complaint(expected)["msg"]
    refused = cluster.run("ADD", through, "eighth")
    assert (refused.status, complaint(refused)) == (expected.status, complaint(expected))
    assert len(cluster.world.leases("meridio-bridge")) == 14
    cluster.world.server.stop()
    for name in ("eighth", "pod-3"):
        assert cluster.run("DEL", through, name).status == 0
    assert len(cluster.world.leases("meridio-bridge")) == 12


TROUBLES = {
    "annotation": "Annotation not found: kube-node.nordix.org/net1",
    "configuration": "'ipam.ranges' does not go with kube-node",
    "forbidden": "forbidden",
    "duplicate": "duplicate allocation is not allowed",
}


@pytest.mark.parametrize("plugin", ["bridge", "ptp"])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_error_comes_through(cluster: Cluster, plugin: str, trouble: str) -> None:
    """What is wrong, and what to do, reach the runtime as kube-node or host-local said it: code, message, details."""
    keys: dict[str, dict[str, Any]] = {"annotation": {"annotation": SECOND}, "configuration": {"ranges": []}}
    config = cluster.network(plugin, **keys.get(trouble, {}))
    if trouble == "forbidden":
        cluster.world.server.rule = rbac_nothing
    if trouble == "duplicate":
        cluster.add(alone(config))
    expected, found = cluster.run("ADD", alone(config)), cluster.run("ADD", config)

    assert TROUBLES[trouble] in complaint(found)["msg"]
    assert (found.status, complaint(found)) == (1, complaint(expected))
    assert cluster.run("DEL", config).status == 0
    assert cluster.world.leases() == []
