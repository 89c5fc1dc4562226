"""One deadline over everything a request does: files, locks, name look-ups, the server, the next plugin."""

from __future__ import annotations

import _signal  # the C module under signal, which would import enum (5 ms)
import time

# Seconds. kubelet gives a whole pod two minutes.
TOTAL = 15.0
UNDO = 2.0  # of them, for undoing what the next plugin may have done
REQUEST = TOTAL - UNDO
# Raised again at this interval (seconds), should a library swallow the first one.
_REPEAT = 1.0

_ends = float("inf")


class DeadlineExceeded(BaseException):
    """The time is up. Not an Exception, so that no library takes it for a failure of its own and retries."""


def interrupt(_signum: int, _frame: object) -> None:
    """The handler of the alarm."""
    raise DeadlineExceeded


def left() -> float:
    """Seconds until the deadline; infinite when there is none."""
    return _ends - time.monotonic()


def start(seconds: float) -> None:
    """Interrupt this (the main) thread with DeadlineExceeded in so many seconds, whatever it is doing then."""
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
    """No deadline any more."""
    global _ends
    _signal.setitimer(_signal.ITIMER_REAL, 0)
    _ends = float("inf")


class within:  # noqa: N801 - reads as a statement: with within(1):
    """A closer deadline for one step; the outer one holds again afterwards."""

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
