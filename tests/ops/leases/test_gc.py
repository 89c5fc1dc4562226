"""gc releases what nobody uses, and nothing else, whatever happens beside it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin.cache import Cache
from plugin.leases import reclaim, storelock
from plugin.leases.evidence.verdict import GRACE
from tests.support.apiserver import ApiServer
from tests.support.operator_node import OperatorNode
from tests.support.privileges import modes_count

OLD = GRACE + 60


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OperatorNode]:
    """A node with one network and a lease of each kind in it."""
    made = OperatorNode(tmp_path, ApiServer(), monkeypatch)
    made.network()
    made.result("live")
    made.result("legacy")
    made.lease("10.244.1.2", "live eth0", OLD)
    made.lease("10.244.1.3", "live net1", OLD)
    made.lease("10.244.1.4", "legacy", OLD)
    made.lease("10.244.1.5", "young eth0", GRACE - 30)
    made.lease("10.244.1.6", "", GRACE - 30)
    made.lease("10.244.1.7", "gone eth0", OLD)
    made.lease("10.244.1.8", "gone", OLD)
    made.lease("10.244.1.9", "", OLD)
    for name in ("lock", "last_reserved_ip.0", "kube-node.json"):
        os.utime(made.write(f"run/k8snet/{name}", "10.244.1.9"), (0, 0))
    yield made


KEPT = [
    "10.244.1.2",
    "10.244.1.3",
    "10.244.1.4",
    "10.244.1.5",
    "10.244.1.6",
    "kube-node.json",
    "last_reserved_ip.0",
    "lock",
]
LOST = "older than the oldest result of libcni: its own may be lost"
NO_PROCESS = "no process names the container"
NO_EVIDENCE = "no result of libcni and no process names the container"
FREED = ["10.244.1.7", "10.244.1.8", "10.244.1.9"]


def files(node: OperatorNode, network: str = "k8snet") -> list[str]:
    """What is in the store."""
    return sorted(os.listdir(node.memory / network))


def collect(node: OperatorNode, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status, and what -o json says."""
    status = node.run("gc", "-o", "json", *arguments)
    return status, json.loads(capsys.readouterr().out)


def test_without_yes(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """What would go is shown, and stays."""
    assert node.run("gc") == 0

    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["NETWORK", "ADDRESS", "CONTAINER", "INTERFACE", "AGE", "STATE", "EVIDENCE"],
        ["k8snet", "10.244.1.7", "gone", "eth0", "11m", "stale", *NO_EVIDENCE.split()],
        ["k8snet", "10.244.1.8", "gone", "-", "11m", "stale", *NO_EVIDENCE.split()],
        ["k8snet", "10.244.1.9", "-", "-", "11m", "empty", "it", "names", "no", "container"],
        ["stale", "and", "empty", "leases:", "3;", "gc", "--yes", "releases", "them"],
    ]
    assert files(node) == sorted(KEPT + FREED)


def test_with_yes(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Stale and empty leases go; new ones, those of containers with a result, and all other files stay."""
    assert node.run("gc", "--yes") == 0
    heading, *rows, last = capsys.readouterr().out.splitlines()
    assert heading.split()[4:] == ["AGE", "STATE", "OUTCOME", "EVIDENCE"]
    assert [row.split()[5:7] for row in rows] == [["stale", "released"], ["stale", "released"], ["empty", "released"]]
    assert last == "stale and empty leases: 3; released: 3"
    assert files(node) == KEPT
    assert (node.memory / "k8snet" / "last_reserved_ip.0").read_text(encoding="ascii") == "10.244.1.9"

    assert node.run("gc", "--yes") == 0
    assert capsys.readouterr().out == "nothing to release\n"
    assert files(node) == KEPT


def test_json(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The schema that scripts rely on."""
    status, document = collect(node, capsys, "--yes")

    assert status == 0
    assert document["troubles"] == []
    assert [each["address"] for each in document["leases"]] == FREED
    first = document["leases"][0]
    assert first.pop("age") in (OLD, OLD + 1)
    assert first == {
        "network": "k8snet",
        "address": "10.244.1.7",
        "container": "gone",
        "interface": "eth0",
        "state": "stale",
        "evidence": NO_EVIDENCE,
        "released": True,
    }


@pytest.mark.parametrize("arguments", [(), ("k8snet",), ("--yes",), ("k8snet", "--yes")])
@pytest.mark.parametrize("directory", ["empty", "absent"])
def test_no_results(
    node: OperatorNode, capsys: pytest.CaptureFixture[str], directory: str, arguments: tuple[str, ...]
) -> None:
    """Without results of libcni only what names no container is released, and the exit status is 1."""
    for path in node.results.iterdir():
        path.unlink()
    if directory == "absent":
        node.results.rmdir()

    assert node.run("gc", *arguments) == 1

    printed = capsys.readouterr()
    assert "5 of 8 leases may be in use: there are no results in" in printed.err
    assert "--results-dir" in printed.err
    assert files(node) == sorted(KEPT + FREED[: 2 if "--yes" in arguments else 3])


def test_a_named_directory_without_results(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Results in the usual place do not make up for a directory that was named and has none."""
    status, document = collect(node, capsys, "--yes", "--results-dir", str(node.directory / "nowhere"))

    assert status == 1
    assert "nowhere cannot be read: No such file or directory" in document["troubles"][0]["what"]
    assert files(node) == sorted(KEPT + FREED[:2])


def test_results_elsewhere_count_too(node: OperatorNode) -> None:
    """A result in any directory keeps a container's leases."""
    result = {"kind": "cniCacheV1", "containerId": "gone", "ifName": "eth0", "netns": node.proc.namespace("gone")}
    node.write("more/k8snet-gone-eth0", json.dumps(result))

    assert node.run("gc", "--yes", "--results-dir", str(node.directory / "more")) == 0

    assert files(node) == sorted([*KEPT, "10.244.1.7", "10.244.1.8"])


def test_results_left_behind(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """With --results, the results of containers that have no lease any more go, those of live ones stay."""
    node.result("gone", alive=False)
    node.result("gone", network="cni-loopback", alive=False)
    node.result("half-gone", alive=False)
    node.lease("10.244.1.20", "half-gone eth0", OLD)
    node.lease("10.244.1.21", "half-gone net1", 5)
    before = sorted(os.listdir(node.results))

    assert node.run("gc", "--yes") == 0
    assert sorted(os.listdir(node.results)) == before
    node.lease("10.244.1.7", "gone eth0", OLD)
    status, document = collect(node, capsys_drained(capsys), "--yes", "--results")

    assert (status, document["kept"]) == (0, [])
    assert sorted(document["removedResults"]) == [
        f"{node.results}/{each}" for each in before if "-gone-" in each and "half" not in each
    ]
    assert sorted(os.listdir(node.results)) == [each for each in before if "half" in each or "-gone-" not in each]


@pytest.mark.parametrize(
    ("happens", "status", "ends"),
    [
        ("nothing", 0, "released: 3\nresults of libcni removed: 1\n"),
        ("removed meanwhile", 0, "released: 3\nresults of libcni removed: 1\n"),
        ("in a directory of mode 0500", 1, "released: 3\n"),
    ],
)
def test_results_that_go(
    node: OperatorNode, capsys: pytest.CaptureFixture[str], happens: str, status: int, ends: str
) -> None:
    """The runtime can remove a result at the same moment. One that cannot be removed is named."""
    node.result("gone", alive=False)
    (path,) = node.results.glob("*-gone-*")
    if happens == "removed meanwhile":
        remove = reclaim.remove

        def removed_too(*given: Any) -> None:
            path.unlink(missing_ok=True)
            remove(*given)

        node.monkeypatch.setattr(reclaim, "remove", removed_too)
    elif happens != "nothing":
        os.chmod(node.results, 0o500)

    with modes_count():
        assert node.run("gc", "--yes", "--results") == status
    os.chmod(node.results, 0o700)

    printed = capsys.readouterr()
    assert printed.out.endswith(ends)
    assert (f"error: {path} cannot be removed: Permission denied" in printed.err) is bool(status)
    assert files(node) == KEPT


def test_records(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Without results our own records tell who is alive; the record of a released lease goes with it."""
    for path in node.results.iterdir():
        path.unlink()
    cache = Cache(os.environ["NODE_IPAM_CACHE"])
    cache.write("used-1", b'{"program": "/bin/host-local", "network": "k8snet", "ipam": {}}')
    names = ("live:eth0", "live:net1", "legacy:eth0", "gone:eth0")
    for name in names:
        netns = node.proc.gone("gone") if name.startswith("gone") else str(node.proc.netns / name.partition(":")[0])
        cache.link(f"at:{name}:k8snet", f"used-1 5 {netns}")

    status, document = collect(node, capsys, "--yes")

    assert (status, document["kept"]) == (0, [])
    assert (files(node), [each["address"] for each in document["leases"]]) == (KEPT, FREED)
    assert document["leases"][0]["evidence"] == f"network namespace {node.proc.netns}/gone is gone, {NO_PROCESS}"
    assert {*cache.starting_with("at:")} == {f"at:{name}:k8snet" for name in names} - {"at:gone:eth0:k8snet"}


def test_the_age_that_decides(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """AGE is by the clock that the state is judged by: a file's time can be set back."""
    cache = Cache(os.environ["NODE_IPAM_CACHE"])
    cache.write("used-1", b'{"program": "/bin/host-local", "network": "k8snet", "ipam": {}}')
    cache.link("at:gone:eth0:k8snet", f"used-1 1000 {node.proc.gone('gone')}")
    node.monkeypatch.setattr(time, "clock_gettime", lambda _clock: 1090.0)

    assert node.run("leases", "--all") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "10.244.1.7" in line]

    assert line.split()[3:6] == ["eth0", "1m30s", "new"]


def capsys_drained(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    """Without what has been printed so far."""
    capsys.readouterr()
    return capsys


def test_kept_in_doubt(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A lease older than every result is kept, listed with the reason, and the exit status is 1."""
    node.lease("10.244.1.20", "older eth0", 2 * 86400)

    assert node.run("gc", "--yes") == 1
    printed = capsys.readouterr()
    assert "10.244.1.20" in files(node)
    (line,) = [line for line in printed.out.splitlines() if "10.244.1.20" in line]
    assert line.split()[5:] == [
        "unknown",
        "kept",
        *LOST.split(),
    ]
    assert "network k8snet: 1 of 9 leases may be in use: older than the oldest result" in printed.err


@pytest.fixture
def virtual(node: OperatorNode) -> OperatorNode:
    """A second network, whose only lease has no result."""
    node.network("vms", type="host-local", subnet="10.5.0.0/24")
    node.lease("10.5.0.2", "vm-1 eth0", OLD, network="vms")
    return node


@pytest.mark.parametrize("named", [False, True])
def test_a_network_that_no_result_speaks_of(
    virtual: OperatorNode, capsys: pytest.CaptureFixture[str], named: bool
) -> None:
    """A store none of whose containers has a result may be another program's: it has to be named."""
    status = virtual.run("gc", "--yes", *(["vms"] if named else []))

    assert status == (0 if named else 1)
    assert ("10.5.0.2" not in files(virtual, "vms")) is named
    assert (
        "1 of 1 leases may be in use: no result of libcni names the network" in capsys.readouterr().err
    ) is not named
    assert ("10.244.1.7" in files(virtual)) is named


@pytest.mark.parametrize("helps", [False, True])
def test_results_of_another_network(virtual: OperatorNode, helps: bool) -> None:
    """Naming a directory of results does not name a network: its results have to be in there."""
    network = "vms" if helps else "k8snet"
    cached = {"kind": "cniCacheV1", "containerId": "vm-2", "networkName": network}
    os.utime(virtual.write("more/vm-2", json.dumps(cached)), (1, 1))

    status = virtual.run("gc", "--yes", "--results-dir", str(virtual.directory / "more"))

    assert status == (0 if helps else 1)
    assert ("10.5.0.2" not in files(virtual, "vms")) is helps
    assert files(virtual) == KEPT


def test_a_network_with_results_but_no_live_lease(node: OperatorNode) -> None:
    """A result that names the network shows that its results are here."""
    node.network("vms", type="host-local", subnet="10.5.0.0/24")
    node.lease("10.5.0.2", "vm-1 eth0", OLD, network="vms")
    node.result("vm-2", network="vms")

    assert node.run("gc", "--yes") == 0

    assert files(node, "vms") == ["lock"]


def test_data_dir(node: OperatorNode) -> None:
    """--data-dir says where to look, and nothing else is touched."""
    (node.make("other/k8snet") / "10.0.0.2").write_text("gone\r\neth0", encoding="ascii")
    os.utime(node.directory / "other/k8snet/10.0.0.2", (1, 1))

    assert node.run("gc", "--yes", "k8snet", "--data-dir", str(node.directory / "other")) == 0

    assert os.listdir(node.directory / "other/k8snet") == ["lock"]
    assert files(node) == sorted(KEPT + FREED)


def test_waits_for_host_local(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """While host-local holds its lock nothing is released; a lock that is held for ever is an error."""
    node.monkeypatch.setattr(storelock, "SECONDS", 0.2)
    with open(node.memory / "k8snet" / "lock", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        assert node.run("gc", "--yes") == 1
        assert "lock has been held by another process" in capsys.readouterr().err
        assert files(node) == sorted(KEPT + FREED)

    assert node.run("gc", "--yes") == 0
    assert files(node) == KEPT


def test_the_look_that_counts_is_under_the_lock(node: OperatorNode) -> None:
    """A stale lease whose address was given out again before the lock was had is not stale any more."""
    locked = storelock.Locked
    path = node.memory / "k8snet" / "10.244.1.7"

    def reused_before(store: str, seconds: float) -> storelock.Locked:
        path.unlink(missing_ok=True)
        path.write_text("gone\r\neth0", encoding="ascii")
        return locked(store, seconds)

    node.monkeypatch.setattr(storelock, "Locked", reused_before)

    assert node.run("gc", "--yes") == 0

    assert files(node) == sorted([*KEPT, "10.244.1.7"])


def test_what_cannot_be_removed(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be removed is named, and the others are gone on with."""
    os.chmod(node.memory / "k8snet", 0o500)
    with modes_count():
        status, document = collect(node, capsys, "--yes")
        node.run("gc", "--yes")
    os.chmod(node.memory / "k8snet", 0o700)

    assert capsys.readouterr().out.count(" failed ") == 3
    assert status == 1
    assert [each["released"] for each in document["leases"]] == [False] * 3
    assert len(document["troubles"]) == 3


def test_what_cannot_be_read(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A lease of which it cannot be told whose it is stays, and the operator is told."""
    os.chmod(node.memory / "k8snet" / "10.244.1.7", 0)
    with modes_count():
        status, document = collect(node, capsys, "--yes")

    assert status == 1
    assert document["troubles"] == [
        {"what": f"network k8snet: leases in {node.memory}/k8snet that cannot be read: 1", "remedy": "run this as root"}
    ]
    assert files(node) == sorted([*KEPT, "10.244.1.7"])


def test_broken_configuration(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration that cannot be read may name another store: the exit status says that this may not be all."""
    node.write("net.d/20-more.conflist", "{")

    status, document = collect(node, capsys, "--yes")

    assert (status, files(node)) == (1, KEPT)
    assert [trouble["what"].partition(":")[0] for trouble in document["troubles"]] == [
        f"{node.conf}/20-more.conflist is not JSON"
    ]


def test_lock_that_is_none(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory in its place is no matter of rights."""
    os.unlink(node.memory / "k8snet" / "lock")
    node.make("run/k8snet/lock")

    assert node.run("gc", "--yes") == 1

    assert "lock cannot be opened: Is a directory\nsee what it is: ls -ld " in capsys.readouterr().err


def test_what_fails_to_go(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """One failure is told, and the rest is still released."""
    unlink = os.unlink

    def refuse(path: str, **options: Any) -> None:
        if str(path).endswith("10.244.1.7"):
            raise PermissionError(1, "Operation not permitted", path)
        unlink(path, **options)

    node.monkeypatch.setattr(os, "unlink", refuse)

    status, document = collect(node, capsys, "--yes")

    assert status == 1
    assert [each["released"] for each in document["leases"]] == [False, True, True]
    assert "10.244.1.7 cannot be removed: Operation not permitted" in document["troubles"][0]["what"]


def test_a_network_with_new_leases_alone(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to release, so it does not matter that no result speaks of it."""
    node.network("vms", type="host-local", subnet="10.5.0.0/24")
    node.lease("10.5.0.2", "vm-1 eth0", network="vms")

    assert node.run("gc", "--yes") == 0
    assert (capsys.readouterr().err, files(node, "vms")) == ("", ["10.5.0.2", "lock"])


def test_a_network_without_leases(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a store that is empty nothing needs to be known, not even whether there are results."""
    node.write("run/vms/lock", "")
    for path in node.results.iterdir():
        path.unlink()

    assert node.run("gc", "vms", "--yes") == 0
    assert capsys.readouterr().err == ""
