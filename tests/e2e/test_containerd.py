"""Pods of containerd: kubelet's calls in, addresses of the Node's ranges out, through libcni and bridge."""

from __future__ import annotations

import ipaddress

from tests.support.crinode import PODCIDRS, CriNode
from tests.support.runtime import Pod


def test_one_pod(cri_node: CriNode) -> None:
    """A pod has an address in each podCIDR, as the runtime reports it and host-local keeps it, until it is stopped."""
    cri = cri_node.containerd.cri
    cri_node.containerd.network(cri_node.config())
    sandbox = cri.start(Pod("web-0"))
    addresses = cri.addresses(sandbox)

    assert [ipaddress.ip_address(a) in ipaddress.ip_network(n) for a, n in zip(addresses, PODCIDRS)] == [True, True]
    assert cri_node.leases() == dict.fromkeys(addresses, sandbox)
    assert cri_node.server.count() == 1
    cri_node.server.stop()
    cri.stop(sandbox)
    assert cri_node.leases() == {}
    cri.remove(sandbox)
    assert cri.sandboxes() == []
    assert cri_node.containerd.machine.links() == {"cbr0"}
