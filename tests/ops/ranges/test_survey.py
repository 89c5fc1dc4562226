"""What is wrong with the ranges of a cluster."""

from __future__ import annotations

import random

import pytest

from plugin.facts import POD_CIDRS
from plugin.ops.ranges import survey, values
from plugin.ops.ranges.cluster import Node

NET1 = "kube-node.nordix.org/net1"
NET2 = "kube-node.nordix.org/net2"


def node(name: str, pod_cidrs: str = "", selected: bool = True, **annotations: str) -> Node:
    """A Node with these podCIDRs; net1=… and net2=… are its annotations."""
    prefixed = {f"kube-node.nordix.org/{key}": value for key, value in annotations.items()}
    return Node(name, "1", selected, pod_cidrs.split(",") if pod_cidrs else [], prefixed)


def problems(*nodes: Node, services: str = "", names: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    """Node, network and text of each problem."""
    found = {each.name: each for each in nodes}
    ranges = values.readable(services)
    rows = survey.rows(found, survey.networks(found, names), ranges)
    return [(row.node, row.network, problem.msg) for row in rows for problem in row.problems]


def test_nothing_is_wrong() -> None:
    """Each node has its own ranges, for each network."""
    found = [node(f"n{i}", f"10.0.{i}.0/24,fd00:0:0:{i}::/64", net1=f"172.20.{i}.0/24") for i in range(9)]
    assert problems(*found, services="10.96.0.0/12") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("172.20.2.5/24", "'172.20.2.5/24' has host bits set"),
        ("172.20.2.0", "'172.20.2.0' has no prefix length"),
        ("", "'' is not an IP network"),
        ("ranges: [[{}]]", "NoneType in place of a CIDR"),
        ("ranges: [[{]]", "expected a key"),
        ('ranges: [[{"subnet": "172.16.5.0/24"}]], dataDirr: "/run/x"', "'dataDirr' is not a key of host-local"),
        ('ranges: [{"subnet": "172.16.5.0/24"}]', "ranges has too few brackets"),
    ],
)
def test_unreadable(text: str, words: str) -> None:
    """In the words of an ADD's error."""
    ((name, network, msg),) = problems(node("a", net1=text))
    assert (name, network) == ("a", NET1)
    assert words in msg
    assert f"annotation {NET1}" in msg


def test_missing() -> None:
    """On selected nodes only, and podCIDRs only if the cluster has any."""
    assert problems(node("a", net1="172.20.0.0/24"), node("b"), node("c", selected=False)) == [
        ("b", NET1, f"annotation {NET1} of node b: missing")
    ]
    assert problems(node("a", "10.0.0.0/24"), node("b")) == [("b", POD_CIDRS, "spec.podCIDRs of node b: missing")]
    assert problems(node("a"), names=(NET1,)) == [("a", NET1, f"annotation {NET1} of node a: missing")]


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("172.20.0.0/24", f"node-ipam.pyz ranges assign --annotation {NET1} --cluster-cidr CIDR"),
        (
            'dataDir: "/run/x", ranges: [[{"subnet": "172.16.5.0/24"}]]',
            f"kubectl annotate node NODE {NET1}=…, with a host-local configuration, as other nodes have",
        ),
        (
            'subnet: "172.16.5.0/24", dataDir: "/run/x"',
            f"kubectl annotate node NODE {NET1}=…, with a host-local configuration, as other nodes have",
        ),
    ],
)
def test_remedy_of_missing_ranges(text: str, advice: str) -> None:
    """assign writes CIDRs; node-annotation's annotations hold host-local configurations."""
    nodes = {each.name: each for each in (node("a", net1=text), node("b"))}
    assert [each.problems[0].details for each in survey.rows(nodes, [NET1]) if each.text is None] == [advice]


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (node("a", net1="172.20.0.0/24"), node("b", net1="172.20.0.0/24"), "172.20.0.0/24 of node b:"),
        (node("a", net1="172.20.0.0/24"), node("b", net1="172.20.0.0/20"), "172.20.0.0/20 of node b:"),
        (node("a", "172.20.0.0/24"), node("b", "172.20.4.0/24", net1="172.20.0.0/28"), f"of node b ({NET1}):"),
        (node("a", net1="172.20.0.0/24"), node("b", net2="172.20.0.0/24"), f"of node b ({NET2}):"),
        (node("a", net1="fd00::/64,10.1.0.0/24"), node("b", net1="fd00::/96"), "fd00::/96 of node b:"),
        (node("a", net1="172.20.0.0/24"), node("b", net1="172.20.0.9/24"), "172.20.0.0/24 of node b:"),
    ],
)
def test_overlap(one: Node, other: Node, text: str) -> None:
    """Both nodes are told of each other, also if one has a value that cannot be read."""
    found = [each for each in problems(one, other) if "overlaps" in each[2]]
    assert [each[0] for each in found] == ["a", "b"]
    assert text in found[0][2]
    assert "of node a" in found[1][2]


def test_overlap_within_one_node() -> None:
    """Two networks of one node with one range."""
    found = problems(node("a", "10.0.0.0/24", net1="10.0.0.0/25"))
    assert [(network, "of node a" in msg) for _, network, msg in found] == [(POD_CIDRS, True), (NET1, True)]


def test_services() -> None:
    """A range that a Service can have an address of."""
    ((_, network, msg),) = problems(node("a", net1="10.97.0.0/24"), services="10.96.0.0/12")
    assert (network, msg) == (
        NET1,
        f"annotation {NET1} of node a: 10.97.0.0/24 overlaps the service range 10.96.0.0/12",
    )


def test_configuration_for_node_annotation() -> None:
    """host-local's own form: nodes may share a subnet, if their parts of it differ. One range needs no brace."""
    assert problems(node("a", net1='subnet: "172.16.5.0/24", dataDir: "/run/x"')) == []
    text = '"ranges": [[{"subnet": "16.0.0.0/24", "rangeStart": "16.0.0.%d", "rangeEnd": "16.0.0.%d"}]]'
    assert problems(node("a", net1=text % (2, 7)), node("b", net1=text % (8, 15))) == []
    assert len(problems(node("a", net1=text % (2, 8)), node("b", net1=text % (8, 15)))) == 2


def test_every_overlapping_range_is_found() -> None:
    """Compared with looking at each pair."""
    source = random.Random(5)
    for _ in range(200):
        nodes = []
        for number in range(8):
            length = source.choice((24, 25, 26, 28))
            start = source.randrange(0, 2**12) >> (32 - length) << (32 - length)
            nodes.append(node(f"n{number}", net1=f"10.0.{start >> 8}.{start & 255}/{length}"))
        found = {name for name, _, msg in problems(*nodes) if "overlaps" in msg}
        ranges = {each.name: values.readable(each.annotations[NET1])[0] for each in nodes}
        assert found == {a for a in ranges for b in ranges if a != b and ranges[a].overlaps(ranges[b])}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("172.20.2.5/24", ["172.20.2.0/24"]),
        ("172.20.2.0/24 172.20.3.0/24", ["172.20.2.0/24", "172.20.3.0/24"]),
        ("10.1.2.0-10.1.2.20/24", ["10.1.2.0/32", "10.1.2.0/24"]),
        ("172.20.2.0/255.255.255.0", ["172.20.2.0/24"]),
        ("172.20.2.0 / 24", ["172.20.2.0/24"]),
        ("::ffff:10.1.0.0/112", ["10.1.0.0/16"]),
        ("fd00::2:0:0/96;x", ["fd00::2:0:0/96"]),
        ('ranges: [[{subnet: "172.16.5.0/24"}', ["172.16.5.0/24"]),
        ("172.20.2.0/33", ["172.20.2.0/32"]),
        ("to be done", []),
    ],
)
def test_readable(text: str, expected: list[str]) -> None:
    """Addresses in a text that cannot be read count as taken."""
    assert [each.text for each in values.readable(text)] == expected
