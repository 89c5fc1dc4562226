"""The deadline passes when a file appears: tests of it do not depend on how soon a process gets there."""

from __future__ import annotations

import os
import signal
import threading
import time

from plugin import deadline

_STEP = 0.005  # seconds


def when(path: object) -> threading.Thread:
    """Let the deadline of this process, if it has one then, pass as soon as this file is there.

    The returned thread ends then.
    """
    thread = threading.Thread(target=_wait, args=(str(path),), daemon=True)
    thread.start()
    return thread


def _wait(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(_STEP)
    if deadline.left() < float("inf"):
        deadline._ends = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.001, 1.0)


def statements(path: object) -> str:
    """Return the same for a process of recorder.Node.runtime()."""
    return f"from tests.support import timeup; timeup.when({str(path)!r})\n"
