"""Several CIDRs of one family, and what exclude leaves: doctor, leases and explain show each subnet once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.operator_node import OperatorNode

ANNOTATION = "example.com/net1"


@pytest.fixture
def node(installed: OperatorNode) -> OperatorNode:
    """A node with a network whose first range is full; the second has room, and holes."""
    installed.node["metadata"]["annotations"][ANNOTATION] = "10.1.0.0/29,10.2.0.0/29,fd00::/120"
    installed.network(annotation=ANNOTATION, exclude=["10.2.0.4"])
    for last in range(2, 7):
        installed.lease(f"10.1.0.{last}", f"c{last} eth0")
        installed.result(f"c{last}")
    return installed


def checks(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The checks of doctor by their names."""
    node.run("doctor", "k8snet", "-o", "json")
    return {each["check"]: each for each in json.loads(capsys.readouterr().out)["checks"]}


def test_doctor(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A full range is no trouble while another one of its set has room; when all are full, it is."""
    report = checks(node, capsys)
    shown = "10.1.0.0/29, 10.2.0.0/29 (1 left out), fd00::/120"
    assert report["ranges"]["what"].startswith(f"{shown} from annotation {ANNOTATION}")
    used = "5 of 5 used of 10.1.0.0/29; 0 of 4 used of 10.2.0.0/29 (1 left out); 0 of 254 used of fd00::/120"
    assert (report["addresses"]["status"], report["addresses"]["what"]) == ("ok", used)

    for last in (2, 3, 5, 6):
        node.lease(f"10.2.0.{last}", f"d{last} eth0")
        node.result(f"d{last}")
    report = checks(node, capsys)
    assert (report["addresses"]["status"], report["addresses"]["what"][:16]) == ("fail", "no free address:")


def test_leases(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each subnet; an address that is excluded but still leased is elsewhere."""
    node.learn(node.network(annotation=ANNOTATION, exclude=["10.2.0.4"]))
    node.lease("10.2.0.4", "old eth0")
    node.run("leases", "-o", "json")
    (network,) = json.loads(capsys.readouterr().out)["networks"]

    rows = [(each["set"], each["subnet"], each["used"], each["free"], each["total"]) for each in network["ranges"]]
    assert rows == [(0, "10.1.0.0/29", 5, 0, 5), (0, "10.2.0.0/29", 0, 4, 4), (1, "fd00::/120", 0, 254, 254)]
    assert network["elsewhere"] == 1
    node.run("leases")
    assert "10.2.0.0/29 (1 left out)" in capsys.readouterr().out


def test_explain(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The pieces are shown as host-local gets them, with the annotation and the key they come from."""
    node.run("explain", "k8snet", "-o", "json")
    (network,) = json.loads(capsys.readouterr().out)["networks"]

    left = {"subnet": "10.2.0.0/29"}
    pieces = [{**left, "rangeStart": f"10.2.0.{a}", "rangeEnd": f"10.2.0.{b}"} for a, b in ((2, 3), (5, 6))]
    assert network["config"]["ipam"]["ranges"] == [[{"subnet": "10.1.0.0/29"}, *pieces], [{"subnet": "fd00::/120"}]]
    assert network["from"]["ipam.ranges"].startswith(f"annotation {ANNOTATION} of node vm-002 (by certificate CN), ")
    assert network["from"]["ipam.ranges"].endswith(", without the addresses in exclude")
    assert network["leftOut"] == ["ipam.annotation", "ipam.exclude"]


def test_explain_fallback(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """It says that the annotation is missing, and which field is used in its place."""
    del node.node["metadata"]["annotations"][ANNOTATION]
    node.network(annotation=ANNOTATION, fallback="podCIDRs")
    node.run("explain", "k8snet", "-o", "json")
    (network,) = json.loads(capsys.readouterr().out)["networks"]

    expected = f"spec.podCIDRs of node vm-002, which has no annotation {ANNOTATION}"
    assert network["from"]["ipam.ranges"].startswith(expected)
