"""No block is given twice, whatever happens between any two requests of a run of assign.

Each test does the same at every request of a run: before it is sent, and after it was answered. The run then ends, or
goes on after others have worked, with all it knew before: as after SIGKILL, and after SIGSTOP and SIGCONT.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest

from plugin.errors import CniError
from plugin.ops.ranges.lease import Overtaken
from tests.ops.ranges.conftest import NET1, Cluster, Killed

NAMES = ("b", "c")


def moments(cluster: Cluster) -> list[tuple[int, bool]]:
    """Every moment of an undisturbed run; it is made with nodes of its own."""
    seen: list[tuple[int, bool]] = []
    cluster.add(*NAMES)
    cluster.run(lambda number, is_sent: seen.append((number, is_sent)))
    clean(cluster)
    return seen


def clean(cluster: Cluster) -> None:
    """Begin again."""
    for name in list(cluster.server.nodes):
        cluster.server.remove(name)
    cluster.server.leases.clear()
    cluster.given.clear()
    cluster.add(*NAMES)


def at(moment: tuple[int, bool], act: Callable[[], None]) -> Callable[[int, bool], None]:
    """Do this at one moment of a run."""
    return lambda number, is_sent: act() if (number, is_sent) == moment else None


def kill() -> None:
    """End the run."""
    raise Killed


def test_killed_anywhere(cluster: Cluster, clock: list[float]) -> None:
    """Running it again finishes, and changes nothing that was written."""
    for moment in moments(cluster):
        clean(cluster)
        with pytest.raises(Killed):
            cluster.run(at(moment, kill))
        cluster.check(is_complete=False)

        assert cluster.run() == 0
        cluster.check()
        assert not cluster.server.leases["kube-system/node-ipam-ranges"]["spec"]["holderIdentity"]


def test_stopped_anywhere(cluster: Cluster, clock: list[float]) -> None:
    """Meanwhile another one takes over the Lease and assigns to all nodes, and to one that sorts first."""

    def other() -> None:
        cluster.add("a")
        assert cluster.run() == 0
        cluster.check()

    for moment in moments(cluster):
        clean(cluster)
        with contextlib.suppress(Overtaken):
            cluster.run(at(moment, other))
        cluster.check()


def test_stopped_while_blocks_change_hands(cluster: Cluster, clock: list[float]) -> None:
    """Meanwhile the others' work is undone by hand, and the blocks are given to other nodes."""

    def others() -> None:
        assert cluster.run() == 0
        for name in NAMES:
            cluster.server.annotate(name, NET1, None)
        cluster.add("a", "aa", "aaa")
        assert cluster.run() == 0

    for moment in moments(cluster):
        clean(cluster)
        with contextlib.suppress(Overtaken):
            cluster.run(at(moment, others))
        cluster.run()
        cluster.check()


def test_stopped_and_killed(cluster: Cluster, clock: list[float]) -> None:
    """The one that takes over is killed at each of its own requests, with a third one to finish."""
    for first in [(3, True), (4, False), (4, True), (5, False), (5, True), (6, False)]:
        for second in range(1, 12):
            clean(cluster)

            def others(second: int = second) -> None:
                cluster.add("a")
                with contextlib.suppress(Killed):
                    cluster.run(at((second, True), kill))
                cluster.run()

            with contextlib.suppress(Overtaken):
                cluster.run(at(first, others))
            cluster.check()


@pytest.mark.parametrize("is_touched", [False, True], ids=["", "nodes change"])
def test_interleaved(cluster: Cluster, clock: list[float], is_touched: bool) -> None:
    """One is stopped, goes on in the middle of what another does, and ends before that goes on.

    A node that sorts first has joined in between: to the second one, the first free block is this node's.
    """
    found = moments(cluster)
    for first in [moment for moment in found if not moment[1]]:
        for second in [(number, is_sent) for number in range(1, len(found) // 2 + 4) for is_sent in (False, True)]:
            clean(cluster)
            stopped = Stopped(cluster, first)
            cluster.add("a")
            if is_touched:
                for name in NAMES:
                    cluster.server.annotate(name, "volumes.kubernetes.io/x", "y")
            with contextlib.suppress(Overtaken):
                cluster.run(at(second, stopped.go_on))
            stopped.go_on()
            cluster.check(is_complete=False)
            cluster.run()
            cluster.check()


class Stopped:
    """A run that stands at one moment until it may go on."""

    def __init__(self, cluster: Cluster, moment: tuple[int, bool]) -> None:
        self._is_there, self._may_go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(cluster, moment), daemon=True)
        self._thread.start()
        self._is_there.wait()

    def go_on(self) -> None:
        """Let it run to its end."""
        self._may_go_on.set()
        self._thread.join()

    def _run(self, cluster: Cluster, moment: tuple[int, bool]) -> None:
        def stop() -> None:
            self._is_there.set()
            self._may_go_on.wait()

        with contextlib.suppress(Overtaken):
            cluster.run(at(moment, stop))
        self._is_there.set()


def test_kubelets_change_their_nodes(cluster: Cluster, clock: list[float]) -> None:
    """A Node that was changed since it was read is read again."""
    for moment in moments(cluster):
        clean(cluster)

        def change() -> None:
            for name in NAMES:
                cluster.server.annotate(name, "volumes.kubernetes.io/x", str(cluster.server.next_version()))

        assert cluster.run(at(moment, change)) == 0
        cluster.check()


def test_node_that_changes_all_the_time(cluster: Cluster, clock: list[float]) -> None:
    """It is given up after ten tries, with what to look for; the next run begins with it."""
    clean(cluster)

    def change(number: int, _is_sent: bool) -> None:
        if number % 2:
            cluster.server.annotate("b", "volumes.kubernetes.io/x", str(cluster.server.next_version()))

    with pytest.raises(CniError, match="node b changes faster than it can be patched") as caught:
        cluster.run(change)
    assert "--show-managed-fields" in caught.value.details
    tries = cluster.server.count("PATCH")
    assert cluster.run() == 0
    cluster.check()
    assert tries > 10


def test_nodes_come_and_go(cluster: Cluster, clock: list[float]) -> None:
    """A Node that is deleted needs nothing, one that joins during the run is served by it if it is in time."""
    for moment in moments(cluster):
        clean(cluster)

        def change() -> None:
            cluster.server.remove("c")
            cluster.add("e")

        cluster.run(at(moment, change))
        cluster.check(is_complete=False)
        cluster.run()
        cluster.check()


def test_value_given_by_hand_meanwhile(cluster: Cluster, clock: list[float]) -> None:
    """It stays, also if it was to be another."""
    for moment in moments(cluster):
        clean(cluster)
        cluster.run(at(moment, lambda: cluster.server.annotate("c", NET1, "172.20.77.0/24")))
        cluster.run()
        assert cluster.texts()["c"] == "172.20.77.0/24"
        cluster.check()


@pytest.mark.parametrize("value", [None, "10.9.0.0/24"])
def test_claim_for_another_annotation(cluster: Cluster, clock: list[float], value: str | None) -> None:
    """A claim left behind for a network that this run does not know is completed, and never overwrites a value."""
    clean(cluster)
    cluster.server.annotate("b", "example.com/other", value)
    claims = {"kube-node.nordix.org/claims": '{"b": {"example.com/other": [null, "172.30.0.0/24"]}}'}
    metadata = {"annotations": claims, "resourceVersion": str(cluster.server.next_version())}
    cluster.server.leases["kube-system/node-ipam-ranges"] = {"metadata": metadata, "spec": {}}

    assert cluster.run() == 0

    assert cluster.server.nodes["b"]["metadata"]["annotations"]["example.com/other"] == (value or "172.30.0.0/24")
    cluster.check()
