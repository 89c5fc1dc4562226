"""What a check has found: a status word, what is so, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from plugin.ops.output import FAIL, OK, WARN, Status

SKIP = Status("skip", "2")


@dataclass(frozen=True)
class Finding:
    """One line of doctor's answer. remedy: empty where nothing needs doing; may have several lines."""

    status: Status
    what: str
    remedy: str = ""


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
