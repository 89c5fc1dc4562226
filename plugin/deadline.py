"""One deadline for all that a request does: files, locks, name resolution, the server, the next plugin."""

from __future__ import annotations

import _signal  # the C module under signal, which would import enum (5 ms)
import time

# Seconds. kubelet gives a whole pod two minutes.
TOTAL = 15.0
UNDO = 2.0  # of them, to undo what the next plugin has done
REQUEST = TOTAL - UNDO
# Raised again at this interval (seconds), in case a library swallows the first one.
_REPEAT = 1.0

_ends = float("inf")


class DeadlineExceeded(BaseException):
    """The deadline has passed. It is not an Exception, so that no library catches it and retries."""


def interrupt(_signum: int, _frame: object) -> None:
    """Handle SIGALRM."""
    raise DeadlineExceeded


def left() -> float:
    """Return the seconds until the deadline; infinity if there is none."""
    return _ends - time.monotonic()


def start(seconds: float) -> None:
    """Raise DeadlineExceeded in the main thread after this many seconds."""
    global _ends
    if seconds == float("inf"):
        return
    _ends = time.monotonic() + seconds
    _signal.signal(_signal.SIGALRM, interrupt)
    _signal.setitimer(_signal.ITIMER_REAL, max(seconds, 0.001), _REPEAT)


def shorten(seconds: float) -> None:
    """Let the deadline, if there is one, end in at most so many seconds."""
    if seconds < left() < float("inf"):
        start(seconds)


def stop() -> None:
    """Remove the deadline."""
    global _ends
    _signal.setitimer(_signal.ITIMER_REAL, 0)
    _ends = float("inf")


class within:  # noqa: N801 - reads as a statement: with within(1):
    """A closer deadline for one step. The outer one applies again afterwards."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._outer = float("inf")

    def __enter__(self) -> None:
        self._outer = _ends
        start(min(self.seconds, left()))

    def __exit__(self, *_exc: object) -> None:
        stop()
        if self._outer != float("inf"):
            start(self._outer - time.monotonic())
