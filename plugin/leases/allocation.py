"""ADD by the next plugin, and the one rule for leases: an ADD whose success is not delivered leaves no lease.

A lease that the attachment had before stays, whatever happens: a runtime that repeats an ADD must not lose it.
Once the result is delivered, nothing turns the ADD into an error.
"""

from __future__ import annotations

import os
import time

from plugin import cni, deadline, process, stdout
from plugin.cache import Cache, location
from plugin.errors import IO_FAILURE, TRY_AGAIN_LATER, CniError
from plugin.leases import delegate, hostlocal, records
from plugin.start.warm import NEWEST, OLDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from plugin.leases.hostlocal import Lease

_DUPLICATE = b"duplicate allocation"  # host-local: the attachment has a lease, and a DEL would free it


class Attempt:
    """One call of the next plugin.

    translated: config is in an older version than the caller's, and so is the answer.
    """

    __slots__ = ("config", "environ", "program", "translated")

    def __init__(self, program: str, environ: Mapping[str, str], config: bytes, translated: bool = False) -> None:
        self.program = program
        self.environ = environ
        self.config = config
        self.translated = translated


def add(attempt: Attempt) -> tuple[int, bytes]:
    """Run the ADD. Return (0, result), delivered, or the status and error of the next plugin. Raises CniError."""
    if stdout.is_caller_gone():
        raise _undelivered()
    return conclude(attempt, lambda: process.run(attempt.program, [attempt.program], attempt.environ, attempt.config))


def conclude(attempt: Attempt, run: Callable[[], tuple[int, bytes]]) -> tuple[int, bytes]:
    """Run the next plugin and go on after its end: see add(). run: returns its exit status and stdout."""
    answer = printed = b""
    is_clean_error = False
    try:
        status, answer = run()
        printed = answer
        status, answer = delegate.judge(status, answer, attempt.program)
        is_clean_error = status != 0 and answer == printed
        if status == 0:
            _refuse_conflict(attempt, answer)
            answer = translated_back(answer) if attempt.translated else answer
            if not stdout.deliver(answer):
                raise _undelivered()
            return 0, answer
    except OSError as error:
        raise delegate.cannot_run(attempt.program, error) from None
    except BaseException as failure:
        if stdout.is_delivered():
            return 0, answer
        _undo(attempt, printed, is_clean_error)
        if isinstance(failure, deadline.DeadlineExceeded):
            details = "a process may hold the lock of its store, or a disk may hang"
            raise CniError(TRY_AGAIN_LATER, f"{attempt.program} gave no answer in time", details) from None
        raise
    _undo(attempt, printed, is_clean_error)
    return status, answer


def translated_back(answer: bytes) -> bytes:
    """Return a result in the older version as one in the newest: what both say is the same."""
    if answer.count(OLDER) == 1:
        return answer.replace(OLDER, NEWEST)
    return cni.encode({**cni.decode(answer), "cniVersion": cni.NEWEST})


def _undo(attempt: Attempt, printed: bytes, is_clean_error: bool) -> None:
    """Release what the ADD has allocated; best effort, within the rest of the time.

    After an error of its own, host-local has usually released it, but not if its disk is full. Another plugin's store
    is not known here; one that reports an error has cleaned up.
    """
    if _DUPLICATE in printed:
        return
    ends = time.monotonic() + deadline.left()
    deadline.start(deadline.UNDO)
    try:
        made = _made_leases(attempt)
        if made is None or (is_clean_error and not made):
            return
        environ = {**attempt.environ, "CNI_COMMAND": "DEL"}
        process.run(attempt.program, [attempt.program], environ, attempt.config)
    except (OSError, deadline.DeadlineExceeded):
        pass
    finally:
        deadline.stop()
        if time.monotonic() < ends:
            deadline.start(ends - time.monotonic())


def _made_leases(attempt: Attempt) -> bool | None:
    """Return whether the attachment has leases of this ADD; None if it has one from before. Another plugin's: False."""
    store = _store(attempt)
    if not store:
        return False
    ours = attempt.environ.get("CNI_CONTAINERID"), attempt.environ.get("CNI_IFNAME")
    found = [lease for lease in hostlocal.leases(store) if (lease.container, lease.interface or ours[1]) == ours]
    now = time.time()
    # A lease of the future was there before a clock was set back.
    if any(not process.STARTED <= lease.reserved <= now for lease in found):
        return None
    return bool(found)


def _refuse_conflict(attempt: Attempt, answer: bytes) -> None:
    """Raise CniError if an attachment holds one of these addresses in another store of this machine.

    The stores are looked up now: each ADD records its own first. Of two ADDs at once, the later sees the other's lease.
    """
    own = _store(attempt)
    if not own:
        return
    others = records.other_stores(Cache(location(attempt.environ)), own, os.path.basename(own))
    for address in _addresses(answer):
        for store in others:
            holder = hostlocal.lease(store, address)
            is_own = _is_same_file(os.path.join(own, address), os.path.join(store, address))
            if holder and holder.container and not is_own and not _is_dead(attempt, store, holder):
                msg = f"{address} is in use: container {holder.container} {holder.interface} holds it in {store}"
                details = (
                    f"the new lease in {own} was released. Give the networks ranges that do not overlap, and a network "
                    f"one dataDir; or first delete the pods that have their addresses from {store}"
                )
                raise CniError(TRY_AGAIN_LATER, msg, details)


def _is_dead(attempt: Attempt, store: str, holder: Lease) -> bool:
    """Return whether the container that holds a lease is certainly gone."""
    from plugin.leases.evidence import verdict

    (judged,) = verdict.gather(attempt.environ).judge(os.path.basename(store), [holder])
    return judged.is_proof and not judged.leftover


def _addresses(answer: bytes) -> Iterator[str]:
    result = cni.decode(answer)
    # Before CNI 0.3.0: {"ip4": {"ip": "10.9.0.2/24"}}
    listed = result.get("ips") or [{"address": result.get(key, {}).get("ip")} for key in ("ip4", "ip6")]
    for each in listed:
        address = str(each.get("address")).partition("/")[0]
        if address and not address.strip("0123456789abcdef.:"):
            yield address


def _is_same_file(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def _store(attempt: Attempt) -> str:
    """Return the store of host-local; empty if the next plugin is another one."""
    if os.path.basename(attempt.program) != hostlocal.NAME:
        return ""
    request = cni.decode(attempt.config)
    return hostlocal.store(request.get("ipam", {}).get("dataDir", ""), request.get("name", ""))


def _undelivered() -> CniError:
    msg = "the caller of this ADD is gone, or did not read its result in time"
    return CniError(IO_FAILURE, msg, "no address is allocated; see why the runtime gave up: a time-out?")
