"""host-local's lock on the store of a network."""

from __future__ import annotations

import os

from plugin import deadline
from plugin.config.trust import quoted
from plugin.deadline import DeadlineExceeded
from plugin.errors import PLUGIN_FAILURE, CniError

SECONDS = 10.0  # for which the lock is waited for
_NAME = "lock"


class Locked:
    """Hold the lock within a with statement: nothing is reserved or released meanwhile. Raises CniError."""

    def __init__(self, store: str, seconds: float) -> None:
        self._path = os.path.join(store, _NAME)
        self._seconds = seconds
        self._file = -1

    def __enter__(self) -> None:
        import fcntl

        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o640)
        except OSError as error:
            what = f"see what it is: ls -ld {quoted(self._path)}; host-local needs a file there, or nothing"
            details = "run this as root" if isinstance(error, PermissionError) else what
            raise CniError(PLUGIN_FAILURE, f"{self._path} cannot be opened: {error.strerror}", details) from None
        try:
            with deadline.within(self._seconds):
                fcntl.flock(self._file, fcntl.LOCK_EX)
        except DeadlineExceeded:
            os.close(self._file)
            msg = f"{self._path} has been held by another process for {self._seconds:.0f} seconds"
            advice = f"fuser {quoted(self._path)}; a host-local that hangs can be killed"
            raise CniError(PLUGIN_FAILURE, msg, advice) from None

    def __exit__(self, *_exc: object) -> None:
        os.close(self._file)
