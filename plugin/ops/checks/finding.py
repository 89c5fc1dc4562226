"""What a check has found: a status word, what is so, and what to do about it."""

from __future__ import annotations

from plugin.ops.output import FAIL, OK, WARN, Status

SKIP = Status("skip", "2")


class Finding:
    """One line of doctor's answer. remedy: empty where nothing needs doing; may have several lines."""

    __slots__ = ("remedy", "status", "what")

    def __init__(self, status: Status, what: str, remedy: str = "") -> None:
        self.status = status
        self.what = what
        self.remedy = remedy


def ok(what: str) -> Finding:
    """As it should be."""
    return Finding(OK, what)


def warn(what: str, remedy: str) -> Finding:
    """It works, but not for ever, or not as one might think."""
    return Finding(WARN, what, remedy)


def fail(what: str, remedy: str) -> Finding:
    """Pods do not get addresses, or not the right ones."""
    return Finding(FAIL, what, remedy)


def skip(what: str) -> Finding:
    """Not looked at, and why."""
    return Finding(SKIP, what)
