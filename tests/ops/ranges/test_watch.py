"""`ranges assign --watch`, as processes of the built archive."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin.ops.ranges.lease import DURATION, RETRY_PERIOD
from tests.ops.ranges.conftest import NET1, Cluster
from tests.support import makeconfig
from tests.support.apiserver import Handler, make_node
from tests.support.dist import with_lease

LEASE = "kube-system/node-ipam-ranges"
LASTS = 2.0  # seconds, of the Lease
GUARD = 60  # seconds after which a test that waits for something is broken, however slow the machine is
Event = dict[str, Any]


class Process:
    """One process that watches."""

    def __init__(self, cluster: Cluster, archive: str, *options: str, pool: str = "172.20.0.0/16") -> None:
        command = [archive, "ranges", "assign", "--annotation", NET1, "--cluster-cidr", pool, "--watch", "-o", "json"]
        command += options
        environ = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
        self.process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._events: queue.Queue[Event] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def next(self) -> Event:
        """The next event."""
        return self._events.get(timeout=GUARD)

    def wait(self, kind: str) -> Event:
        """The next event of this kind; those before it are passed over."""
        while (event := self.next())["event"] != kind:
            pass
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
    archive = with_lease(str(tmp_path), LASTS)

    def begin(*options: str, **more: str) -> Process:
        processes.append(Process(cluster, archive, *options, **more))
        return processes[-1]

    yield begin
    for each in processes:
        if each.process.poll() is None:
            each.process.send_signal(signal.SIGCONT)
            each.end()
        for stream in (each.process.stdout, each.process.stderr):
            assert stream
            stream.close()


@pytest.fixture
def probes(tmp_path: Path) -> Path:
    """A directory for --probe-dir."""
    directory = tmp_path / "probes"
    directory.mkdir()
    return directory


def spec(cluster: Cluster) -> dict[str, Any]:
    """Of the Lease."""
    found: dict[str, Any] = cluster.server.leases[LEASE]["spec"]
    return found


def test_nodes_that_join(cluster: Cluster, start: Callable[..., Process], probes: Path) -> None:
    """Each gets its block, with one line; SIGTERM ends it and gives the Lease back."""
    cluster.add("a", "b")
    process = start("--probe-dir", str(probes))
    assert [process.wait("assigned")["node"] for _ in range(2)] == ["a", "b"]

    cluster.add("c")
    event = process.wait("assigned")

    assert {key: event[key] for key in ("node", "annotation", "ranges")} == {
        "node": "c",
        "annotation": NET1,
        "ranges": "172.20.2.0/24",
    }
    assert event["time"].endswith("Z")
    assert sorted(os.listdir(probes)) == ["healthy", "ready"]
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
    """After a broken connection, from the last bookmark on; nothing is listed again."""
    watches = record_watches(cluster)
    cluster.server.bookmark = 0.05
    process = start()
    process.wait("leading")
    cluster.add("a")
    process.wait("assigned")
    reached = cluster.server.next_version()  # which no Node has
    while not watches or int(resumed_from(watches[-1])) < reached:
        threading.Event().wait(0.2)
        break_off(watches)

    cluster.add("b")
    assert process.wait("assigned")["node"] == "b"
    assert sum("limit=500" in asked.path for asked in cluster.server.requests) == 1


def test_credential_plugin(cluster: Cluster, start: Callable[..., Process], tmp_path: Path) -> None:
    """When its token expires, the watch's thread cannot run it: the main thread does, and lists the Nodes again."""
    token = tmp_path / "token"
    program = tmp_path / "credentials"
    credential = (
        '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "%s"}}'
    )
    program.write_text(f"#!/bin/sh\nprintf '{credential}' \"$(cat {token})\"\n")
    program.chmod(0o700)
    config = cluster.server.kubeconfig()
    user = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program), "interactiveMode": "Never"}
    config["users"][0]["user"] = {"exec": user}
    cluster.kubeconfig = makeconfig.write(str(tmp_path), "with-exec", makeconfig.as_yaml(config).encode())
    token.write_text(cluster.server.token())
    watches = record_watches(cluster)
    process = start()
    process.wait("leading")
    while not watches:
        threading.Event().wait(0.05)

    new = cluster.server.token()
    token.write_text(new)
    cluster.server.users = {new: cluster.server.users[new]}
    break_off(watches)

    assert "unauthorized (401)" in process.wait("relist")["what"]
    cluster.add("a")
    assert process.wait("assigned")["node"] == "a"


@pytest.mark.parametrize("code", [401, 410])
def test_watches_that_are_refused_at_once(cluster: Cluster, start: Callable[..., Process], code: int) -> None:
    """A server that answers lists, but no watch: it is not asked for all Nodes again and again without a pause."""
    lists: list[float] = []

    def refuse(handler: Handler) -> bool:
        if "watch=1" in handler.path:
            handler.status(code, "Refused", "refused")
            return True
        if handler.path.startswith("/api/v1/nodes?"):
            lists.append(time.monotonic())
        return False

    cluster.server.fault = refuse
    process = start()
    for _ in range(3):
        process.wait("relist")
    pauses = [later - before for before, later in zip(lists, lists[1:])]
    assert min(pauses[:2]) > RETRY_PERIOD * LASTS / DURATION


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


def test_server_away(cluster: Cluster, start: Callable[..., Process], probes: Path) -> None:
    """It says so, is not ready, and goes on when the server is back."""
    cluster.add("a")
    process = start("--probe-dir", str(probes))
    process.wait("assigned")
    assert sorted(os.listdir(probes)) == ["healthy", "ready"]
    cluster.server.stop()
    process.wait("unreachable")
    assert os.listdir(probes) == ["healthy"]

    cluster.add("b")
    cluster.server.start()

    assert process.wait("assigned")["node"] == "b"
    assert sorted(os.listdir(probes)) == ["healthy", "ready"]


@pytest.mark.parametrize(
    ("seconds", "body"),
    [(0, b""), (1.1, b""), (0, b'{"type": "ERROR", "object": {"code": 500}}\n'), (0, None)],
    ids=["it ends at once", "it ends later", "an event says that it failed", "it is refused for now"],
)
def test_watch_that_ends(cluster: Cluster, start: Callable[..., Process], seconds: float, body: bytes | None) -> None:
    """It is begun again from the version that it had reached; after a pause, if it did not last."""
    asked: list[str] = []

    def fail(handler: Handler) -> bool:
        if "watch=1" not in handler.path:
            return False
        asked.append(resumed_from(handler))
        threading.Event().wait(seconds)
        if len(asked) > 2:
            cluster.add("a")
        elif body is None:
            handler.status(503, "ServiceUnavailable", "starting")
        else:
            handler.answer(200, body)
        return len(asked) <= 2

    cluster.server.fault = fail
    process = start()

    assert process.wait("assigned")["node"] == "a"
    assert (len(asked), len(set(asked))) == (3, 1)
    assert "relist" not in process.kinds()


@pytest.mark.parametrize("line", [b"5", b"{}", b"[" * 100_000], ids=["a number", "no event", "too deep"])
def test_watch_that_is_none(cluster: Cluster, start: Callable[..., Process], line: bytes) -> None:
    """It ends the command, and says why: new nodes would not be seen, in silence."""

    def spoil(handler: Handler) -> bool:
        if is_watch := "watch=1" in handler.path:
            handler.answer(200, line + b"\n")
        return is_watch

    cluster.server.fault = spoil
    process = start()
    assert process.process.wait(GUARD) == 1
    assert process.process.stderr
    assert b"what its watch sends is no event" in process.process.stderr.read()


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
    cluster.add("c")
    process.wait("assigned")
    cluster.server.annotate("b", NET1, "172.20.9.0/25")

    solved = [process.next() for _ in range(2)]
    assert [each["event"] for each in solved] == ["solved", "solved"]
    assert {each["what"] for each in solved} == found
    assert cluster.texts() == {"a": "172.20.0.0/24", "b": "172.20.9.0/25", "c": "172.20.1.0/24"}


def test_services_that_are_not_known(cluster: Cluster, start: Callable[..., Process]) -> None:
    """It says so at its start, unless they are named."""
    what = "service range: not known; name it with --service-cluster-ip-range"
    process = start()
    assert process.next() | {"time": ""} == {"time": "", "event": "warning", "what": what}
    process.wait("leading")
    assert start("--service-cluster-ip-range", "10.96.0.0/16").next()["event"] == "standby"


def test_full_pool(cluster: Cluster, start: Callable[..., Process]) -> None:
    """Nodes wait for a block that becomes free."""
    cluster.add("a", "b", "c")
    process = start(pool="172.20.0.0/23")
    what = process.wait("problem")["what"]
    assert what == f"1 node is left without annotation {NET1}: 172.20.0.0/23 has no free block of /24"

    cluster.server.remove("a")

    assert process.wait("assigned")["node"] == "c"
    assert process.wait("solved")["what"] == what


def test_pool_of_the_pod_cidrs(cluster: Cluster, start: Callable[..., Process]) -> None:
    """It is a problem, and no node gets a block from it."""
    cluster.server.add(make_node("a", ["11.0.0.0/24"]))
    process = start(pool="11.0.0.0/16")
    assert "--cluster-cidr 11.0.0.0/16 overlaps podCIDRs" in process.wait("problem")["what"]
    assert (process.end(), cluster.texts()) == (0, {})


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


def record_watches(cluster: Cluster) -> list[Handler]:
    """The watches that begin from now on."""
    watches: list[Handler] = []

    def note(handler: Handler) -> bool:
        if "watch=1" in handler.path:
            watches.append(handler)
        return False

    cluster.server.fault = note
    return watches


def break_off(watches: list[Handler]) -> None:
    """Break the connections of these watches."""
    for watch in watches:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(watch.connection, socket.SHUT_RDWR)


def resumed_from(watch: Handler) -> str:
    """The version from which this watch goes on."""
    return watch.path.partition("resourceVersion=")[2].partition("&")[0]
