"""What is taken from a Node object, whatever stands in it."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from plugin import facts
from tests.support.nodes import make_node

JUNK: list[Any] = [None, True, 0, 1.5, "", "text", [], [None], [[]], {}, {"a": []}]


def replaced(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """A Node in which this stands at that place."""
    node = copy.deepcopy(make_node("a", annotations={"x": "y"}))
    parent = node
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return node


def test_node() -> None:
    """Name, uid, ranges and annotations of a Node as a kubelet registers it."""
    node = make_node("vm-002", ("11.0.1.0/24", "1100:0:0:1::/64"), {"x": "y"}, machine_id="AB12" * 8 + "\n", uid="u1")
    found = facts.from_node(node, "hostname", 5.0)

    assert (found.name, found.uid, found.identified_by, found.asked) == ("vm-002", "u1", "hostname", 5.0)
    assert found.pod_cidrs == ["11.0.1.0/24", "1100:0:0:1::/64"]
    assert found.annotations["x"] == "y"
    assert facts.name_of(node) == "vm-002"
    assert facts.machine_id_of(node) == "ab12" * 8


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"podCIDRs": ["10.0.0.0/24"], "podCIDR": "10.9.0.0/24"}, ["10.0.0.0/24"]),
        ({"podCIDR": "10.9.0.0/24"}, ["10.9.0.0/24"]),
        ({"podCIDRs": [], "podCIDR": "10.9.0.0/24"}, ["10.9.0.0/24"]),
        ({"podCIDRs": None, "podCIDR": "10.9.0.0/24"}, ["10.9.0.0/24"]),
        ({"podCIDRs": ["", "10.0.0.0/24"]}, ["10.0.0.0/24"]),
        ({"podCIDRs": []}, []),
        ({"podCIDR": ""}, []),
        ({"podCIDR": None}, []),
        ({}, []),
    ],
)
def test_pod_cidrs(spec: dict[str, Any], expected: list[str]) -> None:
    """podCIDRs; where there are none, the single one of old; none of both: none."""
    assert facts.from_node(replaced(("spec",), spec), "", 0.0).pod_cidrs == expected


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize(
    "path",
    [
        ("metadata",),
        ("metadata", "name"),
        ("metadata", "uid"),
        ("metadata", "annotations"),
        ("metadata", "annotations", "x"),
        ("spec",),
        ("spec", "podCIDRs"),
        ("spec", "podCIDR"),
        ("status",),
        ("status", "nodeInfo"),
        ("status", "nodeInfo", "machineID"),
    ],
)
def test_any_json_in_any_place(path: tuple[str, ...], junk: object) -> None:
    """A field of the wrong type counts as absent; the facts always have theirs."""
    node = replaced(path, junk)
    found = facts.from_node(node, "", 0.0)

    assert all(isinstance(cidr, str) and cidr for cidr in found.pod_cidrs)
    assert all(isinstance(value, str) for value in found.annotations.values())
    assert isinstance(facts.machine_id_of(node), str)
    assert isinstance(found.name, str)
    assert isinstance(found.uid, str)


def test_age() -> None:
    """Facts are as old as their question; after the clock was set back they count as older than anything."""
    now = time.time()
    made = [facts.Facts("a", "u", "", [], {}, asked) for asked in (now - 10, now + 1000)]

    assert 10 <= made[0].age() < 1000
    assert made[1].age() == float("inf")
