"""The command `ranges`, against the test API server."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from plugin.errors import Unreachable
from plugin.ops import main
from plugin.ops.ranges import progress
from tests.ops.ranges.conftest import NET1, Cluster
from tests.support.apiserver import make_node, rbac_get_nodes_only

LEASE = "kube-system/node-ipam-ranges"
POOL = ("--annotation", NET1, "--cluster-cidr", "172.20.0.0/16,fd00:20::/80", "--node-cidr-mask-size-ipv6", "96")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ranges(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Run the command in this process: exit status, output, messages."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main.run(["node-ipam.pyz", "ranges", *arguments])
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return (status, *capsys.readouterr())

    yield run
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def methods(cluster: Cluster) -> set[str]:
    """The methods of all requests."""
    return {asked.method for asked in cluster.server.requests}


def check(cluster: Cluster, before: dict[str, str]) -> list[str]:
    """All values are as before, or new and of one block of each family that nobody else has; return the new ones."""
    now = cluster.texts()
    assert {name: now[name] for name in before} == before
    new = [now[name] for name in now if name not in before]
    blocks = [ipaddress.ip_network(each) for text in new for each in text.split(",")]
    assert all(len(text.split(",")) == 2 for text in new)
    assert len(set(blocks)) == len(blocks) == 2 * len(new)
    assert all(block.prefixlen == (24 if block.version == 4 else 96) for block in blocks)
    named = [
        ipaddress.ip_address(each)
        for text in before.values()
        for each in re.findall(r"172\.\d+\.\d+\.\d+|fd00:[0-9a-f:]+", text)
    ]
    assert not [block for block in blocks for address in named if address in block]
    return new


def test_show(cluster: Cluster, ranges: Run) -> None:
    """A row for each node and network, what is wrong beside it, and what to do below."""
    cluster.server.add(make_node("a", ["10.0.0.0/24"], {NET1: "172.20.0.0/24"}))
    cluster.server.add(make_node("b", ["10.0.1.0/24"], {NET1: "172.20.2.5/24"}))
    cluster.server.add(make_node("c", ["10.0.2.0/24"], {NET1: "172.20.0.0/16"}))
    cluster.server.add(make_node("d", ["10.0.3.0/24"]))

    status, out, err = ranges()

    rows = [re.split(r"  +", line) for line in out.splitlines()]
    assert (status, err) == (1, "")
    assert rows[0] == ["STATUS", "NODE", "NETWORK", "RANGES", "PROBLEM"]
    assert ["ok", "a", "spec.podCIDRs", "10.0.0.0/24"] in rows
    assert ["fail", "b", NET1, "172.20.2.5/24", "'172.20.2.5/24' has host bits set"] in rows
    assert ["", "-> write 172.20.2.0/24"] in rows
    assert ["fail", "d", NET1, "-", "missing"] in rows
    overlap = "overlaps 172.20.0.0/16 of node c: two pods can get one address"
    assert ["fail", "a", NET1, "172.20.0.0/24", f"172.20.0.0/24 {overlap}"] in rows
    assert f"{NET1}: 3 of 4 nodes have ranges, 1 missing, 3 with problems" in out
    assert methods(cluster) == {"GET"}


def test_show_json(cluster: Cluster, ranges: Run) -> None:
    """The same for programs, with the free blocks of the pool if that is named."""
    cluster.server.service_cidrs = ["10.96.0.0/12"]
    cluster.server.add(make_node("a", ["10.97.0.0/24"], {NET1: "172.20.0.0/24"}))

    status, out, _ = ranges("show", *POOL, "-o", "json")

    found = json.loads(out)
    assert (status, found["serviceRanges"]) == (1, ["10.96.0.0/12"])
    assert [each["problems"] for each in found["ranges"]] == [
        [
            {
                "what": "spec.podCIDRs of node a: 10.97.0.0/24 overlaps the service range 10.96.0.0/12",
                "remedy": "give the node a range outside of it",
            }
        ],
        [],
    ]
    assert found["networks"][1] == {
        "network": NET1,
        "nodes": 1,
        "withRange": 1,
        "withoutRange": 0,
        "conflicts": 0,
        "freeBlocks": {"IPv4": 255, "IPv6": 65536},
    }


def test_show_prometheus(cluster: Cluster, ranges: Run) -> None:
    """Gauges of each network."""
    cluster.add("a", text="172.20.0.0/24")
    cluster.add("b", text="172.20.0.0/24")
    cluster.add("c")

    status, out, _ = ranges("show", *POOL, "-o", "prometheus")

    assert status == 1
    for line in (
        f'node_ipam_ranges_nodes{{network="{NET1}"}} 3',
        f'node_ipam_ranges_nodes_with_range{{network="{NET1}"}} 2',
        f'node_ipam_ranges_nodes_without_range{{network="{NET1}"}} 1',
        f'node_ipam_ranges_conflicts{{network="{NET1}"}} 2',
        f'node_ipam_ranges_free_blocks{{network="{NET1}",family="IPv4"}} 255',
    ):
        assert line in out.splitlines()
    assert all(line.startswith(("#", "node_ipam_ranges_")) for line in out.splitlines())
    assert "free_blocks" not in ranges("show", "-o", "prometheus")[1]


def test_nothing_wrong(cluster: Cluster, ranges: Run) -> None:
    """Exit status 0, also of a cluster without Nodes."""
    assert ranges()[0] == 0
    cluster.add("a", text="172.20.0.0/24")
    assert ranges("show", "--service-cluster-ip-range", "10.96.0.0/12")[0] == 0


def test_plan_changes_nothing(cluster: Cluster, ranges: Run) -> None:
    """Without --yes the plan is shown, and nothing but GET is sent."""
    cluster.server.service_cidrs = ["10.96.0.0/12"]
    cluster.add("a", "b")
    cluster.add("c", text="172.20.0.0/24,fd00:20::/96")

    status, out, err = ranges("assign", *POOL)

    assert (status, err, methods(cluster)) == (0, "", {"GET"})
    assert [line.split() for line in out.splitlines()[1:3]] == [
        ["a", NET1, "172.20.1.0/24,fd00:20::1:0:0/96"],
        ["b", NET1, "172.20.2.0/24,fd00:20::2:0:0/96"],
    ]
    assert out.splitlines()[3] == "2 annotations to write; --yes writes them"
    assert cluster.texts() == {"c": "172.20.0.0/24,fd00:20::/96"}


def test_written_and_written_again(cluster: Cluster, ranges: Run) -> None:
    """The second time there is nothing to do; the Lease is given back each time."""
    cluster.add("a", "b")
    status, out, err = ranges("assign", *POOL, "--yes")
    assert (status, err, out.splitlines()[-1]) == (0, "", "2 annotations written")
    assert out.splitlines()[0] == f"assigned: a {NET1}=172.20.0.0/24,fd00:20::/96"
    before = cluster.texts()
    cluster.server.service_cidrs = ["10.96.0.0/12"]
    for options in (POOL, (*POOL, "--yes")):
        assert ranges("assign", *options) == (0, "nothing to write: 2 of 2 nodes have their ranges already\n", "")

    status, out, err = ranges("assign", *POOL, "--yes", "-o", "json")

    assert (status, json.loads(out)) == (
        0,
        {"written": True, "assigned": [], "problems": [], "serviceRanges": ["10.96.0.0/12"]},
    )
    assert cluster.texts() == before
    spec = cluster.server.leases[LEASE]["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("", 1, 2)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", spec["renewTime"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", spec["acquireTime"])


def test_written_as_json(cluster: Cluster, ranges: Run) -> None:
    """One document, at the end."""
    cluster.add("a")
    status, out, _ = ranges("assign", *POOL, "--yes", "-o", "json")
    written = {"node": "a", "annotation": NET1, "ranges": ["172.20.0.0/24", "fd00:20::/96"]}
    expected = {"written": True, "assigned": [written], "problems": [], "serviceRanges": None}
    assert (status, json.loads(out)) == (0, expected)


@pytest.mark.parametrize("options", [("show",), ("assign", *POOL), ("assign", *POOL, "--yes")], ids=str)
def test_services_that_are_not_known(cluster: Cluster, ranges: Run, options: tuple[str, ...]) -> None:
    """A block could be the Services' too: each command says that it does not know, and how to name them."""
    cluster.add("a")
    notice, named = "service range: not known; name it with --service-cluster-ip-range", "--service-cluster-ip-range"

    assert notice in ranges(*options)[1].splitlines()
    assert json.loads(ranges(*options, "-o", "json")[1])["serviceRanges"] is None

    assert notice not in ranges(*options, named, "10.96.0.0/16")[1]
    assert json.loads(ranges(*options, named, "10.96.0.0/16", "-o", "json")[1])["serviceRanges"] == ["10.96.0.0/16"]


BROKEN = (
    *("172.20.3.7/24", "172.20.4.0", "172.20.5.0/24;172.20.6.0/24", "nothing", "", "172.20.7.0/24,", "fd00:20::1/96"),
    *(
        "172.20.8.0/33",
        "[172.20.9.0/24]",
        "172.20.10.0/255.255.255.0",
        "172.20.11.0/24 fd00:20::9:0:0/96",
        "10.0.0.0/8,x",
    ),
    *("172.20.12.0/24", "172.20.12.0/25", "172.20.13.0/24", "172.20.13.128/25", "172.20.0.0/28", "172.20.0.8/29"),
    *("ranges: [[{subnet: 172.20.14.0/24}]]", '"ranges": [[{"subnet": "172.20.15.0/24"}'),
)


@pytest.mark.parametrize("kind", ["empty", "half", "broken"])
def test_five_hundred_nodes(cluster: Cluster, ranges: Run, kind: str) -> None:
    """Every node has one block of each family, and what was there is as it was, be it right or wrong."""
    cluster.server.page = 200
    names = [f"node-{number:03}" for number in range(500)]
    cluster.add(*names, text="")
    for number, name in enumerate(names):
        if kind == "half" and number % 2:
            cluster.add(name, text=f"172.20.{number // 2 + 3}.0/24,fd00:20::{number:x}:0:0/96")
        if kind == "broken" and number % 25 == 0:
            cluster.add(name, text=BROKEN[number // 25])
    before = cluster.texts()

    status, out, err = ranges("assign", *POOL, "--yes")

    room = 256 - {"empty": 0, "half": 250, "broken": 0}[kind]
    new = check(cluster, before)
    if kind == "half":
        assert len(new) == room
        assert "244 nodes are left without" in err
    elif kind == "empty":
        assert len(new) == 256
        assert "244 nodes are left without" in err
    else:
        assert len(new) > 200
        assert err.count("error: ") >= len(BROKEN) - 4
    assert status == 1

    status, out, err = ranges("assign", *POOL[:3], "172.24.0.0/15,fd00:20::/80", *POOL[4:], "--yes")

    check(cluster, before)
    assert cluster.texts().keys() == set(names)
    assert status == (1 if kind == "broken" else 0)


def test_full_pool(cluster: Cluster, ranges: Run) -> None:
    """How many are left, and what is needed for them."""
    cluster.add(*"abcdefg")
    arguments = ("--annotation", NET1, "--cluster-cidr", "172.20.0.0/23")

    status, out, err = ranges("assign", *arguments, "--yes")

    assert (status, out.splitlines()[-1]) == (1, "2 annotations written")
    assert err == (
        f"error: 5 nodes are left without annotation {NET1}: 172.20.0.0/23 has no free block of /24\n"
        "append an IPv4 network to its --cluster-cidr, of prefix length 21 or less\n"
    )
    assert ranges("assign", *arguments[:3], "172.20.0.0/23,172.30.0.0/21", "--yes")[0] == 0
    assert sorted(cluster.texts().values())[2] == "172.30.0.0/24"


def test_what_is_taken(cluster: Cluster, ranges: Run) -> None:
    """Other annotations, Services and what is excluded; nodes that are not selected keep their ranges."""
    cluster.server.service_cidrs = ["172.20.1.0/24"]
    cluster.server.add(make_node("a"))
    cluster.server.add(make_node("d", [], {"kube-node.nordix.org/third": "172.20.0.0/24"}))
    cluster.server.add(make_node("b", [], {"kube-node.nordix.org/other": "172.20.2.0/24"}))
    cluster.server.add(make_node("c", [], {NET1: "172.20.3.0/24"}))
    cluster.server.nodes["a"]["metadata"]["labels"]["zone"] = "x"

    status, out, _ = ranges(
        *("assign", "--annotation", NET1, "--cluster-cidr", "172.20.0.0/16", "--selector", "zone=x", "--yes"),
        *("--exclude", "172.20.4.9/32,172.20.5.0/24", "--exclude", "172.20.6.0/24"),
    )

    assert (status, cluster.texts()) == (0, {"a": "172.20.7.0/24", "c": "172.20.3.0/24"})


def test_pool_of_the_pod_cidrs(cluster: Cluster, ranges: Run) -> None:
    """Its blocks go to new nodes, too: none is assigned from it, unless those of the podCIDRs are excluded."""
    cluster.server.service_cidrs = ["10.96.0.0/12"]
    for number, name in enumerate("abc"):
        cluster.server.add(make_node(name, [f"11.0.{number}.0/24"]))
    other = "example.com/other"
    networks = ("--annotation", NET1, "--cluster-cidr", "172.20.0.0/16,11.0.0.0/16")
    others = ("--annotation", other, "--cluster-cidr", "172.30.0.0/16")
    error = (
        f"error: annotation {NET1}: --cluster-cidr 11.0.0.0/16 overlaps podCIDRs: kube-controller-manager can give "
        "another node the same block\n"
        "node a has 11.0.0.0/24; name another network, or leave out kube-controller-manager's --cluster-cidr: "
        "--exclude CIDR\n"
    )

    assert ranges("assign", *networks) == (1, "0 annotations to write\n", error)
    assert ranges("show", *networks)[::2] == (1, error)
    assert json.loads(ranges("show", *networks, "-o", "json")[1])["problems"][0]["what"] in error
    status, _, err = ranges("assign", *networks, *others, "--yes")
    assert (status, err, cluster.texts()) == (1, error, {})
    assert cluster.server.nodes["c"]["metadata"]["annotations"][other] == "172.30.2.0/24"
    cluster.server.annotate("c", NET1, "172.20.0.0/24")
    assert ranges("assign", *networks, "--grow", "c", "--yes")[::2] == (1, error)

    excluded = (*networks[:-1], "11.0.0.0/16", "--exclude", "11.0.0.0/17")
    assert ranges("assign", *excluded, "--yes")[::2] == (0, "")
    assert cluster.texts() == {"a": "11.0.128.0/24", "b": "11.0.129.0/24", "c": "172.20.0.0/24"}
    assert ranges("show", *excluded)[::2] == (0, "")


def test_several_networks(cluster: Cluster, ranges: Run) -> None:
    """Each annotation has its pool, in the same order; both are written in one patch of each Node."""
    cluster.add("a", "b")
    other = "example.com/other"

    status, _, err = ranges(
        *("assign", "--annotation", NET1, "--cluster-cidr", "172.20.0.0/16"),
        *("--annotation", other, "--cluster-cidr", "172.20.0.0/15", "--yes"),
    )

    assert (status, err) == (0, "")
    assert cluster.texts() == {"a": "172.20.0.0/24", "b": "172.20.1.0/24"}
    assert cluster.server.nodes["b"]["metadata"]["annotations"][other] == "172.20.3.0/24"
    assert cluster.server.count("PATCH") == 2


def test_grow(cluster: Cluster, ranges: Run) -> None:
    """One more block of each family is appended, nothing else changes."""
    cluster.server.service_cidrs = ["10.96.0.0/12"]
    cluster.add("a", text="172.20.0.0/24,fd00:20::/96")
    cluster.add("b", text="172.20.1.0/24")

    assert ranges("assign", *POOL, "--grow", "a")[:2] == (
        0,
        "NODE  ANNOTATION                 RANGES\n"
        f"a     {NET1}  172.20.0.0/24,fd00:20::/96,172.20.2.0/24,fd00:20::1:0:0/96\n"
        "1 annotation to write; --yes writes them\n",
    )
    ranges("assign", *POOL, "--grow", "a", "--yes")

    assert cluster.texts() == {"a": "172.20.0.0/24,fd00:20::/96,172.20.2.0/24,fd00:20::1:0:0/96", "b": "172.20.1.0/24"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, f"annotation {NET1} of node a: missing"),
        ("172.20.0.1/24", "has host bits set"),
        ('"ranges": [[{"subnet": "172.20.0.0/24"}]]', "is not a list of CIDRs"),
    ],
)
def test_grow_what_cannot(cluster: Cluster, ranges: Run, text: str | None, message: str) -> None:
    """What is not there or not understood does not grow."""
    cluster.add("a", text=text or "")
    status, _, err = ranges("assign", *POOL, "--grow", "a", "--yes")
    assert (status, message in err, cluster.server.count("PATCH")) == (1, True, 0)
    assert "there is no node z" in ranges("assign", *POOL, "--grow", "z", "--yes")[2]


def test_grow_from_a_full_pool(cluster: Cluster, ranges: Run) -> None:
    """Nothing is written, also not for the annotation whose pool has room."""
    other = "example.com/other"
    cluster.server.add(make_node("a", (), {other: "172.30.0.0/24", NET1: "172.20.0.0/24"}))
    pools = ("--annotation", other, "--cluster-cidr", "172.30.0.0/16", "--annotation", NET1, "--cluster-cidr")

    status, _, err = ranges("assign", *pools, "172.20.0.0/24", "--grow", "a", "--yes")

    message = f"error: 1 node is left without annotation {NET1}: 172.20.0.0/24 has no free block of /24\n"
    assert (status, message in err, cluster.server.count("PATCH")) == (1, True, 0), err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("assign",), "--annotation and --cluster-cidr are needed, equally often"),
        (("assign", "--annotation", NET1), "--annotation and --cluster-cidr are needed, equally often"),
        (("assign", *POOL, *POOL), f"--annotation {NET1} is given twice"),
        (("--yes",), "unrecognized arguments: --yes"),
        (("asign",), "did you mean node-ipam.pyz ranges assign?"),
        (("assign", *POOL, "--watch", "--grow", "a"), "--grow: not allowed with argument --watch"),
        (("assign", *POOL, "--probe-dir", "/tmp"), "--probe-dir is for --watch"),
        (("assign", *POOL, "--exclude", "10.0.0.1/8"), "--exclude: 10.0.0.1/8 has host bits set"),
        (("--service-cluster-ip-range", "x"), "--service-cluster-ip-range: 'x' does not appear to be"),
        (("--selector", "a b"), "is not a label selector"),
        (("assign", "--annotation", "a b"), "is not the name of an annotation"),
        (("assign", *POOL, "-o", "prometheus"), "invalid choice: 'prometheus'"),
        (("assign", *POOL, "--wait", "nan"), "invalid int value: 'nan'"),
        (("--annotation", NET1, "--cluster-cidr", "172.20.0.0/30"), "does not fit into 172.20.0.0/30"),
    ],
)
def test_wrong_options(cluster: Cluster, ranges: Run, arguments: tuple[str, ...], message: str) -> None:
    """A clear error and exit status 2, before anything is changed."""
    status, _, err = ranges(*arguments)
    assert (status, message in err) == (2, True), err
    assert methods(cluster) <= {"GET"}


@pytest.mark.parametrize(
    ("words", "option", "others"),
    [
        (["--help"], "--selector LABELS", ["--yes", "--probe-dir"]),
        (["show", "--help"], "--selector LABELS", ["--yes", "--probe-dir"]),
        (["assign", "--help"], "--yes ", ["prometheus", "spec.podCIDRs"]),
        (["rbac", "--help"], "rules of RBAC", ["--kubeconfig", "--yes"]),
    ],
)
def test_help(ranges: Run, words: list[str], option: str, others: list[str]) -> None:
    """Each action has its own help."""
    status, out, _ = ranges(*words)
    action = "show" if words[0].startswith("-") else words[0]
    assert (status, out.startswith(f"usage: node-ipam.pyz ranges {action} ")) == (0, True)
    assert (option in out, [each for each in others if each in out]) == (True, [])


def test_forbidden(cluster: Cluster, ranges: Run) -> None:
    """A credential without the rights: what the server says, and where the rules are."""
    cluster.server.rule = rbac_get_nodes_only
    status, _, err = ranges()
    assert (status, "cannot list resource" in err, "node-ipam.pyz ranges rbac prints" in err) == (1, True, True)


def test_lease_of_another(cluster: Cluster, ranges: Run) -> None:
    """It is waited for; a holder that goes on renewing it keeps it."""
    spec = {"holderIdentity": "other_1", "leaseDurationSeconds": 900, "leaseTransitions": 7}
    cluster.server.leases[LEASE] = {"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}, "spec": spec}
    cluster.add("a")

    status, _, err = ranges("assign", *POOL, "--yes", "--wait", "0")

    assert status == 1
    assert f"waiting: the Lease {LEASE} is held by other_1\n" in err or f"the Lease {LEASE} is held by other_1" in err
    assert cluster.texts() == {}

    spec["leaseDurationSeconds"] = 1
    assert ranges("assign", *POOL, "--yes")[0] == 0
    assert cluster.server.leases[LEASE]["spec"]["leaseTransitions"] == 8
    assert cluster.server.leases[LEASE]["metadata"]["labels"] == {"a": "b"}


def test_unreachable(ranges: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server that does not answer is an error with advice."""

    def refuse(*_arguments: object) -> None:
        raise Unreachable("API server https://x: connection refused")

    monkeypatch.setattr("plugin.kube.session.connect", refuse)
    for words in ((), ("assign", *POOL)):
        status, _, err = ranges(*words)
        assert (status, "\ncheck that the API server runs, " in err) == (1, True), err


def test_kubeconfig_as_kubectl_finds_it(
    cluster: Cluster, ranges: Run, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--kubeconfig, $KUBECONFIG, ~/.kube/config; the kubelet's own is not looked for."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KUBECONFIG")
    status, _, err = ranges()
    assert (status, "no kubeconfig; looked at $KUBECONFIG: not set" in err, "kubelet.conf" in err) == (1, True, False)
    assert "set --kubeconfig to the path of a kubeconfig whose user may list Nodes" in err
    assert ranges("--kubeconfig", str(cluster.kubeconfig))[0] == 0
    (tmp_path / "home/.kube").mkdir(parents=True)
    os.link(cluster.kubeconfig, tmp_path / "home/.kube/config")
    assert ranges()[0] == 0


def test_rbac(ranges: Run) -> None:
    """The rules are read by kubectl as they are: Nodes, and the one Lease."""
    status, out, _ = ranges("rbac")
    objects = list(yaml.safe_load_all(out))
    assert (status, [each["kind"] for each in objects]) == (0, ["ClusterRole", "Role", "Lease"])
    assert objects[0]["rules"] == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "patch"]}
    ]
    assert objects[1]["rules"][0]["resourceNames"] == ["node-ipam-ranges"]


def test_progress(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A bar on a terminal, nothing elsewhere."""
    for is_terminal, expected in ((False, ""), (True, "reading nodes [###############               ] 500/1000")):
        monkeypatch.setattr("sys.stderr.isatty", lambda answer=is_terminal: answer)
        with progress.bar() as show:
            show(500, 500)
        assert expected in capsys.readouterr().err
