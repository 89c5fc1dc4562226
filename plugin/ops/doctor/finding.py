"""The result of a check: a status word, what was found, a stable name for what is wrong, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from plugin.ops.output import FAIL, OK, WARN, Status

SKIP = Status("skip", "2")
ERROR = "error"  # the kind of a finding that is the error which a pod would get


@dataclass(frozen=True)
class Finding:
    """One line of doctor's output.

    remedy: empty if there is nothing to do; it may have several lines. kind: of a warning or failure; with the name of
    the check in front it is the finding's stable name, which README and scripts use: do not rename it.
    """

    status: Status
    what: str
    remedy: str = ""
    kind: str = ""


def ok(what: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(OK, what)


def warn(kind: str, what: str, remedy: str) -> Finding:
    """Return a finding about what works now but is likely to fail later or to surprise."""
    return Finding(WARN, what, remedy, kind)


def fail(kind: str, what: str, remedy: str) -> Finding:
    """Return a finding about what keeps pods from getting addresses, or gives them wrong ones."""
    return Finding(FAIL, what, remedy, kind)


def skip(what: str) -> Finding:
    """Return why the check was not made."""
    return Finding(SKIP, what)
