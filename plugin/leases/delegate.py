"""The next IPAM plugin: find it, run it, return its result unchanged.

https://www.cni.dev/docs/spec/#section-4-plugin-delegation
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat

from plugin import cni, process
from plugin.errors import (
    INCOMPATIBLE_VERSION,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    PLUGIN_FAILURE,
    TRY_AGAIN_LATER,
    CniError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

# containerd treats a failed DEL as done if its text contains the first of a pair; the second replaces it.
_DONE_WORDS = (("not found", "missing"), ("no such file or directory", "missing file"))
_EXHAUSTED = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
# Codes of a plugin that does not support a command, or not in this version.
_UNSUPPORTED = (INCOMPATIBLE_VERSION, 3, INVALID_ENVIRONMENT)


class Refused(Exception):
    """The next plugin returned an error: its exit status and its error object, for the caller."""

    def __init__(self, status: int, answer: bytes, error: dict[str, Any]) -> None:
        super().__init__(error.get("msg"))
        self.status = status
        self.answer = answer
        self.error = error


def find(name: str, directories: Sequence[str]) -> str:
    """Return the path of a plugin, as libcni finds it: the first regular file of that name. Raises CniError."""
    if "/" in name:  # a configuration must not name a program outside of the directories
        details = "write the name of a file in the runtime's directory of plugins, without a slash"
        raise CniError(INVALID_CONFIG, f"{name} is not the name of a plugin", details)
    for directory in directories:
        path = os.path.join(directory, name)
        try:
            if directory and stat.S_ISREG(os.stat(path).st_mode):
                return path
        except (OSError, ValueError):  # ValueError: no file can have this name
            continue
    # containerd takes a failed DEL for done when the text says "not found".
    looked = ", ".join(dict.fromkeys(filter(None, directories))) or "(none given)"
    details = "install it in one of them"
    if name == "host-local":
        details += "; it is one of github.com/containernetworking/plugins (Debian, Ubuntu: containernetworking-plugins)"
    raise CniError(PLUGIN_FAILURE, f"the plugin {name} is in none of the directories {looked}", details)


def run_silent(program: str, command: str, environ: Mapping[str, str], config: bytes) -> None:
    """Run any command but ADD and VERSION; they have no result. Raises Refused or CniError."""
    try:
        status, answer = process.run(program, [program], {**environ, "CNI_COMMAND": command}, config)
    except OSError as error:
        raise cannot_run(program, error) from None
    if status:
        raise _refusal(command, *judge(status, answer, program))


def run_if_known(program: str, command: str, environ: Mapping[str, str], config: bytes) -> None:
    """Run a STATUS or GC. Raises Refused or CniError, but not if the plugin does not support the command."""
    try:
        run_silent(program, command, environ, config)
    except Refused as refusal:
        if refusal.error.get("code") not in _UNSUPPORTED:
            raise


def judge(status: int, answer: bytes, program: str) -> tuple[int, bytes]:
    """Return an ADD's exit status and answer: 0 and one result, or its own error. Raises CniError for anything else."""
    documents = _documents(answer)
    failed = bool(documents) and "code" in documents[-1]
    if failed and status:
        # A result and then an error is what host-local prints in the host's own network namespace.
        return max(status, 1), answer if len(documents) == 1 else cni.encode(documents[-1])
    if len(documents) == 1 and not failed and status == 0:
        return 0, answer
    raise _broken(program, status, answer)


def cannot_run(program: str, error: OSError) -> CniError:
    """Return what is wrong with a program that could not be started."""
    # Not strerror: a DEL that says "no such file" counts as done.
    msg = f"{program} cannot be run (errno {error.errno})"
    if error.errno in _EXHAUSTED:
        return CniError(TRY_AGAIN_LATER, msg, "this machine is out of processes, memory or open files")
    return CniError(PLUGIN_FAILURE, msg, "see that it is whole, executable, and made for this machine")


def no_answer(program: str) -> CniError:
    """Return the error for a program that the deadline has ended."""
    details = "a process may hold the lock of its store, or a disk may hang"
    return CniError(TRY_AGAIN_LATER, f"{program} gave no answer in time", details)


def _refusal(command: str, status: int, answer: bytes) -> Refused:
    """Return this error for the caller, without words that would make a failed DEL count as done."""
    error = json.loads(answer)
    plain = dict(error)
    for key in ("msg", "details") if command == "DEL" else ():
        for words, other in _DONE_WORDS:
            plain[key] = re.sub(words, other, str(plain.get(key, "")), flags=re.IGNORECASE)
    plain = {key: value for key, value in plain.items() if value != ""}
    return Refused(status, answer if plain == error else cni.encode(plain), plain)


def _documents(answer: bytes) -> list[dict[str, Any]]:
    """Return the JSON objects in this text; none if it contains anything else."""
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
