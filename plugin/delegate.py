"""The next IPAM plugin: find it, run it, give its answer back unchanged.

https://www.cni.dev/docs/spec/#section-4-plugin-delegation
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import time

from plugin import cni, deadline, hostlocal, process
from plugin.errors import INCOMPATIBLE_VERSION, INVALID_ENVIRONMENT, PLUGIN_FAILURE, TRY_AGAIN_LATER, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_DUPLICATE = b"duplicate allocation"
# containerd takes a failed DEL for done when its text has the first of these; the other ones are what to say.
_DONE_WORDS = (("not found", "missing"), ("no such file or directory", "missing file"))
_EXHAUSTED = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
# Codes by which a plugin says that it does not know a command, or not in this version.
_UNSUPPORTED = (INCOMPATIBLE_VERSION, 3, INVALID_ENVIRONMENT)


class Refused(Exception):
    """The next plugin answered with an error of its own: its exit status and its words, for the caller."""

    def __init__(self, status: int, answer: bytes, error: dict[str, Any]) -> None:
        super().__init__(error.get("msg"))
        self.status = status
        self.answer = answer
        self.error = error


def find(name: str, directories: Sequence[str]) -> str:
    """The path of a plugin, as libcni finds it: the first regular file of that name. Raises CniError."""
    for directory in directories:
        path = os.path.join(directory, name)
        try:
            if directory and stat.S_ISREG(os.stat(path).st_mode):
                return path
        except OSError:
            continue
    # containerd takes a failed DEL for done when the text says "not found".
    looked = ", ".join(dict.fromkeys(filter(None, directories))) or "(none given)"
    details = "install it in one of them"
    if name == "host-local":
        details += "; it is one of github.com/containernetworking/plugins (Debian, Ubuntu: containernetworking-plugins)"
    raise CniError(PLUGIN_FAILURE, f"the plugin {name} is in none of the directories {looked}", details)


def add(program: str, environ: Mapping[str, str], config: bytes) -> tuple[int, bytes]:
    """Run an ADD; (exit status, answer) for our caller. Undoes what may have been done when the outcome is unknown."""
    try:
        status, answer = process.run(program, [program], environ, config)
    except BaseException as error:
        return interrupted(error, program, environ, config)
    return conclude(status, answer, program, environ, config)


def run_silent(program: str, command: str, environ: Mapping[str, str], config: bytes) -> None:
    """Run any command but ADD and VERSION: there is no answer. Raises Refused or CniError."""
    try:
        status, answer = process.run(program, [program], {**environ, "CNI_COMMAND": command}, config)
    except OSError as error:
        raise _cannot_run(program, error) from None
    if status == 0:
        return
    documents = _documents(answer)
    if documents and "code" in documents[-1]:
        raise _refusal(command, max(status, 1), answer, documents)
    raise _broken(program, status, answer)


def run_if_known(program: str, command: str, environ: Mapping[str, str], config: bytes) -> None:
    """Run a STATUS or GC. Raises Refused or CniError, but not because a plugin does not know the command."""
    try:
        run_silent(program, command, environ, config)
    except Refused as refusal:
        if refusal.error.get("code") not in _UNSUPPORTED:
            raise


def conclude(status: int, answer: bytes, program: str, environ: Mapping[str, str], config: bytes) -> tuple[int, bytes]:
    """What an ADD's exit status and stdout mean for our caller. Raises CniError."""
    documents = _documents(answer)
    failed = bool(documents) and "code" in documents[-1]
    if len(documents) == 1 and failed and status:
        # It has rolled back by itself.
        return max(status, 1), answer
    if len(documents) == 1 and not failed and status == 0:
        return 0, answer
    if _DUPLICATE not in answer:  # which leaves a live lease, and undoing would free it
        _undo(program, environ, config)
    if failed and status:
        # A result and then an error (host-local in the host's own network namespace): the lease was kept.
        return max(status, 1), cni.encode(documents[-1])
    raise _broken(program, status, answer)


def interrupted(error: BaseException, program: str, environ: Mapping[str, str], config: bytes) -> tuple[int, bytes]:
    """An ADD that could not be started or did not end in time. Raises CniError."""
    if isinstance(error, OSError):
        raise _cannot_run(program, error) from None
    _undo(program, environ, config)
    if isinstance(error, deadline.DeadlineExceeded):
        details = "a process may hold the lock of its store, or a disk may hang"
        raise CniError(TRY_AGAIN_LATER, f"{program} gave no answer in time", details) from None
    raise error


def _refusal(command: str, status: int, answer: bytes, documents: list[dict[str, Any]]) -> Refused:
    """The error in this answer, as it is but for what would make a failed DEL count as done."""
    error = dict(documents[-1])
    if command == "DEL":
        for key in ("msg", "details"):
            for words, other in _DONE_WORDS:
                error[key] = re.sub(words, other, str(error.get(key, "")), flags=re.IGNORECASE)
        error = {key: value for key, value in error.items() if value != ""}
    unchanged = len(documents) == 1 and error == documents[-1]
    return Refused(status, answer if unchanged else cni.encode(error), error)


def _undo(program: str, environ: Mapping[str, str], config: bytes) -> None:
    """Release what an ADD of unknown outcome may have reserved; best effort, within the rest of the time.

    Not where the attachment had an address before: a runtime that repeats an ADD must not lose what it has.
    """
    deadline.start(deadline.UNDO)
    try:
        if _had_lease(program, environ, config):
            return
        process.run(program, [program], {**environ, "CNI_COMMAND": "DEL"}, config)
    except (OSError, deadline.DeadlineExceeded):
        pass
    finally:
        deadline.stop()


def _had_lease(program: str, environ: Mapping[str, str], config: bytes) -> bool:
    if os.path.basename(program) != hostlocal.NAME:
        return False
    request = cni.decode(config)
    store = hostlocal.store(request.get("ipam", {}).get("dataDir", ""), request.get("name", ""))
    ours = environ.get("CNI_CONTAINERID"), environ.get("CNI_IFNAME")
    now = time.time()
    # What was reserved in the future was there before a clock was set back.
    return any(
        (lease.container, lease.interface or ours[1]) == ours and not process.STARTED <= lease.reserved <= now
        for lease in hostlocal.leases(store)
    )


def _documents(answer: bytes) -> list[dict[str, Any]]:
    """The JSON objects in this text; none when it is anything else."""
    decoder = json.JSONDecoder(parse_constant=cni.refuse_constant, parse_float=cni.finite)
    documents = []
    try:
        text = answer.decode().strip()
        while text:
            document, end = decoder.raw_decode(text)
            if not isinstance(document, dict):
                return []
            documents.append(document)
            text = text[end:].lstrip()
    except (ValueError, RecursionError):
        return []
    return documents


def _broken(program: str, status: int, answer: bytes) -> CniError:
    if status < 0:
        msg = f"{program} was ended by signal {-status}"
        return CniError(TRY_AGAIN_LATER, msg, "see the kernel log: out of memory?")
    what = "printed something that is not one CNI result" if answer else "printed nothing"
    msg = f"{program} {what} and ended with status {status}"
    return CniError(PLUGIN_FAILURE, msg, "run it by hand with the same configuration to see why")


def _cannot_run(program: str, error: OSError) -> CniError:
    # Not strerror: a DEL that says "no such file" counts as done.
    msg = f"{program} cannot be run (errno {error.errno})"
    if error.errno in _EXHAUSTED:
        return CniError(TRY_AGAIN_LATER, msg, "this machine is out of processes, memory or open files")
    return CniError(PLUGIN_FAILURE, msg, "is it whole, executable, and for this machine?")
