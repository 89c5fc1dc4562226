"""A lock between processes that does not wait for a holder that makes no progress."""

from __future__ import annotations

import os
import time

from plugin import deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugin.cache import Cache

_WAIT = 1.0  # seconds, after which the holder is looked at
_SHARE = 0.5  # of the time left, at most: the work behind the lock needs the rest
_STOPPED = "TtZXx"  # states of a process, proc(5), in which it does nothing


class Lock:
    """An advisory lock (flock) on a file of the cache, for a with statement. The kernel drops it with its holder.

    The file says which process holds it, and until when that expects to be done. Past that time, or when the holder is
    stopped, the lock is passed by. is_held: False then, and if the directory cannot be used. waited_for: the holder, if
    this process had to wait for long.
    """

    def __init__(self, cache: Cache, name: str) -> None:
        self.path = os.path.join(cache.path, name)
        self.waited_for = ""
        self._cache = cache
        self._name = name
        self._file = -1

    def __enter__(self) -> Lock:
        try:
            self._file = self._cache.open_lock(self._name)
            while not self._acquire():
                self.waited_for = self._holder()
                if not self._is_progressing():
                    self.__exit__()
                    return self
            until = time.monotonic() + min(deadline.left(), deadline.TOTAL)
            os.pwrite(self._file, b"%-8d %-20.3f\n" % (os.getpid(), until), 0)
        except OSError as error:
            self._cache.trouble = self._cache.trouble or f"cache {self._cache.path}: {error.strerror}"
        except deadline.DeadlineExceeded:
            self.__exit__()
            raise
        return self

    @property
    def is_held(self) -> bool:
        """Whether this process holds it."""
        return self._file >= 0

    def __exit__(self, *_exc: object) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _holder(self) -> str:
        """Return the process that holds the lock as the kernel knows it, proc_locks(5), for messages."""
        try:
            inode = b":%d" % os.fstat(self._file).st_ino
            with open("/proc/locks", "rb") as file:
                locks = [line.split() for line in file]
            # 1: FLOCK  ADVISORY  WRITE 708 00:19:12345 0 EOF; with -> in the second place for a process that waits
            held = [each for each in locks if len(each) == 8 and each[1] == b"FLOCK" and each[5].endswith(inode)]
            pid = max(int(each[4]) for each in held)  # 0 or less: of another machine or container
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                name = "".join(filter(str.isprintable, file.read(100)))
        except (OSError, ValueError):
            return "another process"
        return f"process {pid} ({name})"

    def _acquire(self) -> bool:
        """Wait for the lock for a while; return whether it is held now. Raises OSError and DeadlineExceeded."""
        import fcntl

        try:
            with deadline.within(min(_WAIT, deadline.left() * _SHARE)):
                fcntl.flock(self._file, fcntl.LOCK_EX)
                return True
        except deadline.DeadlineExceeded:
            if deadline.left() <= 0:
                raise
            return False

    def _is_progressing(self) -> bool:
        """Whether the holder is one of ours, runs, and has time left."""
        try:
            pid, until = map(float, os.pread(self._file, 40, 0).split())
            with open(f"/proc/{pid:.0f}/stat", "rb") as file:
                state = file.read(4096).rpartition(b")")[2].split()[0].decode()
        except (OSError, ValueError, IndexError):
            return False
        return state not in _STOPPED and time.monotonic() < until
