"""The thread that reads a watch."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

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
    """A session with an answer of something else in between, and then a change."""

    route = "API server"

    def __init__(self, event: object) -> None:
        self._answers = [event, {"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "2"}}}]

    def watch(self, *_arguments: object) -> Iterator[Any]:
        """Yield one event."""
        yield self._answers.pop(0) if self._answers else {"type": "ERROR", "object": {}}


@pytest.mark.parametrize(
    "event",
    [[], 5, {}, {"type": "ADDED"}, {"type": "ADDED", "object": None}, {"type": "ERROR", "object": "no"}],
    ids=str,
)
def test_event_of_another_form(event: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no event of the API is a watch that failed: it begins again."""
    monkeypatch.setattr(feed, "PAUSES", (0.0, 0.0))
    made = feed.Feed(Odd(event), "1")  # type: ignore[arg-type]

    kind, value = made.next(GUARD) or ("", {})

    assert (kind, value["metadata"]["name"]) == ("ADDED", "a")
    made.stop()
