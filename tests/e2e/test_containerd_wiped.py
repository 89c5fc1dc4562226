"""The leases of pods that died with their containerd, whose root and state are gone."""

from __future__ import annotations

import pytest

from tests.support.cri import Failed
from tests.support.crinode import CriNode
from tests.support.runtime import Pod

DEAD = [Pod(f"dead-{number}") for number in range(4)]
LATER = 3600.0  # seconds; a stale lease is older than ten minutes


def lose_everything(node: CriNode, rebooted: bool) -> dict[str, str]:
    """Kill containerd and all pods an hour ago, wipe its root and state, start it again; return the pods' leases.

    Network namespaces stay mounted unless the machine is rebooted. libcni's results are on a disk, and stay.
    """
    node.start(DEAD)
    dead = node.leases()
    node.containerd.kill()
    node.containerd.kill_sandboxes()
    node.containerd.wipe()
    if rebooted:
        node.containerd.machine.run("sh", "-c", "for each in /run/netns/*; do umount $each; rm $each; done")
    node.pass_time(LATER)
    node.containerd.restart_empty()
    return dead


@pytest.mark.parametrize("rebooted", [False, True])
def test_gc(cri_node: CriNode, rebooted: bool) -> None:
    """`leases` shows the dead pods' leases as stale; `gc` names and releases exactly these, and no living pod's."""
    cri_node.containerd.network(cri_node.config())
    dead = lose_everything(cri_node, rebooted)
    cri_node.start([Pod("living-1"), Pod("living-2")])
    living = {address: owner for address, owner in cri_node.leases().items() if address not in dead}
    (network,) = cri_node.containerd.document("leases", "--all")["networks"]
    states = {entry["address"]: entry["state"] for entry in network["entries"]}
    found = cri_node.containerd.document("gc")["leases"]

    assert states == {**dict.fromkeys(dead, "stale"), **dict.fromkeys(living, "used")}
    assert {entry["address"]: entry["container"] for entry in found} == dead
    cri_node.containerd.document("gc", "--yes")
    assert cri_node.leases() == living
    cri_node.end(cri_node.containerd.cri.sandboxes())
    assert cri_node.leases() == {}


@pytest.mark.parametrize("rebooted", [False, True])
def test_full_range(cri_node: CriNode, rebooted: bool) -> None:
    """In a full range the next pods reclaim the dead pods' leases; no pod takes a living one's."""
    cri_node.node["spec"]["podCIDRs"] = ["11.0.1.0/29"]
    cri_node.containerd.network(cri_node.config())
    lose_everything(cri_node, rebooted)

    given = cri_node.start([Pod(f"living-{number}") for number in range(5)])
    assert cri_node.leases() == {address: sandbox for sandbox, (address,) in given.items()}
    cri_node.pass_time(LATER)
    with pytest.raises(Failed, match="no IP addresses available in range set"):
        cri_node.containerd.cri.start(Pod("last"))
    assert cri_node.leases() == {address: sandbox for sandbox, (address,) in given.items()}
    cri_node.end(list(given))
    assert cri_node.leases() == {}
