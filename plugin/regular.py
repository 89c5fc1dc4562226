"""Read regular files. Anything else, such as a pipe, could block a request."""

from __future__ import annotations

import errno
import os
import stat

from plugin.errors import TRY_AGAIN_LATER, CniError


def read_file(path: str, limit: int, flags: int = 0) -> bytes:
    """Return at most limit bytes of a file. flags: more for open(2). Raises OSError, also for another kind of file."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | flags)
    try:
        return read_open(file, limit)
    finally:
        os.close(file)


def read_open(file: int, limit: int) -> bytes:
    """Return the same of a file that is open, with O_NONBLOCK."""
    mode = os.fstat(file).st_mode
    if not stat.S_ISREG(mode):
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, "not a regular file")
    return os.read(file, limit)


def refuse_shortage(path: str, error: OSError) -> None:
    """Raise CniError if this process or machine is out of open files or memory: then nothing shows what is there."""
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        details = "raise the limits, or free some; see ulimit -a and free -m"
        raise CniError(TRY_AGAIN_LATER, f"{path} cannot be read: {error.strerror}", details) from None
