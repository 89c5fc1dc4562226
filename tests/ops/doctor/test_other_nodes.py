"""doctor compares a node's ranges with those of all other nodes, if its credential may list them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from plugin.errors import Unreachable
from plugin.kube.client import Client
from plugin.ops.doctor import addresses
from tests.ops.doctor.test_doctor import examine
from tests.support.apiserver import authenticated, make_node, node_authorizer
from tests.support.operator_node import OperatorNode

NET1 = "kube-node.nordix.org/net1"


def test_no_overlap(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """It says with how many it compared."""
    node.server.rule = authenticated
    node.server.add(make_node("other", ["10.244.2.0/24"], {NET1: "172.20.0.0/24"}))
    status, report = examine(node, capsys)
    assert (status, report["other-nodes"]["what"]) == (0, "compared with 1 other node: none has one of these addresses")


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


@pytest.mark.parametrize("is_broken", [False, True])
def test_several_networks(node: OperatorNode, capsys: pytest.CaptureFixture[str], is_broken: bool) -> None:
    """The nodes are listed once for all networks of one kubeconfig, also if that fails."""
    node.server.rule = authenticated
    node.server.add(make_node("other", ["10.9.0.0/24"], {"example.com/net1": "10.8.0.0/24"}))
    asked, list_nodes = [], Client.list_nodes

    def counted(client: Client) -> Iterator[Any]:
        asked.append(client)
        if is_broken:
            raise Unreachable("API server: connection refused")
        return list_nodes(client)

    node.monkeypatch.setattr(Client, "list_nodes", counted)
    node.node["metadata"]["annotations"]["example.com/net1"] = "10.8.0.0/25"
    node.network("net1", annotation="example.com/net1", dataDir=str(node.make("run1")))
    node.network("net2", annotation="example.com/net1", dataDir=str(node.make("run2")))
    node.run("doctor", "-o", "json")
    lines = [line for line in json.loads(capsys.readouterr().out)["checks"] if line["check"] == "other-nodes"]
    assert [line["status"] for line in lines] == (["skip"] * 3 if is_broken else ["ok", "fail", "fail"])
    assert len(asked) == 1


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
    node.monkeypatch.setattr(addresses, "LISTING", 1.0)
    node.server.fault = lambda handler: "/nodes?" in handler.path and not handler.connection.close()
    status, report = examine(node, capsys)
    assert (status, report["other-nodes"]["status"]) == (0, "skip")
    assert report["other-nodes"]["what"].startswith("not compared: the nodes could not be listed within 1 seconds")
