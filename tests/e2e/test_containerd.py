"""Pods of containerd get addresses of the Node's ranges, through CRI, libcni and bridge."""

from __future__ import annotations

import ipaddress
import time

import pytest

from tests.support.cri import Failed
from tests.support.crinode import PODCIDRS, CriNode
from tests.support.runtime import Config, Pod

PODS, TURN = 100, 25


def test_one_pod(cri_node: CriNode) -> None:
    """A pod has an address in each podCIDR, as the runtime reports it and host-local keeps it, until it is stopped."""
    cri = cri_node.containerd.cri
    cri_node.containerd.network(cri_node.config())
    sandbox = cri.start(Pod("web-0"))
    addresses = cri.addresses(sandbox)

    assert [ipaddress.ip_address(a) in ipaddress.ip_network(n) for a, n in zip(addresses, PODCIDRS)] == [True, True]
    assert cri_node.leases() == dict.fromkeys(addresses, sandbox)
    assert cri_node.server.count() == 1
    assert cri_node.containerd.running() == []
    cri_node.server.stop()
    cri.stop(sandbox)
    assert cri_node.leases() == {}
    cri.remove(sandbox)
    assert cri.sandboxes() == []
    assert cri_node.containerd.machine.links() == {"cbr0"}


@pytest.mark.exact  # counting slows the plugin down, and not what it is compared with
def test_many_pods(cri_node: CriNode) -> None:
    """100 pods, 8 at a time, on a new node: no address twice, one GET, and near to the time of plain host-local.

    Both kinds of pods are started in turns, so that whatever else this machine does slows both.
    """
    ranges = [[{"subnet": "172.20.2.0/24"}], [{"subnet": "fd00::2:0:0/96"}]]
    plain = {"type": "host-local", "dataDir": "/run/plain", "ranges": ranges}
    networks: dict[str, Config] = {
        "k8snet": cri_node.config(cacheSeconds=3600),
        "plain": {**cri_node.config("plain"), "bridge": "cbr1", "ipam": plain},
    }
    seconds = dict.fromkeys(networks, 0.0)
    given: dict[str, list[str]] = {}
    for first in range(0, PODS, TURN):
        for name, config in networks.items():
            cri_node.containerd.network(config)
            began = time.monotonic()
            started = cri_node.start([Pod(f"web-{number}", name) for number in range(first, first + TURN)])
            seconds[name] += time.monotonic() - began
            given.update(started if name == "k8snet" else {})
    addresses = [address for each in given.values() for address in each]
    print(f"{PODS} pods: {seconds}, ratio {seconds['k8snet'] / seconds['plain']:.2f}")

    assert len(set(addresses)) == len(addresses) == 2 * PODS
    assert cri_node.server.count() == 1
    assert cri_node.leases() == {address: sandbox for sandbox, each in given.items() for address in each}
    assert seconds["k8snet"] < 2 * seconds["plain"]
    cri_node.containerd.network(networks["k8snet"])  # which is what containerd calls for DEL
    cri_node.end(list(given))
    assert cri_node.leases() == {}


def start_as_kubelet(node: CriNode, pod: Pod) -> str:
    """Start a pod; retry, as kubelet does, if bridge fails by its own fault.

    A bridge that has lost its only port to a failed ADD fails once for each address family:
    https://github.com/containernetworking/plugins/pull/1265.
    """
    for _family in (4, 6):
        try:
            return node.containerd.cri.start(pod)
        except Failed as error:
            assert "could not set bridge's mac: invalid argument" in str(error)
    return node.containerd.cri.start(pod)


def test_server_away(cri_node: CriNode) -> None:
    """Without the API server pods start and stop on a node that has been read; on another, when it is back."""
    cri = cri_node.containerd.cri
    cri_node.containerd.network(cri_node.config(cacheSeconds=0.1))
    cri_node.server.stop()
    with pytest.raises(Failed, match="connection refused"):
        cri.start(Pod("early"))
    assert (cri_node.leases(), cri.sandboxes()) == ({}, [])

    cri_node.serve()
    first = start_as_kubelet(cri_node, Pod("web-0"))
    cri_node.server.stop()
    time.sleep(0.1)
    second = cri.start(Pod("web-1"))
    assert set(cri_node.leases().values()) == {first, second}
    cri_node.end([first, second])
    assert cri_node.leases() == {}


def test_version_that_bridge_does_not_speak(cri_node: CriNode) -> None:
    """In a list of CNI 1.1 an older bridge fails in its own words; with 1.0 again the pod can be removed."""
    cri = cri_node.containerd.cri
    cri_node.containerd.network(cri_node.config(version="1.1.0"))
    with pytest.raises(Failed, match='plugin type="bridge" failed .*incompatible CNI versions'):
        cri.start(Pod("web-0"))
    (sandbox,) = cri.sandboxes()
    assert (cri_node.leases(), cri.sandboxes(ready=True)) == ({}, [])
    with pytest.raises(Failed, match="incompatible CNI versions"):
        cri.end(sandbox)
    checks = cri_node.containerd.document("doctor")["checks"]
    failed = [check["what"].partition(",")[0] for check in checks if check["status"] == "fail"]
    assert failed == ["bridge speaks up to 1.0.0"]
    cri_node.containerd.network(cri_node.config())
    cri.end(sandbox)
    assert cri.sandboxes() == []


def test_namespaces(cri_node: CriNode) -> None:
    """Pods of the named namespaces have an IPv4 address too, after their IPv6 address."""
    cri = cri_node.containerd.cri
    config = cri_node.config()
    config["ipam"]["ipv4-namespaces"] = ["old-application", "legacy"]
    cri_node.containerd.network(config)
    given = {name: cri.addresses(cri.start(Pod("web-0", name))) for name in ("legacy", "default", "old-application")}

    assert given == {
        "legacy": ["1100:0:0:1::2", "11.0.1.2"],
        "default": ["1100:0:0:1::3"],
        "old-application": ["1100:0:0:1::4", "11.0.1.3"],
    }
    assert cri_node.server.count() == 1
    cri_node.end(cri.sandboxes())
    assert cri_node.leases() == {}


def test_capability_without_addresses(cri_node: CriNode) -> None:
    """A network with the capability `ips` allocates addresses if the pod requests none."""
    cri = cri_node.containerd.cri
    cri_node.containerd.network({**cri_node.config(), "capabilities": {"ips": True}})
    assert cri.addresses(cri.start(Pod("web-0"))) == ["11.0.1.2", "1100:0:0:1::2"]


def test_what_the_operator_sees(cri_node: CriNode) -> None:
    """`leases` shows the runtime's container ids, all used; `gc` finds nothing, `doctor` reports no failure."""
    cri_node.containerd.network(cri_node.config())
    given = cri_node.start([Pod(f"web-{number}") for number in range(5)])
    (network,) = cri_node.containerd.document("leases", "--all")["networks"]
    leases = {entry["address"]: entry["container"] for entry in network["entries"]}
    checks = cri_node.containerd.document("doctor")["checks"]

    assert leases == {address: sandbox for sandbox, addresses in given.items() for address in addresses}
    assert {entry["state"] for entry in network["entries"]} == {"used"}
    assert [range["used"] for range in network["ranges"]] == [5, 5]
    assert cri_node.containerd.document("gc")["leases"] == []
    assert [check for check in checks if check["status"] == "fail"] == []
    assert {"10, none stale"} == {check["what"] for check in checks if check["check"] == "leases"}
