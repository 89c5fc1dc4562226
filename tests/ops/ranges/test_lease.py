"""What happens to the Lease while a process holds it."""

from __future__ import annotations

from typing import Any

import pytest

from plugin.kube import kubeconfig
from plugin.kube.session import Session
from plugin.ops.ranges.lease import Lease, Overtaken
from tests.ops.ranges.conftest import Cluster
from tests.support.apiserver import Handler

PATH = "kube-system/node-ipam-ranges"
CLAIMS: dict[str, dict[str, tuple[str | None, str]]] = {"a": {"example.com/net1": (None, "172.20.0.0/24")}}


@pytest.fixture
def lease(cluster: Cluster, clock: list[float]) -> Lease:
    """A Lease that this process holds, and that is due to be renewed."""
    config = kubeconfig.find(str(cluster.kubeconfig), {})
    held = Lease(Session(lambda: config, {}))
    assert held.acquire()
    clock[0] += 5
    return held


def changed(cluster: Cluster, **spec: object) -> None:
    """Let another client change it."""
    stored = cluster.server.leases[PATH]
    metadata = {**stored["metadata"], "resourceVersion": str(cluster.server.next_version())}
    cluster.server.leases[PATH] = {"metadata": metadata, "spec": {**stored["spec"], **spec}}


def missing(handler: Handler) -> bool:
    """Deleted after the write was refused."""
    if handler.command == "PUT":
        handler.status(409, "Conflict", "modified")
    else:
        handler.status(404, "NotFound", "not found")
    return True


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (lambda server: server.leases.clear(), "it was deleted"),
        (lambda server: setattr(server, "fault", missing), "it was deleted"),
        ({"holderIdentity": "b_2", "leaseTransitions": 1}, "b_2 has taken it over"),
        ({"holderIdentity": "", "leaseTransitions": 1}, "another process has taken it over"),
        ({"leaseTransitions": 2}, " has taken it over"),  # lost, and taken again in its name
    ],
)
def test_lost(cluster: Cluster, lease: Lease, happens: Any, why: str) -> None:
    """Nothing more is written, and it is not released: it may be another's."""
    if callable(happens):
        happens(cluster.server)
    else:
        changed(cluster, **happens)

    with pytest.raises(Overtaken, match=f"lost the Lease {PATH}: .*{why}"):
        lease.claim(CLAIMS)

    assert not lease.is_held
    before = len(cluster.server.requests)
    lease.release()
    assert len(cluster.server.requests) == before


@pytest.mark.parametrize("seconds", [0, 9, 12])
def test_server_that_is_busy(cluster: Cluster, clock: list[float], lease: Lease, seconds: int) -> None:
    """A write is repeated until ten seconds after the last that succeeded; then another could have the Lease soon."""
    ends = clock[0] - 5 + seconds

    def busy(handler: Handler) -> bool:
        if clock[0] < ends:
            handler.status(503, "ServiceUnavailable", "starting")
            return True
        return False

    cluster.server.fault = busy
    if seconds < 10:
        lease.renew()
    else:
        with pytest.raises(Overtaken, match="it answers 503: starting"):
            lease.renew()
    assert lease.is_held is (seconds < 10)


def test_change_by_another_client(cluster: Cluster, lease: Lease) -> None:
    """A label does not take it away, and stays."""
    changed(cluster)
    cluster.server.leases[PATH]["metadata"]["labels"] = {"a": "b"}

    lease.claim(CLAIMS)

    metadata = cluster.server.leases[PATH]["metadata"]
    assert (lease.is_held, metadata["labels"]) == (True, {"a": "b"})
    assert "172.20.0.0/24" in metadata["annotations"]["kube-node.nordix.org/claims"]


@pytest.mark.parametrize("text", ["{", "[]", '["a"]', '{"b": 5}', '{"b": {"example.com/net1": ["x"]}}', "5", ""])
def test_claims_that_cannot_be_read(cluster: Cluster, lease: Lease, text: str) -> None:
    """They are dropped: what is not a claim names no block."""
    lease.release()
    cluster.server.leases[PATH]["metadata"]["annotations"] = {"kube-node.nordix.org/claims": text}

    assert lease.acquire()

    assert lease.claims == {}
