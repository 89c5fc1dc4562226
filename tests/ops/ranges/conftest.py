"""Fixtures: a cluster on the test API server, and runs of assign in this process, with a clock of their own."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin.kube import kubeconfig
from plugin.kube.session import Session
from plugin.ops.ranges import assignment, lease
from plugin.ops.ranges.assignment import Assignment
from plugin.ops.ranges.cluster import Reader
from plugin.ops.ranges.lease import Lease
from plugin.ops.ranges.once import Once
from tests.support.apiserver import ApiServer, make_node

NET1 = "kube-node.nordix.org/net1"
POOL = "172.20.0.0/16"
Change = Callable[[], None]


class Killed(BaseException):
    """The process ends here, and does nothing more."""


class Stepped(Session):
    """A session that calls step(number, is_sent) before each request is sent, and again before its answer is used."""

    step: Callable[[int, bool], None] = staticmethod(lambda _number, _is_sent: None)
    count = 0

    def _once(self, *arguments: Any) -> dict[str, Any]:
        self.count += 1
        number = self.count
        self.step(number, False)
        try:
            return super()._once(*arguments)
        finally:
            self.step(number, True)


class Cluster:
    """Nodes on a test API server."""

    def __init__(self, server: ApiServer, directory: Path) -> None:
        self.server = server
        self.kubeconfig = server.write_kubeconfig(directory / "config")
        self._config = kubeconfig.find(str(self.kubeconfig), {})
        self.given: dict[str, str] = {}  # what each node had as soon as it was seen

    def add(self, *names: str, text: str = "") -> None:
        """Nodes without podCIDRs, with this annotation if it is given."""
        for name in names:
            self.server.add(make_node(name, (), {NET1: text} if text else None))

    def texts(self) -> dict[str, str]:
        """The annotation of each node that has it."""
        return {
            name: node["metadata"]["annotations"][NET1]
            for name, node in self.server.nodes.items()
            if NET1 in node["metadata"]["annotations"]
        }

    def run(self, step: Callable[[int, bool], None] | None = None, pool: str = POOL) -> int:
        """Assign once, as `ranges assign --yes` does, and return the exit status."""
        session = Stepped(lambda: self._config, {})
        if step:
            session.step = step
        held, is_alive = Lease(session), True
        networks = assignment.parse([NET1], [pool], {4: 24, 6: 96})
        try:
            return Once(session, Reader([NET1]), Assignment(networks), "", False).write(held, 600)
        except Killed:
            is_alive = False
            raise
        finally:
            if is_alive:
                held.release()
            session.close()

    def check(self, *, is_complete: bool = True) -> None:
        """Every node has exactly one block, none overlaps another, and none has changed since the last check."""
        now = self.texts()
        networks = [ipaddress.ip_network(text) for text in now.values()]
        assert len(set(networks)) == len(networks), now
        assert not any(a.overlaps(b) for a in networks for b in networks if a is not b), now
        assert {name: now.get(name) for name in self.given} == self.given
        self.given = now
        if is_complete:
            assert now.keys() == self.server.nodes.keys()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of all leases; waiting makes it go on at once."""
    now = [1000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(lease, "_clock", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Without Nodes."""
    with ApiServer() as server:
        yield Cluster(server, tmp_path)
