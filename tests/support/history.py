"""The changes of a test API server's Nodes, as a watch tells them: in order, from a version on, until they expire."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, NamedTuple

_KEPT = 2000  # changes; a watch that begins before the oldest gets 410, as after a compaction of etcd


class Change(NamedTuple):
    """One event of a watch."""

    version: int
    kind: str  # ADDED, MODIFIED or DELETED
    node: dict[str, Any]


class Expired(Exception):
    """The version is older than the oldest change that is kept."""


class History:
    """The last changes; threads wait for the next one."""

    def __init__(self) -> None:
        self._changes: deque[Change] = deque(maxlen=_KEPT)
        self._forgotten = 0  # the newest version of which nothing is kept
        self._condition = threading.Condition()

    def add(self, change: Change) -> None:
        """Keep one more, and wake up who waits."""
        with self._condition:
            if len(self._changes) == _KEPT:
                self._forgotten = self._changes[0].version
            self._changes.append(change)
            self._condition.notify_all()

    def compact(self, version: int) -> None:
        """Forget all changes; a watch that begins before this version has expired."""
        with self._condition:
            self._changes.clear()
            self._forgotten = version
            self._condition.notify_all()

    def after(self, version: int, seconds: float) -> list[Change]:
        """What came after this version; waits so many seconds for it. Raises Expired."""
        ends = time.monotonic() + seconds
        with self._condition:
            while True:
                if version < self._forgotten:
                    raise Expired
                found = [change for change in self._changes if change.version > version]
                left = ends - time.monotonic()
                if found or left <= 0:
                    return found
                self._condition.wait(left)
