"""Keep assigning: one process leads, others stand by; nodes that join get their ranges."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NoReturn

from plugin.errors import Unreachable
from plugin.kube import access
from plugin.kube import session as sessions
from plugin.kube.answers import Expired, Unauthorized
from plugin.kube.session import Session
from plugin.ops.ranges.assignment import Assignment
from plugin.ops.ranges.cluster import Node, Reader
from plugin.ops.ranges.events import Events, Probes
from plugin.ops.ranges.feed import PAUSES, Feed
from plugin.ops.ranges.lease import RETRY_PERIOD, Lease, Overtaken
from plugin.ops.ranges.writer import Writer


@dataclass
class Watch:
    """The loop. It retries when the API server is unreachable or the Lease is lost; other errors end it."""

    session: Session
    reader: Reader
    assignment: Assignment
    lease: Lease
    events: Events
    probes: Probes

    def __post_init__(self) -> None:
        self._writer = Writer(self.session, self.lease, self.reader, self.events.assigned)
        self._nodes: dict[str, Node] = {}

    def run(self) -> NoReturn:
        """Stand by until the Lease is free, then assign. Raises CniError for errors that a retry does not solve."""
        tries = 0
        while True:
            try:
                self._stand_by()
                tries = 0
                self._lead()
            except Overtaken as error:
                self.events.write("lost", error.msg, what=error.msg)
            except Unreachable as error:
                self.probes.set_ready(False)
                self.events.write("unreachable", error.msg, what=error.msg)
                self._pause(access.pause(tries, *PAUSES))
                tries += 1

    def _stand_by(self) -> None:
        told = ""
        while not self.lease.is_held and not self.lease.acquire():
            self.probes.set_ready(True)
            if self.lease.holder not in ("", told):
                told = self.lease.holder
                self.events.write("standby", f"{told} assigns", holder=told)
            self._rest()

    def _rest(self) -> None:
        """Wait as long as the Lease allows, different in each process."""
        self._pause(access.pause(0, RETRY_PERIOD, RETRY_PERIOD))

    def _pause(self, seconds: float) -> None:
        self.probes.turn()
        time.sleep(seconds)
        self.probes.turn()

    def _lead(self) -> None:
        """Assign until an error ends it: Overtaken, Unreachable, another CniError."""
        self.events.write("leading", self.lease.identity, holder=self.lease.identity)
        while True:
            feed = self._begin()
            try:
                self._follow(feed)
            except (Expired, Unauthorized) as error:  # a list also reads the credentials again
                self.events.write("relist", f"{error.msg}: all nodes are listed again", what=error.msg)
                self._rest()  # the next watch may end as soon
            finally:
                feed.stop()

    def _begin(self) -> Feed:
        """List all Nodes, assign missing ranges, and start a watch at the version of the list."""
        self.reader.add(name for changes in self.lease.claims.values() for name in changes)
        self._nodes, version = self.reader.nodes(self.session, sessions.JSON, self._tick)
        self.probes.set_ready(True)
        self._writer.complete(self._nodes)
        self._assign()
        return Feed(self.session.another(), version)

    def _tick(self, _done: int = 0, _left: int = 0) -> None:
        self.probes.turn()
        self.lease.renew()

    def _follow(self, feed: Feed) -> None:
        while True:
            event = feed.next(RETRY_PERIOD)
            self._tick()
            has_changed = False
            while event:
                has_changed = self._apply(*event) or has_changed
                event = feed.next(0)
            if has_changed:
                self._assign()

    def _apply(self, kind: str, value: dict[str, Any]) -> bool:
        """Apply an event and return whether ranges may have changed. Events older than an own patch are ignored.

        resourceVersions are compared as numbers, which etcd's are, and all have to be (KEP-5504).
        """
        node = self.reader.node(value)
        known = self._nodes.get(node.name)
        if known and int(node.version) <= int(known.version):
            return False
        if kind == "DELETED":
            return self._nodes.pop(node.name, None) is not None
        if known:
            node.pod_cidrs = known.pod_cidrs
        self._nodes[node.name] = node
        return not known or (known.annotations, known.is_selected) != (node.annotations, node.is_selected)

    def _assign(self) -> None:
        changes, shortages = self.assignment.plan(self._nodes)
        self._writer.write(self._nodes, changes)
        self.events.problems([*self.assignment.problems(self._nodes), *shortages])
