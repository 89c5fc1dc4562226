"""Small files that may be lost, replaced or damaged at any time: one directory in memory, this user's alone."""

from __future__ import annotations

import posix as os  # os itself would add 0.7 ms to each start
import time

from plugin.start.warm import DIRECTORY as DIRECTORY
from plugin.start.warm import DIRECTORY_VARIABLE as DIRECTORY_VARIABLE
from plugin.start.warm import attachment as attachment
from plugin.start.warm import check, link, own_directory, read
from plugin.start.warm import digest as digest
from plugin.start.warm import location as location
from plugin.start.warm import pack as pack
from plugin.start.warm import signature as signature
from plugin.start.warm import unpack as unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plugin.lock import Lock

# What write() and link() of any user of the cache leave when they are killed; other dot-files are somebody else's.
_LEFT = tuple(f".{prefix}" for prefix in ("warm-", "node-", "away-", "used-", "at:"))
_LEFT_SECONDS = 60.0


class Cache:
    """Files by name in one directory. No method raises: what cannot be read is absent, what cannot be kept is lost."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.trouble = ""  # why nothing is kept, for a person
        self._directory = -1

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if self._directory >= 0:
            close(self._directory)

    def read(self, name: str) -> bytes | None:
        """What was last written under this name; None when there is nothing whole."""
        try:
            return read(name, self._open(create=False))
        except OSError:
            return None

    def has(self, name: str) -> bool:
        """Whether there is something under this name."""
        try:
            os.stat(name, dir_fd=self._open(create=False), follow_symlinks=False)
        except OSError:
            return False
        return True

    def write(self, name: str, body: bytes) -> bool:
        """Keep these bytes under this name, in one step; False when that cannot be done."""
        return self.put(name, check(body) + b"\n" + body)

    def put(self, name: str, data: bytes) -> bool:
        """Make a file of this content, in one step; False when that cannot be done."""
        temporary = f".{name}.{os.getpid()}"
        try:
            directory = self._open(create=True)
            _write_file(temporary, data, directory)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError as error:
            self.trouble = self.trouble or f"cache {self.path}: {error.strerror}"
            return False
        return True

    def link(self, name: str, target: str) -> bool:
        """Remember one name under another, in one step; False when that cannot be done. The link is never followed."""
        try:
            link(name, target, self._open(create=True))
        except OSError as error:
            self.trouble = self.trouble or f"cache {self.path}: {error.strerror}"
            return False
        return True

    def target(self, name: str) -> str:
        """The name remembered by link(); empty when there is none."""
        try:
            return os.readlink(name, dir_fd=self._open(create=False))
        except OSError:
            return ""

    def remove(self, name: str) -> None:
        """Forget this name."""
        try:
            os.unlink(name, dir_fd=self._open(create=False))
        except OSError:
            pass

    def lock(self, name: str) -> Lock:
        """Return a lock between processes, for a with statement."""
        from plugin.lock import Lock

        return Lock(self, name)

    def open_lock(self, name: str) -> int:
        """Open the file of a lock. Raises OSError."""
        directory = self._open(create=True)
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=directory)

    def names(self) -> Iterator[tuple[str, float]]:
        """Every name with its age in seconds, half-written leftovers included."""
        try:
            directory = self._open(create=False)
            found = os.listdir(directory)
        except OSError:
            return
        now = time.time()
        for name in found:
            try:
                yield name, now - os.lstat(name, dir_fd=directory).st_mtime
            except OSError:
                continue

    def prune(self, prefix: str, seconds: float) -> None:
        """Remove what starts with this prefix and is older, and what killed processes left half-written."""
        for name, age in self.names():
            if (name.startswith(prefix) and age > seconds) or (name.startswith(_LEFT) and age > _LEFT_SECONDS):
                self.remove(name)

    def _open(self, create: bool) -> int:
        if self._directory < 0:
            if create:
                try:
                    os.mkdir(self.path, 0o700)
                except FileExistsError:
                    pass
            self._directory = own_directory(self.path)
        return self._directory


def _write_file(name: str, data: bytes, directory: int) -> None:
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600, dir_fd=directory)
    try:
        while data:
            data = data[os.write(file, data) :]
    except OSError:
        os.unlink(name, dir_fd=directory)
        raise
    finally:
        os.close(file)


def name_of(data: bytes) -> str:
    """Return a short name for these bytes that no other bytes have."""
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b
    try:
        return blake2b(data, digest_size=16).hexdigest()
    except ValueError:  # a system in FIPS mode
        from hashlib import sha256

        return sha256(data).hexdigest()[:32]
