"""gc of the built file against real processes and network namespaces: 300 live pods and 100 dead ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import netns
from tests.support.dist import ARCHIVE
from tests.support.livepods import LivePods
from tests.support.runtime import Call, Pod, run

NETWORK = "k8snet"
NAMED, ADDRESSED, DEAD = 200, 100, 100
LEASED = 900.0  # seconds ago
FIRST_RESULT = 1200.0


class Node:
    """A store with the leases of 300 live pods and of 100 that are dead, and the results of all of them.

    Of the live pods, 200 are named by a process, as containerd's and Docker's are, and 100 by nothing, as CRI-O's are;
    those have their address in their namespace.
    """

    def __init__(self, directory: Path, pods: LivePods) -> None:
        self.data, self.results = directory / "data", directory / "results"
        self.store = self.data / NETWORK
        self.store.mkdir(parents=True)
        (self.store / "lock").touch()
        self.results.mkdir()
        names = [Pod(f"evidence-{number}").container for number in range(NAMED + ADDRESSED + DEAD)]
        self.holder = {f"172.16.{n // 200}.{n % 200 + 2}": name for n, name in enumerate(names)}
        addresses = list(self.holder)
        self.live, self.dead = addresses[: NAMED + ADDRESSED], addresses[NAMED + ADDRESSED :]
        paths = pods.start(names[:NAMED])
        paths += pods.start(["anonymous"] * ADDRESSED, self.live[NAMED:])
        self.netns = dict(zip(addresses, paths + [f"{directory}/netns/cni-{name}" for name in names[-DEAD:]]))
        for address, container in self.holder.items():
            (self.store / address).write_bytes(f"{container}\r\neth0".encode())
            os.utime(self.store / address, (time.time() - LEASED,) * 2)

    def result(self, address: str, age: float = LEASED, network: str = NETWORK) -> None:
        """The result of one pod."""
        container = self.holder[address]
        value = {"kind": "cniCacheV1", "containerId": container, "ifName": "eth0", "networkName": network}
        value["netns"] = self.netns[address]
        path = self.results / f"{network}-{container}-eth0"
        path.write_text(json.dumps(value), encoding="ascii")
        os.utime(path, (time.time() - age,) * 2)

    def collect(self, *options: str) -> dict[str, Any]:
        """gc --yes; what it says."""
        call = ("gc", "--yes", "-o", "json", "--data-dir", str(self.data), "--results-dir", str(self.results), *options)
        document: dict[str, Any] = run(Call((ARCHIVE, *call), {"PATH": os.defpath}, b"")).document()
        return document

    def left(self) -> set[str]:
        """The addresses that are leased."""
        return set(os.listdir(self.store)) - {"lock"}


def doubtful(addresses: list[str]) -> list[str]:
    """Those of them that nothing is known of: none if this machine was started after they were leased."""
    return sorted(addresses) if time.clock_gettime(time.CLOCK_BOOTTIME) > LEASED + 60 else []


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node to copy."""
    netns.require()
    with LivePods() as pods:
        yield Node(tmp_path_factory.mktemp("evidence"), pods)


@pytest.fixture
def node(filled: Node, tmp_path: Path) -> Node:
    """A node of this test alone, without results."""
    made = object.__new__(Node)
    made.__dict__.update(filled.__dict__)
    made.data, made.results = tmp_path / "data", tmp_path / "results"
    made.store = made.data / NETWORK
    shutil.copytree(filled.data, made.data)
    made.results.mkdir()
    return made


def test_results_left_behind(node: Node) -> None:
    """The runtime was killed and its state wiped: results of dead pods are there, their namespaces are not."""
    for address in (*node.live, *node.dead):
        node.result(address)

    document = node.collect()

    assert node.left() == set(node.live)
    assert sorted(each["address"] for each in document["leases"]) == sorted(node.dead)
    assert all("is gone, no process names the container" in each["evidence"] for each in document["leases"])
    assert (document["kept"], document["troubles"]) == ([], [])
    assert len(os.listdir(node.results)) == len(node.live) + DEAD


def test_results_of_the_dead_removed(node: Node) -> None:
    """--results removes the results of those whose leases are released, and no others."""
    for address in (*node.live, *node.dead):
        node.result(address)

    document = node.collect("--results")

    assert len(document["removedResults"]) == DEAD
    assert {name.split("-")[1] for name in os.listdir(node.results)} == {node.holder[each] for each in node.live}


def test_results_wiped(node: Node) -> None:
    """Results are gone but for that of one new pod: no live pod loses its lease; what is kept in doubt is listed."""
    node.holder = {**node.holder, "172.16.9.9": Pod("new").container}
    node.netns = {**node.netns, "172.16.9.9": "/proc/self/ns/net"}
    node.result("172.16.9.9", age=60)

    document = node.collect()

    assert node.left() == {*node.live, *doubtful(node.dead)}
    assert sorted(each["address"] for each in document["kept"]) == doubtful(node.dead)


@pytest.mark.parametrize("oldest", [FIRST_RESULT, LEASED - 60])
def test_results_partly_wiped(node: Node, oldest: float) -> None:
    """Half of the results are gone, of live pods and dead ones: the namespaces of the others prove their death.

    A dead one without a result is kept if its lease is older than all results.
    """
    for address in (*node.live[::2], *node.dead[::2]):
        node.result(address, min(oldest, LEASED))
    node.result(node.live[0], oldest)

    document = node.collect()

    kept = node.dead[1::2] if oldest < LEASED else []
    assert node.left() == {*node.live, *doubtful(kept)}
    assert sorted(each["address"] for each in document["kept"]) == doubtful(kept)


@pytest.mark.parametrize("kind", ["absent", "empty", "another"])
def test_results_of_another_runtime(node: Node, kind: str) -> None:
    """Results that say nothing of this network are no evidence of death."""
    if kind == "absent":
        node.results.rmdir()
    if kind == "another":
        node.holder = {**node.holder, "172.16.9.9": Pod("other").container}
        node.netns = {**node.netns, "172.16.9.9": "/proc/self/ns/net"}
        node.result("172.16.9.9", FIRST_RESULT, "podman")

    document = node.collect()

    # A reboot ends all pods, but not those of a program that the results do not speak of.
    kept = sorted(node.dead) if kind == "another" else doubtful(node.dead)
    assert node.left() == {*node.live, *kept}
    assert sorted(each["address"] for each in document["kept"]) == kept


def command(pod: Pod, data: Path, results: Path) -> Call:
    """gc --yes for one lease of this pod."""
    store = data / NETWORK
    store.mkdir(parents=True)
    (store / "172.16.0.2").write_bytes(f"{pod.container}\r\neth0".encode())
    os.utime(store / "172.16.0.2", (time.time() - LEASED,) * 2)
    results.mkdir()
    arguments = ("gc", "--yes", "-o", "json", "--data-dir", str(data), "--results-dir", str(results), NETWORK)
    return Call((ARCHIVE, *arguments), {"PATH": os.defpath}, b"")


def add_result(results: Path, container: str, namespace: str) -> None:
    """A result that is older than all leases."""
    value = {"kind": "cniCacheV1", "containerId": container, "networkName": NETWORK, "netns": namespace}
    (results / f"{NETWORK}-{container}-eth0").write_text(json.dumps(value), encoding="ascii")
    os.utime(results / f"{NETWORK}-{container}-eth0", (time.time() - FIRST_RESULT,) * 2)


def test_add_that_is_running(tmp_path: Path) -> None:
    """The clock is set forward by twenty minutes while a main plugin works: its lease looks old, and is not."""
    pod = Pod("starting")
    call = command(pod, tmp_path / "data", tmp_path / "results")
    add_result(tmp_path / "results", Pod("another").container, "/run/netns/cni-gone")
    environ = {"PATH": os.defpath, "CNI_COMMAND": "ADD", **pod.arguments()}
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environ) as plugin:
        running = run(call).document()
        plugin.stdin.close()  # type: ignore[union-attr]

    assert running["leases"] == []
    assert [each["address"] for each in run(call).document()["leases"]] == ["172.16.0.2"]


@pytest.mark.parametrize("left", ["nothing", "file", "unmounted"])
def test_mounted_namespace(tmp_path: Path, left: str) -> None:
    """A namespace without processes is alive while it is mounted; the file that remains afterwards proves nothing."""
    netns.require()
    pod, path = Pod("pending"), tmp_path / "netns"
    call = command(pod, tmp_path / "data", tmp_path / "results")
    add_result(tmp_path / "results", pod.container, str(path))
    if left != "nothing":
        path.touch()
    if left == "unmounted":
        subprocess.run(["unshare", f"--net={path}", "true"], check=True)
        try:
            mounted = run(call).document()
        finally:
            subprocess.run(["umount", path], check=True)
        assert (mounted["leases"], mounted["kept"]) == ([], [])

    (released,) = run(call).document()["leases"]

    assert released["evidence"] == f"network namespace {path} is gone, no process names the container"


FORGOTTEN = "/run/netns/cni-0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
OWN_RUN = f"""set -e
mount -t tmpfs tmpfs /run && mkdir /run/netns && touch {FORGOTTEN} && unshare --net={FORGOTTEN} true
"$@"; ls /run/netns"""


def test_namespace_left_behind(tmp_path: Path) -> None:
    """containerd was killed and its state wiped: gc removes the namespace that it forgot together with the lease."""
    netns.require()
    call = command(Pod("forgotten"), tmp_path / "data", tmp_path / "results")
    add_result(tmp_path / "results", Pod("forgotten").container, FORGOTTEN)
    shutil.copy(shutil.which("cat") or "", tmp_path / "containerd")
    inside = call._replace(argv=("unshare", "--mount", "sh", "-c", OWN_RUN, "sh", *call.argv))
    before = run(inside._replace(argv=tuple(each for each in inside.argv if each != "--yes")))
    with subprocess.Popen([tmp_path / "containerd"], stdin=subprocess.PIPE) as runtime:
        after = run(inside)
        runtime.stdin.close()  # type: ignore[union-attr]

    assert json.loads(before.stdout.rpartition(b"}")[0] + b"}")["leases"] == []
    assert before.stdout.splitlines()[-1] == os.path.basename(FORGOTTEN).encode()
    (released,) = json.loads(after.stdout)["leases"]
    assert released["evidence"].startswith(f"network namespace {FORGOTTEN} was left behind: ")
    assert os.listdir(tmp_path / "data" / NETWORK) == ["lock"]


@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        (("unshare", "--pid", "--mount-proc", "--fork"), "the processes of a container, not those of the machine"),
        (("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"), "the namespaces of processes"),
    ],
)
def test_gc_in_a_container(tmp_path: Path, prefix: tuple[str, ...], reason: str) -> None:
    """gc that cannot see the machine's processes, or their namespaces, releases nothing."""
    netns.require()
    call = command(Pod("inside"), tmp_path / "data", tmp_path / "results")
    add_result(tmp_path / "results", Pod("inside").container, "/run/netns/cni-gone")

    document = run(call._replace(argv=(*prefix, *call.argv))).document()

    assert document["leases"] == []
    assert [reason in each["evidence"] for each in document["kept"]] == [True]
