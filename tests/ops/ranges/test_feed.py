"""The thread that reads a watch."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from plugin.errors import CniError
from plugin.ops.ranges import feed

GUARD = 60  # seconds after which a test that waits for something is broken, however slow the machine is


class Endless:
    """A session with a watch that never ends."""

    route = "API server"

    def watch(self, *_arguments: object) -> Iterator[dict[str, Any]]:
        """Yield changes as fast as they are read."""
        for version in itertools.count(1):
            yield {"type": "MODIFIED", "object": {"metadata": {"name": "a", "resourceVersion": str(version)}}}


def test_stopped_while_its_queue_is_full() -> None:
    """The thread ends, and its connection with it, also if nothing is taken out of the queue any more."""
    before = set(threading.enumerate())
    made = feed.Feed(Endless(), "1")  # type: ignore[arg-type]
    (thread,) = set(threading.enumerate()) - before
    while not made._items.full():
        threading.Event().wait(0.01)

    made.stop()

    thread.join(GUARD)
    assert not thread.is_alive()


class Odd:
    """A session with a watch that sends one thing."""

    route = "API server"

    def __init__(self, event: object) -> None:
        self._event = event

    def watch(self, *_arguments: object) -> Iterator[Any]:
        """Yield it."""
        yield self._event


@pytest.mark.parametrize(
    "event",
    [[], 5, {}, {"type": "ADDED"}, {"type": "ADDED", "object": None}, {"type": "ERROR", "object": "no"}],
    ids=str,
)
def test_event_of_another_form(event: object) -> None:
    """What is no event of the API ends the feed, with an error that says so."""
    made = feed.Feed(Odd(event), "1")  # type: ignore[arg-type]

    with pytest.raises(CniError, match="what its watch sends is no event"):
        made.next(GUARD)
