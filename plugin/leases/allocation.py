"""ADD by the next plugin, and the one rule for leases: an ADD whose success is not delivered leaves no lease.

A lease that the attachment had before stays, whatever happens: a runtime that repeats an ADD must not lose it.
Once the result is delivered, nothing turns the ADD into an error.
"""

from __future__ import annotations

import time

from plugin import cni, deadline, process, stdout
from plugin.errors import IO_FAILURE, CniError
from plugin.leases import conflict, delegate, hostlocal
from plugin.start.warm import NEWEST, OLDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DUPLICATE = b"duplicate allocation"  # host-local: the attachment has a lease, and a DEL would free it


class Attempt:
    """One call of the next plugin.

    translated: config is in an older version than the caller's, and so is the answer.
    """

    def __init__(self, program: str, environ: Mapping[str, str], config: bytes, translated: bool = False) -> None:
        self.program = program
        self.environ = environ
        self.config = config
        self.translated = translated

    @property
    def store(self) -> str:
        """The store of host-local; empty if the next plugin is another one."""
        return hostlocal.store_of(cni.decode(self.config)) if hostlocal.is_host_local(self.program) else ""


def add(attempt: Attempt) -> tuple[int, bytes]:
    """Run the ADD. Return (0, result), delivered, or the status and error of the next plugin. Raises CniError."""
    if stdout.is_caller_gone():
        raise _undelivered()
    return conclude(attempt, lambda: process.run(attempt.program, [attempt.program], attempt.environ, attempt.config))


def conclude(attempt: Attempt, run: Callable[[], tuple[int, bytes]]) -> tuple[int, bytes]:
    """Run the next plugin and go on after its end: see add(). run: returns its exit status and stdout."""
    printed = b""
    try:
        status, printed = run()
        status, answer = delegate.judge(status, printed, attempt.program)
        if status == 0:
            conflict.refuse(answer, attempt.store, attempt.environ)
            answer = _translated_back(answer) if attempt.translated else answer
            if not stdout.deliver(answer):
                raise _undelivered()
            return 0, answer
    except BaseException as failure:
        if stdout.is_delivered():
            return 0, answer
        if isinstance(failure, OSError) and not printed:  # it did not run
            raise delegate.cannot_run(attempt.program, failure) from None
        _undo(attempt, printed)
        if isinstance(failure, deadline.DeadlineExceeded):
            raise delegate.no_answer(attempt.program) from None
        raise
    _undo(attempt, printed, is_clean_error=answer == printed)
    return status, answer


def _translated_back(answer: bytes) -> bytes:
    """Return a result in the older version as one in the newest: what both say is the same."""
    if answer.count(OLDER) == 1:
        return answer.replace(OLDER, NEWEST)
    return cni.encode({**cni.decode(answer), "cniVersion": cni.NEWEST})


def _undo(attempt: Attempt, printed: bytes, is_clean_error: bool = False) -> None:
    """Release what the ADD has allocated; best effort, within the rest of the time.

    After an error of its own, host-local has usually released it, but not if its disk is full. Another plugin's store
    is not known here; one that reports an error has cleaned up.
    """
    if _DUPLICATE in printed:
        return
    ends = time.monotonic() + deadline.left()
    deadline.start(deadline.UNDO)
    try:
        found = hostlocal.leases_of(attempt.store, attempt.environ)
        now = time.time()
        # A lease of the future was there before a clock was set back.
        is_older = any(not process.STARTED <= lease.reserved <= now for lease in found)
        if is_older or (is_clean_error and not found):
            return
        environ = {**attempt.environ, "CNI_COMMAND": "DEL"}
        process.run(attempt.program, [attempt.program], environ, attempt.config)
    except (OSError, CniError, deadline.DeadlineExceeded):
        pass
    finally:
        deadline.stop()
        if time.monotonic() < ends:
            deadline.start(ends - time.monotonic())


def _undelivered() -> CniError:
    msg = "the caller of this ADD is gone, or did not read its result in time"
    return CniError(IO_FAILURE, msg, "no address is allocated; see why the runtime gave up: a time-out?")
