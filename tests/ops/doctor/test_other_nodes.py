"""doctor compares a node's ranges with those of all other nodes, if its credential may list them."""

from __future__ import annotations

import pytest

from tests.ops.doctor.test_doctor import examine
from tests.support.apiserver import authenticated, make_node, node_authorizer
from tests.support.operator_node import OperatorNode

NET1 = "kube-node.nordix.org/net1"


def test_no_overlap(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """It says with how many it compared."""
    node.server.rule = authenticated
    node.server.add(make_node("other", ["10.244.2.0/24"], {NET1: "172.20.0.0/24"}))
    status, report = examine(node, capsys)
    assert (status, report["other-nodes"]["what"]) == (0, "none of 1 other nodes has one of these addresses")


@pytest.mark.parametrize(
    ("pod_cidrs", "annotation", "words"),
    [
        ("10.244.0.0/16", "", "10.244.1.0/24 overlaps 10.244.0.0/16, spec.podCIDRs of node other: two pods"),
        ("10.0.0.0/24", "10.244.1.9/24", f"10.244.1.0/24 overlaps 10.244.1.0/24, annotation {NET1} of node other"),
    ],
)
def test_overlap(
    node: OperatorNode,
    capsys: pytest.CaptureFixture[str],
    pod_cidrs: str,
    annotation: str,
    words: str,
) -> None:
    """Of podCIDRs, and of an annotation, even if an ADD there could not read it."""
    node.server.rule = authenticated
    node.server.add(make_node("other", [pod_cidrs], {NET1: annotation} if annotation else None))
    status, report = examine(node, capsys)
    found = report["other-nodes"]
    assert (status, found["status"], words in found["what"]) == (1, "fail", True)
    assert found["finding"] == "other-nodes-overlap"
    assert "node-ipam.pyz ranges" in found["remedy"]


def test_kubelets_credential(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """It may not list nodes: doctor says what was not compared, and what does that."""
    node.server.rule = node_authorizer
    status, report = examine(node, capsys)
    assert (status, report["other-nodes"]["status"]) == (0, "skip")
    assert report["other-nodes"]["what"].startswith(
        "not compared: this credential is not allowed to list nodes; node-ipam.pyz"
    )


def test_list_that_fails(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """If the nodes cannot be listed, nothing is said of their ranges, and no check fails."""
    node.server.rule = authenticated
    node.server.fault = lambda handler: "/nodes?" in handler.path and not handler.connection.close()
    status, report = examine(node, capsys)
    assert (status, report["other-nodes"]["status"]) == (0, "skip")
    assert report["other-nodes"]["what"].startswith("not compared: the nodes could not be listed within 10 seconds")
