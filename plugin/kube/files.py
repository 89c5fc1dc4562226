"""Read files that another program may be writing at this moment."""

from __future__ import annotations

import os
import time

from plugin import deadline
from plugin.config import trust
from plugin.entries import signature
from plugin.errors import INVALID_CONFIG, IO_FAILURE, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

# Calico, whereabouts and k3s write in place: for a moment a file is empty, cut off or missing.
PATIENCE = 1.0  # seconds for which a faulty file is read again
_STEP = 0.1
_SECRET = ("client-key", "tokenFile")
_LONGEST_NAME = 64  # characters
_LIMIT = 1 << 20  # bytes; a kubeconfig is some 6 KB

# Path -> entries.signature() from before the file was read last: what the credentials of this process rest on.
signatures: dict[str, str] = {}


class Unsettled(CniError):
    """A file has a fault that a half-written file has. Reading it again may succeed."""

    def __init__(self, msg: str, details: str = "", code: int = INVALID_CONFIG) -> None:
        super().__init__(code, msg, details)


def settled(attempt: Callable[[], T]) -> T:
    """Call attempt() until it does not raise Unsettled, for up to PATIENCE; return its result."""
    ends = time.monotonic() + min(PATIENCE, deadline.left() / 2)
    while True:
        try:
            return attempt()
        except Unsettled:
            if time.monotonic() + _STEP > ends:
                raise
        time.sleep(_STEP)


def is_recent(path: str) -> bool:
    """Return whether a file was written a moment ago, perhaps not to its end."""
    try:
        return 0 <= time.time() - os.stat(path).st_mtime < PATIENCE
    except OSError:
        return False


def read(path: str) -> bytes:
    """Return the whole file. Raises OSError, Untrusted, and ValueError for a path or a size that no such file has."""
    signatures[path] = signature(path)
    data = trust.read(path, _LIMIT + 1)
    if len(data) > _LIMIT:
        raise ValueError(f"more than {_LIMIT} bytes")
    return data


def failed(path: str, error: OSError | ValueError) -> str:
    """Return why read() raised this error, in the words of client-go."""
    return f"open {path}: {os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else error}"


def needed(error: OSError | ValueError) -> str:
    """Return what to do about this error of read()."""
    is_user = isinstance(error, PermissionError) and os.geteuid() != 0
    return "run this as root, or as a user who can read it" if is_user else "it must be a file that root can read"


def referenced(path: str, key: str, name: str) -> bytes:
    """Read a file that a kubeconfig names. key: the key with the path; name: its entry. Raises CniError."""
    try:
        return read(path)
    except FileNotFoundError as error:
        hint = "correct the path: relative ones start at the kubeconfig's directory, ~ and $VARIABLE mean nothing"
        raise Unsettled(_unable(path, key, name, error), hint, IO_FAILURE) from None
    except (OSError, ValueError) as error:
        raise CniError(IO_FAILURE, _unable(path, key, name, error), needed(error)) from None


def _unable(path: str, key: str, name: str, error: OSError | ValueError) -> str:
    shown = path
    if key in _SECRET and not _is_path(path):
        shown = "(not shown: it looks like the data itself, which has a key of its own)"
    return f"unable to read {key} {shown} for {name} due to {failed(shown, error)}"


def _is_path(path: str) -> bool:
    """Return whether this looks like a path. A token or key in the wrong place must not be shown."""
    directory, _, name = path.rpartition("/")
    return len(name) <= _LONGEST_NAME and os.path.isdir(directory or "/")
