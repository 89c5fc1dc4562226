"""Who has which address, how many are left, and which leases nobody uses."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin import deadline, kube_node
from plugin.cache import Cache
from plugin.errors import CniError
from plugin.leases import storelock
from plugin.leases.evidence import verdict
from plugin.leases.hostlocal import Lease
from plugin.ops.leases import stores, usage
from plugin.ops.leases.stores import Store
from plugin.ops.networks import configurations, known_ranges, networks
from plugin.ops.networks.overlay import Overlay
from tests.support.nodes import make_node
from tests.support.operator_node import MACHINE_ID, NODE, OperatorNode
from tests.support.privileges import modes_count

OLD = verdict.GRACE + 60
STALE = "no result of libcni and no process names the container"
NEW = "its ADD may be running: 10 minutes have not passed"


@pytest.fixture(autouse=True)
def nothing_else_is_asked(node: OperatorNode) -> Iterator[None]:
    """What is tested here must not query the API server."""
    yield
    assert [asked.path for asked in node.server.requests] == node.learnt


def listed(node: OperatorNode, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What -o json says of each network."""
    assert node.run("leases", "-o", "json", *arguments) == 0
    return {each["network"]: each for each in json.loads(capsys.readouterr().out)["networks"]}


def test_table(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each range, with what is used, free, stale and empty; empty files are named."""
    node.learn(node.network())
    node.result("c1")
    for address, owner in (("10.244.1.2", "c1 eth0"), ("fd00:10:244:1::2", "c1 eth0"), ("10.244.1.3", "c2 eth0")):
        node.lease(address, owner, OLD)
    node.lease("10.244.1.4", "c3 eth0", 5)
    node.lease("10.244.1.8", "", 5)
    node.lease("10.244.1.9", "", OLD)
    node.lease("10.9.0.2", "c1 net1", OLD)

    assert node.run("leases") == 0

    assert capsys.readouterr().out.splitlines() == [
        "NETWORK  RANGE               USED  FREE     TOTAL    STALE  EMPTY",
        "k8snet   10.244.1.0/24          5  248      253          1      1",
        "k8snet   fd00:10:244:1::/64     1  1.8e+19  1.8e+19      0      0",
        "k8snet   elsewhere              1  ?        ?            0      0",
        f"k8snet: leases elsewhere are of ranges that the network no longer has (node {NODE})",
        f"k8snet: empty lease files in {node.memory}/k8snet: 10.244.1.9 (gc removes them)",
    ]


def test_all(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """With --all every lease is shown, in the order of the addresses, not of their texts."""
    node.network()
    node.result("c1", age=2 * 86400)
    node.lease("10.244.1.10", "c1 eth0", 60)
    node.lease("10.244.1.9", "c2 eth0", 90000)
    node.lease("10.244.1.11", "c3", 90)
    node.lease("10.244.1.12", "", -3600)

    assert node.run("leases", "k8snet", "--all") == 0

    assert [line.split() for line in capsys.readouterr().out.splitlines()[:5]] == [
        ["NETWORK", "ADDRESS", "CONTAINER", "INTERFACE", "AGE", "STATE", "EVIDENCE"],
        [
            "k8snet",
            "10.244.1.9",
            "c2",
            "eth0",
            "1d1h",
            "stale",
            *STALE.split(),
        ],
        [
            "k8snet",
            "10.244.1.10",
            "c1",
            "eth0",
            "1m",
            "used",
            "network",
            "namespace",
            *f"{node.proc.netns}/c1 exists".split(),
        ],
        ["k8snet", "10.244.1.11", "c3", "-", "1m30s", "new", *NEW.split()],
        ["k8snet", "10.244.1.12", "-", "-", "in", "the", "future", "new", *NEW.split()],
    ]


def test_json(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The schema that scripts rely on."""
    node.network(type="host-local", ranges=[[{"subnet": "10.1.0.0/29", "rangeStart": "10.1.0.3"}]])
    node.lease("10.1.0.4", "c1 eth0", OLD)
    node.write("run/k8snet/last_reserved_ip.0", "10.1.0.4")
    node.write("run/k8snet/kube-node.json", "{}")
    node.result("c1")

    (network,) = listed(node, capsys, "--all").values()

    (entry,) = network.pop("entries")
    assert entry.pop("age") in (OLD, OLD + 1)
    assert entry == {
        "network": "k8snet",
        "address": "10.1.0.4",
        "container": "c1",
        "interface": "eth0",
        "state": "used",
        "evidence": f"network namespace {node.proc.netns}/c1 exists",
    }
    assert network == {
        "network": "k8snet",
        "store": str(node.memory / "k8snet"),
        "rangesFrom": str(node.conf / "10-k8snet.conflist"),
        "rangesUnknown": None,
        "ranges": [
            {
                "set": 0,
                "subnet": "10.1.0.0/29",
                "first": "10.1.0.3",
                "last": "10.1.0.6",
                "used": 1,
                "free": 3,
                "total": 4,
            }
        ],
        "statesUnknown": None,
        "elsewhere": 0,
        "lastReserved": {"0": "10.1.0.4"},
        "leases": {"used": 1, "new": 0, "stale": 0, "empty": 0, "unknown": 0},
        "empty": [],
    }


def test_prometheus(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """node_exporter's text format: help, type, and one sample for each range and state."""
    node.network(type="host-local", subnet="10.1.0.0/29")
    node.lease("10.1.0.4", "c1 eth0", OLD)
    node.result("c2")

    assert node.run("leases", "-o", "prometheus") == 0

    store = f'network="k8snet",store="{node.memory}/k8snet"'
    assert capsys.readouterr().out.splitlines() == [
        "# HELP node_ipam_range_addresses Addresses that host-local can allocate from a range.",
        "# TYPE node_ipam_range_addresses gauge",
        f'node_ipam_range_addresses{{{store},range="10.1.0.0/29"}} 5',
        "# HELP node_ipam_range_used_addresses Addresses of a range that are leased.",
        "# TYPE node_ipam_range_used_addresses gauge",
        f'node_ipam_range_used_addresses{{{store},range="10.1.0.0/29"}} 1',
        "# HELP node_ipam_leases Leases by state: used, new, stale, empty, or unknown if the evidence is incomplete.",
        "# TYPE node_ipam_leases gauge",
        *(
            f'node_ipam_leases{{{store},state="{state}"}} {count}'
            for state, count in (("used", 0), ("new", 0), ("stale", 1), ("empty", 0), ("unknown", 0))
        ),
    ]


def test_prometheus_labels(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory of any name makes a well-formed label."""
    odd = node.make('a"b\\c\n')
    (odd / "net").mkdir()
    (odd / "net" / "10.0.0.1").touch()

    assert node.run("leases", "-o", "prometheus", "--data-dir", str(odd)) == 0

    assert 'a\\"b\\\\c\\n/net"' in capsys.readouterr().out


def test_ranges_unknown(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A store that no configuration names has no known range; the address handed out last is something."""
    node.lease("10.1.0.4", "c1 eth0", network="podman")
    node.write("run/podman/last_reserved_ip.0", "10.1.0.4")
    node.result("c1")

    assert node.run("leases", "--data-dir", str(node.memory)) == 0

    assert capsys.readouterr().out.splitlines()[1:] == [
        "podman   unknown     1  ?     ?          0      0",
        "podman: range unknown (no CNI configuration names this network); last allocated: 10.1.0.4",
    ]


def test_no_results(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Without results of libcni nobody can tell what is stale."""
    node.network(type="host-local", subnet="10.1.0.0/29")
    node.lease("10.1.0.4", "c1 eth0", OLD)

    assert node.run("leases") == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["k8snet", "10.1.0.0/29", "1", "4", "5", "?", "0"]
    assert lines[2].startswith("cannot tell which leases are stale: there are no results in ")


def test_another_programs_store(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """What gc would not release because no result speaks of the network is not stale here either."""
    node.network("vms", type="host-local", subnet="10.5.0.0/24")
    node.lease("10.5.0.2", "vm-1 eth0", OLD, network="vms")
    node.lease("10.5.0.3", "", OLD, network="vms")
    node.result("c1")

    assert node.run("leases") == 0
    lines = capsys.readouterr().out.splitlines()
    network = listed(node, capsys)["vms"]

    assert lines[1].split() == ["vms", "10.5.0.0/24", "2", "251", "253", "?", "1"]
    assert lines[2].endswith(": 10.5.0.3 (gc removes them)")
    assert lines[3].startswith("vms: cannot tell which leases are stale: no result of libcni names the network or a")
    assert (network["leases"]["unknown"], network["leases"]["stale"]) == (1, 0)
    assert network["statesUnknown"].startswith("no result of libcni")


@pytest.mark.parametrize("output", ["table", "json", "prometheus"])
def test_leases_that_cannot_be_read(node: OperatorNode, capsys: pytest.CaptureFixture[str], output: str) -> None:
    """They are in use for all we know, and whoever may not read them is told so."""
    node.network(type="host-local", subnet="10.1.0.0/29")
    node.result("c1")
    os.chmod(node.lease("10.1.0.4", "c1 eth0", OLD), 0)

    with modes_count():
        status = node.run("leases", "-o", output)

    printed = capsys.readouterr()
    shown = {
        "table": "k8snet   10.1.0.0/29     1     4      5  ?          0\n",
        "json": '"unknown": 1',
        "prometheus": 'state="unknown"} 1\n',
    }
    assert shown[output] in printed.out
    assert status == 1
    assert (
        printed.err
        == f"error: network k8snet: leases in {node.memory}/k8snet that cannot be read: 1\nrun this as root\n"
    )


@pytest.mark.parametrize("name", ["run", "run/k8snet"])
@pytest.mark.parametrize("mode", [0o300, 0o600])
def test_directories_that_cannot_be_read(
    node: OperatorNode, capsys: pytest.CaptureFixture[str], name: str, mode: int
) -> None:
    """An empty table would say that nothing is used."""
    node.network(type="host-local", subnet="10.1.0.0/29")
    node.lease("10.1.0.4", "c1 eth0")
    os.chmod(node.directory / name, mode)

    with modes_count():
        status = node.run("leases")
    os.chmod(node.directory / name, 0o700)

    assert (status, capsys.readouterr()) == (
        1,
        ("", f"error: {node.directory}/{name} cannot be read: Permission denied\nrun this as root\n"),
    )


def test_broken_configuration(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """It may be the one that names the store: 'no leases' would be too much to say."""
    node.write("net.d/10-k8snet.conf", "{")

    assert node.run("leases") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {node.conf}/10-k8snet.conf is not JSON: ")
    assert node.run("leases", "-o", "json") == 1
    (trouble,) = json.loads(capsys.readouterr().out)["troubles"]
    assert trouble["what"].startswith(f"{node.conf}/10-k8snet.conf is not JSON")
    assert node.run("leases", "k8snet") == 1
    assert "k8snet.conf is not JSON" in capsys.readouterr().err


def test_a_slash_at_the_end(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """It makes no other directory: a store is listed once, and its ranges are known."""
    node.network(type="host-local", subnet="10.1.0.0/29")
    node.network("net1", type="host-local", subnet="10.2.0.0/29", dataDir=f"{node.memory}//")
    for name in ("k8snet", "net1"):
        node.lease("10.1.0.4", "c1 eth0", network=name)

    for arguments in ((), ("--data-dir", f"{node.memory}/")):
        assert node.run("leases", "-o", "json", *arguments) == 0
        found = json.loads(capsys.readouterr().out)["networks"]
        assert [(each["store"], len(each["ranges"])) for each in found] == [
            (f"{node.memory}/k8snet", 1),
            (f"{node.memory}/net1", 1),
        ]


def test_odd_files(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Pipes and directories where files are expected, and files of odd names and contents, do not stop it."""
    node.network(type="host-local", subnet="10.1.0.0/29")
    node.lease("10.1.0.4", "c1 eth0")
    node.result("c1")
    os.mkfifo(node.results / "k8snet-c2-eth0")
    node.make("net.d/20-more.conf")
    node.write("run/k8snet/last_reserved_ip.\u00b2", "10.1.0.4")
    (node.memory / "k8snet" / "last_reserved_ip.0").write_bytes(b"\xff\n")
    node.write("run/k8snet/last_reserved_ip.2", "")  # after a power failure
    for name in ("last_reserved_ip.1", "10.1.0.5"):
        os.mkfifo(node.memory / "k8snet" / name)

    with deadline.within(10):
        (network,) = listed(node, capsys).values()

    assert network["lastReserved"] == {"0": "\ufffd"}
    assert network["leases"] == {"used": 1, "new": 0, "stale": 0, "empty": 0, "unknown": 0}


@pytest.mark.parametrize("name", ["run/loop", "run/k8snet/loop", "loop"])
def test_loop_of_links(node: OperatorNode, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A loop of links in a dataDir, or in place of one, is an error of its own; all other stores are shown."""
    node.network(type="host-local", subnet="10.1.0.0/29")
    node.network("net1", type="host-local", subnet="10.2.0.0/29", dataDir=str(node.directory / "loop"))
    node.lease("10.1.0.4", "c1 eth0")
    os.symlink("loop", node.directory / name)

    status = node.run("leases", "-o", "json")
    document = json.loads(capsys.readouterr().out)

    assert [(each["network"], each["leases"]["new"]) for each in document["networks"]] == [("k8snet", 1)]
    is_told = name != "run/k8snet/loop"  # which has no name that a lease can have
    assert (status, [each["what"] for each in document["troubles"]]) == (
        int(is_told),
        [f"{node.directory}/{name} cannot be read: Too many levels of symbolic links"] * is_told,
    )


@pytest.mark.parametrize("name", ["10.1.0.5", "last_reserved_ip.0"])
def test_links_in_a_store(node: OperatorNode, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A link is not followed: nothing of its target is shown, and one that is named like an address is told."""
    node.network(type="host-local", subnet="10.1.0.0/29")
    node.lease("10.1.0.4", "c1 eth0")
    os.symlink(node.write("shadow", "hunter2\r\neth0"), node.memory / "k8snet" / name)

    status = node.run("leases", "--all", "-o", "json")
    printed = capsys.readouterr()

    assert "hunter2" not in printed.out + printed.err
    (network,) = json.loads(printed.out)["networks"]
    is_lease = name == "10.1.0.5"
    assert (status, network["ranges"][0]["used"], network["lastReserved"]) == (int(is_lease), 1 + is_lease, {})
    assert ("10.1.0.5 is a symbolic link, which is not followed" in printed.err) is is_lease


def test_configuration_that_is_a_pipe(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A runtime would wait for it; we do not."""
    os.mkfifo(node.conf / "a.conf")

    with deadline.within(10):
        assert node.run("leases") == 1

    assert f"{node.conf}/a.conf cannot be read: not a regular file" in capsys.readouterr().err


def test_remarks_cannot_steer_the_terminal(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor can the name of a directory, or what is in a file."""
    node.write("run/\033[2J/10.0.0.1", "c1\r\neth0")
    node.write("run/\033[2J/last_reserved_ip.0", "\033[2J")

    assert node.run("leases", "--data-dir", str(node.memory)) == 0

    assert "\033" not in capsys.readouterr().out


def test_nothing(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A machine without stores is no error; a network that has none is."""
    assert node.run("leases") == 0
    assert capsys.readouterr().err.startswith("no leases")
    assert node.run("leases", "k8snet") == 1
    assert "network k8snet has no leases in " in capsys.readouterr().err
    assert node.run("leases", "--data-dir", "/nowhere") == 0
    assert capsys.readouterr().err == "no leases below /nowhere\n"


def test_asks_nobody(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Without anything known of the Node no server is asked, and the reason is given."""
    node.network()
    node.lease("10.244.1.2", "c1 eth0")

    (network,) = listed(node, capsys).values()

    assert network["rangesUnknown"].startswith("nothing is known of the Node yet")
    assert network["elsewhere"] == 1


def test_ranges_as_the_runtime_learnt_them(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """What a runtime with other variables has learnt counts in an operator's shell, the newest first."""
    config = node.network()
    node.learn(config, HOME="/var/lib/containerd", NODE_NAME=NODE)
    node.lease("10.244.1.2", "c1 eth0")
    node.monkeypatch.setenv("KUBECONFIG", "/home/operator/admin.conf")

    (network,) = listed(node, capsys).values()

    assert [each["subnet"] for each in network["ranges"]] == ["10.244.1.0/24", "fd00:10:244:1::/64"]
    assert network["rangesFrom"] == f"node {NODE}"


@pytest.mark.parametrize("own", [True, False])
def test_ranges_of_this_configuration(node: OperatorNode, capsys: pytest.CaptureFixture[str], own: bool) -> None:
    """With two kubeconfigs in one cache, what was learnt by this process's kubeconfig counts, not the newest."""
    config = node.network()
    node.server.add(make_node("other", ("10.9.1.0/24",), machine_id=MACHINE_ID))
    other = node.server.write_kubeconfig(node.directory / "other.conf", "kubelet", "other")
    for variables in ({"KUBECONFIG": other}, {})[:: 1 if own else -1]:
        node.learn(config, **variables)
    node.lease("10.244.1.2", "c1 eth0")
    node.monkeypatch.delenv("KUBECONFIG", raising=False)
    if own:
        node.monkeypatch.setenv("KUBECONFIG", other)

    (network,) = listed(node, capsys).values()

    assert network["rangesFrom"] == ("node other" if own else f"node {NODE}")


def test_ranges_of_an_annotation(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The ranges and the dataDir that an annotation names are known from the cache."""
    data = node.make("elsewhere")
    text = f'"dataDir": "{data}", "ranges": [[{{"subnet": "172.20.0.0/24"}}]]'
    node.node["metadata"]["annotations"]["example.com/net1"] = text
    node.learn(node.network("net1", type="node-annotation", annotation="example.com/net1", dataDir=None), HOME="/")
    node.monkeypatch.setenv("HOME", "/")
    (data / "net1").mkdir()
    (data / "net1" / "172.20.0.2").write_text("c1\r\nnet1", encoding="ascii")

    (network,) = listed(node, capsys, "net1").values()

    assert [(each["subnet"], each["used"]) for each in network["ranges"]] == [("172.20.0.0/24", 1)]
    assert network["store"] == str(data / "net1")


def test_pinned_ranges(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """An operator's own file is known without any cache."""
    node.network()
    node.write(f"run/{kube_node.PINNED}", '{"ranges": [[{"subnet": "10.9.0.0/24"}]]}')
    node.lease("10.9.0.2", "c1 eth0")

    (network,) = listed(node, capsys).values()

    assert [each["subnet"] for each in network["ranges"]] == ["10.9.0.0/24"]
    assert network["rangesFrom"] == str(node.memory / kube_node.PINNED)


def state(container: str) -> str:
    """The verdict on an old lease of this container, by what is there."""
    (found,) = usage.evidence([]).judge("k8snet", [Lease("10.0.0.2", container, "net1", time.time() - OLD)])
    return found.state


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ("c1", verdict.USED),
        ("c2", verdict.STALE),
        ("c", verdict.STALE),
        ("half", verdict.UNKNOWN),
        ("lega-cy", verdict.UNKNOWN),
        ("ancient", verdict.UNKNOWN),
    ],
)
def test_state(node: OperatorNode, container: str, expected: str) -> None:
    """A result of any form counts for the whole name of a container; tests/leases has what else counts."""
    node.result("c1", "eth0")
    node.result("half").write_bytes(b'{"kind": "cniCacheV1", "containerId": "ha')
    node.proc.gone("half")
    (node.results / "a-net-lega-cy-eth0").write_text('{"cniVersion": "0.3.1", "ips": []}', encoding="ascii")
    (node.results / "net-ancient").write_text('{"cniVersion": "0.2.0"}', encoding="ascii")
    assert state(container) == expected


@pytest.mark.parametrize(
    ("named", "trouble"),
    [
        ([], ""),
        (["full"], ""),
        (["full", "results"], ""),
        (["empty"], "/empty holds no results"),
        (["full", "empty"], "/empty holds no results"),
        (["junk"], "/junk holds no results"),
        (["absent"], "/absent cannot be read: No such file or directory"),
        (["full", "file"], "/file cannot be read"),
    ],
)
def test_results(node: OperatorNode, named: list[str], trouble: str) -> None:
    """Each directory that is named must hold results: an empty or absent one tells that something is amiss."""
    node.result("c1")
    for name in ("full", "empty", "junk"):
        node.make(name)
    node.write("full/net-c2-eth0", "{}")
    node.write("junk/README", "nothing")
    node.make("junk/sub-dir-ectory")
    node.write("file", "")

    evidence = usage.evidence([str(node.directory / name) for name in named])

    assert evidence.trouble.endswith(trouble) if not trouble else trouble in evidence.trouble
    assert bool(evidence.trouble) is bool(trouble)
    assert evidence.results.of("c1")


@pytest.mark.parametrize("content", [None, "junk"])
def test_no_default_results(node: OperatorNode, content: str | None) -> None:
    """The usual directories must hold something together."""
    if content:
        node.write("results/README", content)

    assert usage.evidence([]).trouble == f"there are no results in {node.results}"


def test_unreadable_results(node: OperatorNode) -> None:
    """Who may not see the results does not conclude that there are none."""
    node.result("c1")
    os.chmod(node.results, 0)
    with modes_count():
        found = usage.evidence([]).trouble
    os.chmod(node.results, 0o700)

    assert "cannot be read" in found


def test_stores(node: OperatorNode) -> None:
    """What looks like a store is one: a lock, a last address or a lease; other directories and files are not."""
    for name in ("a/lock", "b/last_reserved_ip.0", "c/10.0.0.1", "d/kube-node.json", "e/readme", "file"):
        node.write(f"networks/{name}", "")
    node.make("networks/f/10.0.0.1")

    found, troubles = stores.find([], [], os.environ)

    assert ([store.network for store in found], troubles) == (["a", "b", "c"], [])
    assert [store.network for store in stores.find([], [], os.environ, "b")[0]] == ["b"]


def test_data_dirs_of_broken_configurations(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration that the plugin refuses still tells where its leases are."""
    node.network(cacheSeconds="often")
    node.lease("10.244.1.2", "c1 eth0")

    (network,) = listed(node, capsys).values()

    assert network["leases"]["new"] == 1
    assert "'ipam.cacheSeconds'" in network["rangesUnknown"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "n", "ipam": {"type": "kube-node"}}', [("n", "kube-node", None)]),
        (
            '{"name": "n", "cniVersion": "1.0.0", "plugins": [{"type": "a", "ipam": {"type": "b"}}, {"type": "c"}]}',
            [("n", "b", "1.0.0"), ("n", "", "1.0.0")],
        ),
        (
            '{"name": "n", "cniVersions": ["0.4.0", "1.1.0", "9.0.0", "1.0.0"], "plugins": [{"ipam": {"type": "b"}}]}',
            [("n", "b", "1.1.0")],
        ),
        (
            '{"name": "m", "type": "multus", "delegates": [{"name": "n", "plugins": [{"ipam": {"type": "b"}}]}]}',
            [("n", "b", None)],
        ),
        ('{"name": 1, "ipam": "kube-node"}', [("", "", None)]),
        ('{"plugins": []}', []),
    ],
)
def test_parse(text: str, expected: list[tuple[str, str, str | None]]) -> None:
    """Single configurations, lists and what Multus delegates to come apart into what each plugin is told."""
    found = configurations.parse(text.encode(), "test", [])
    assert [(each.name, each.type, each.config.get("cniVersion")) for each in found] == expected


@pytest.mark.parametrize("text", ["", "[]", "null", '{"plugins": [1]}', "{"])
def test_parse_refuses(text: str) -> None:
    """What is no configuration is an error that names its source."""
    with pytest.raises(Exception, match=r"^10\.conf is not"):
        configurations.parse(text.encode(), "10.conf", [])


def test_memories_pass_over_what_they_cannot_read(node: OperatorNode) -> None:
    """Entries of another version, and damaged ones, are none."""
    node.learn(node.network())
    cache = Cache(os.environ["NODE_IPAM_CACHE"])
    for number, body in enumerate(
        (b"", b"{", b'{"key": "zz", "entry": {}}', b'{"key": "", "entry": {"name": "x"}}', b"[]")
    ):
        cache.write(f"node-{number}", body)

    assert [memory.facts.name for memory in known_ranges.cached_nodes(cache)] == [NODE]


def test_overlay(tmp_path: Path) -> None:
    """What is written to an overlay is read from it, and never gets to the disk."""
    below = Cache(str(tmp_path / "cache"))
    below.write("old", b"1")
    below.link("link", "old")
    overlay = Overlay(below)

    assert (overlay.read("old"), overlay.target("link"), overlay.read("new")) == (b"1", "old", None)
    overlay.write("new", b"2")
    overlay.write("old", b"3")
    overlay.link("link", "new")
    with overlay.lock("lock"):
        overlay.remove("old")
    overlay.prune("o", 0)

    assert (overlay.read("old"), overlay.target("link"), overlay.read("new")) == (None, "new", b"2")
    assert (overlay.has_new("new"), overlay.has_new("old")) == (True, False)
    assert sorted(name for name, _age in overlay.names()) == ["link", "new"]
    assert sorted(os.listdir(tmp_path / "cache")) == ["link", "old"]
    assert below.read("old") == b"1"


def test_lock_is_no_link(node: OperatorNode) -> None:
    """A lock that somebody has made a link to elsewhere is not followed, and nothing is made there."""
    store = Store(str(node.memory), "k8snet")
    os.mkdir(store.path)
    os.symlink(node.directory / "elsewhere", os.path.join(store.path, "lock"))

    with pytest.raises(CniError, match="lock cannot be opened"), storelock.Locked(store.path, 0.1):
        pass
    assert not (node.directory / "elsewhere").exists()


def test_result_that_cannot_be_read(node: OperatorNode) -> None:
    """Its name is enough to keep the leases of the container."""
    path = node.result("c1")
    path.chmod(0)
    with modes_count():
        assert state("c1") == verdict.UNKNOWN


def test_result_that_vanishes(node: OperatorNode) -> None:
    """One that libcni removes while the directory is read is none."""
    node.result("c1")
    node.monkeypatch.setattr(os, "listdir", lambda _directory: ["k8snet-gone-eth0", "k8snet-c1-eth0"])
    found = usage.evidence([]).results

    assert (found.count, len(found.of("gone")), len(found.of("c1"))) == (1, 0, 1)


def test_scan(node: OperatorNode) -> None:
    """Only what libcni would read is read; no directory is an empty one, what is none is a trouble."""
    node.network()
    node.write("net.d/README", "{")

    found, troubles = networks.scan(str(node.conf))
    assert ([network.name for network in found if network.is_ours], troubles) == (["k8snet"], [])
    assert networks.scan(str(node.directory / "none")) == ([], [])
    assert "cannot be read: Not a directory" in networks.scan(str(node.conf / "README"))[1][0].msg


def test_data_dir_of_a_network_that_cannot_be() -> None:
    """Of a configuration that no runtime could use, what it says of its leases counts all the same."""
    (network,) = configurations.parse(b'{"name": "a/b", "ipam": {"type": "kube-node", "dataDir": "/x"}}', "test", [])

    assert networks.data_dirs(network, {"CNI_PATH": "/opt/cni/bin"}) == ["/x"]
