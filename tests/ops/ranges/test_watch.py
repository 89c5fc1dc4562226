"""`ranges assign --watch`, as processes of the built archive."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ops.ranges.conftest import NET1, Cluster
from tests.support.dist import ARCHIVE

LEASE = "kube-system/node-ipam-ranges"
GUARD = 60  # seconds after which a test that waits for something is broken, however slow the machine is
Event = dict[str, Any]


class Process:
    """One process that watches."""

    def __init__(self, cluster: Cluster, directory: Path, *options: str, pool: str = "172.20.0.0/16") -> None:
        self.probes = directory
        command = [ARCHIVE, "ranges", "assign", "--annotation", NET1, "--cluster-cidr", pool, "--watch", "-o", "json"]
        command += ["--probe-dir", str(directory), "--leader-elect-lease-duration", "2", *options]
        environ = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
        self.process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._events: queue.Queue[Event] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self, kind: str) -> Event:
        """The next event of this kind; those before it are passed over."""
        while True:
            event = self._events.get(timeout=GUARD)
            if event["event"] == kind:
                return event

    def kinds(self) -> list[str]:
        """The events that have come and were not waited for."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._events.get_nowait()["event"])
        return found

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(GUARD)
        self._reader.join()
        return status

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._events.put(json.loads(line))


@pytest.fixture
def start(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start processes; what is left of them ends with the test."""
    processes: list[Process] = []

    def begin(*options: str, **more: str) -> Process:
        directory = tmp_path / f"probes-{len(processes)}"
        directory.mkdir()
        processes.append(Process(cluster, directory, *options, **more))
        return processes[-1]

    yield begin
    for each in processes:
        if each.process.poll() is None:
            each.process.send_signal(signal.SIGCONT)
            each.end()
        for stream in (each.process.stdout, each.process.stderr):
            assert stream
            stream.close()


def spec(cluster: Cluster) -> dict[str, Any]:
    """Of the Lease."""
    found: dict[str, Any] = cluster.server.leases[LEASE]["spec"]
    return found


def test_nodes_that_join(cluster: Cluster, start: Callable[..., Process]) -> None:
    """Each gets its block, with one line; SIGTERM ends it and gives the Lease back."""
    cluster.add("a", "b")
    process = start()
    assert [process.wait("assigned")["node"] for _ in range(2)] == ["a", "b"]

    cluster.add("c")
    event = process.wait("assigned")

    assert {key: event[key] for key in ("node", "annotation", "ranges")} == {
        "node": "c",
        "annotation": NET1,
        "ranges": "172.20.2.0/24",
    }
    assert event["time"].endswith("Z")
    assert sorted(os.listdir(process.probes)) == ["healthy", "ready"]
    assert spec(cluster)["leaseDurationSeconds"] == 2
    assert (process.end(), spec(cluster)["holderIdentity"]) == (0, "")
    cluster.check()


def test_one_watch(cluster: Cluster, start: Callable[..., Process]) -> None:
    """It asks for bookmarks and metadata alone, and begins at the version of the list."""
    cluster.add("a")
    process = start()
    process.wait("assigned")
    cluster.add("b")
    process.wait("assigned")
    (watch,) = [asked for asked in cluster.server.requests if "watch=1" in asked.path]
    (listed,) = [asked for asked in cluster.server.requests if "limit=500" in asked.path]
    assert "allowWatchBookmarks=true" in watch.path
    assert "as=PartialObjectMetadata" in watch.headers["Accept"]
    assert "as=" not in listed.headers["Accept"]


def test_resumes(cluster: Cluster, start: Callable[..., Process]) -> None:
    """After a broken connection, from the last bookmark on: what has expired before that does no harm."""
    cluster.server.bookmark = 0.05
    process = start()
    process.wait("leading")
    cluster.add("a")
    process.wait("assigned")
    reached = cluster.server.next_version()
    while watched(cluster) < 3:  # each ends at once, and the next one says from where it goes on
        break_watches(cluster)
    cluster.server.compact()
    while int(last_watch(cluster)) < reached:
        break_watches(cluster)

    cluster.add("b")
    assert process.wait("assigned")["node"] == "b"
    assert "relist" not in process.kinds()


def test_expired(cluster: Cluster, start: Callable[..., Process]) -> None:
    """410 on resuming: all Nodes are listed again, and none is missed."""
    process = start()
    process.wait("leading")
    cluster.add("a")
    process.wait("assigned")

    cluster.server.stop()
    cluster.add("b")
    cluster.server.compact()
    cluster.server.start()

    process.wait("relist")
    assert process.wait("assigned")["node"] == "b"
    cluster.check()


def test_server_away(cluster: Cluster, start: Callable[..., Process]) -> None:
    """It says so, is not ready, and goes on when the server is back."""
    process = start()
    process.wait("leading")
    cluster.server.stop()
    process.wait("unreachable")
    assert os.listdir(process.probes) == ["healthy"]

    cluster.add("a")
    cluster.server.start()

    assert process.wait("assigned")["node"] == "a"
    assert sorted(os.listdir(process.probes)) == ["healthy", "ready"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP])
def test_two(cluster: Cluster, start: Callable[..., Process], number: int) -> None:
    """One assigns, the other stands by and takes over: at once if the Lease was given back, else when it ends."""
    first = start()
    first.wait("leading")
    second = start()
    assert second.wait("standby")["holder"] == spec(cluster)["holderIdentity"]
    cluster.add("a")
    first.wait("assigned")

    if number == signal.SIGSTOP:
        first.process.send_signal(number)
    else:
        first.end(number)
    cluster.add("b")

    second.wait("leading")
    assert second.wait("assigned")["node"] == "b"
    if number == signal.SIGSTOP:
        first.process.send_signal(signal.SIGCONT)
        assert "has taken it over" in first.wait("lost")["what"]
        first.wait("standby")
    cluster.add("c")
    assert second.wait("assigned")["node"] == "c"
    cluster.check()


def test_problems(cluster: Cluster, start: Callable[..., Process]) -> None:
    """What a person writes wrongly is told once, and again when it is mended; it is never changed."""
    cluster.add("a", text="172.20.0.0/24")
    process = start()
    process.wait("leading")

    cluster.add("b", text="172.20.0.0/25")
    found = {process.wait("problem")["what"] for _ in range(2)}
    assert all("overlaps" in what for what in found)
    cluster.server.annotate("b", NET1, "172.20.9.0/25")

    assert {process.wait("solved")["what"] for _ in range(2)} == found
    assert cluster.texts() == {"a": "172.20.0.0/24", "b": "172.20.9.0/25"}


def test_full_pool(cluster: Cluster, start: Callable[..., Process]) -> None:
    """Nodes wait for a block that becomes free."""
    cluster.add("a", "b", "c")
    process = start(pool="172.20.0.0/23")
    what = process.wait("problem")["what"]
    assert what == f"1 node is left without annotation {NET1}: 172.20.0.0/23 has no free block of /24"

    cluster.server.remove("a")

    assert process.wait("assigned")["node"] == "c"
    assert process.wait("solved")["what"] == what


def test_label_that_selects(cluster: Cluster, start: Callable[..., Process]) -> None:
    """A node is served as soon as it has the label."""
    cluster.add("a")
    process = start("--selector", "zone=x")
    process.wait("leading")
    with cluster.server.lock:
        cluster.server.nodes["a"]["metadata"]["labels"]["zone"] = "x"
        cluster.server.changed("a")
    assert process.wait("assigned")["node"] == "a"


def test_forbidden(cluster: Cluster, start: Callable[..., Process]) -> None:
    """What time does not mend ends it, with what to do."""
    cluster.server.other_rule = lambda *_: 'leases "node-ipam-ranges" is forbidden: User "u" cannot get'
    process = start()
    assert process.process.wait(GUARD) == 1
    assert process.process.stderr
    assert b"node-ipam.pyz ranges rbac" in process.process.stderr.read()


def watched(cluster: Cluster) -> int:
    """How many watches have begun."""
    return sum("watch=1" in asked.path for asked in cluster.server.requests)


def last_watch(cluster: Cluster) -> str:
    """The version from which the last watch went on."""
    paths = [asked.path for asked in cluster.server.requests if "watch=1" in asked.path]
    return paths[-1].partition("resourceVersion=")[2].partition("&")[0]


def break_watches(cluster: Cluster) -> None:
    """Break all connections, and wait for the next watch."""
    count = watched(cluster)
    cluster.server.stop()
    cluster.server.start()
    while watched(cluster) == count:
        threading.Event().wait(0.05)
