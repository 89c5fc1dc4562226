"""The cache: small files in one directory in memory. They may be lost or damaged at any time."""

from __future__ import annotations

import posix as os  # os itself would add 0.7 ms to each start
import time

from plugin.entries import check, own_directory, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plugin.lock import Lock

# Every name in the directory: uninstall removes these, and a directory with another one is left as it is.
_HASHES = ("warm-", "node-", "away-", "dead-", "used-", "lock-", "code-")  # before hexadecimal digits
_TEXTS = ("at:", "told:", "status:")
_NAMES = ("stores", "kubelet", "code.lock")
_LEFT_SECONDS = 60.0
_STICKY = 0o1000


def is_entry(name: str) -> bool:
    """Return whether a cache makes files of this name."""
    whole = _whole(name) or name
    is_hash = whole.startswith(_HASHES) and not whole[len("warm-") :].strip("-0123456789abcdef")
    return is_hash or whole in _NAMES or whole.startswith(_TEXTS)


def _whole(name: str) -> str:
    """Return the name that a half-written file was to get; empty if this is the name of another file."""
    whole, _, process = name[1:].rpartition(".")
    return whole if name[:1] == "." and process.isdigit() else ""


class Cache:
    """Files by name in one directory. No method raises: unreadable entries are missing, failed writes are dropped.

    trusted: root has chosen the directory. Only then is an empty one that is open to others closed to them, and used.
    """

    def __init__(self, path: str, trusted: bool = True) -> None:
        self.path = path
        self._trusted = trusted
        self.trouble = ""  # why writes are dropped, for messages
        self._directory = -1

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if self._directory >= 0:
            close(self._directory)

    def read(self, name: str) -> bytes | None:
        """Return what was last written under this name; None if it is missing or damaged."""
        try:
            return read(name, self._open(create=False))
        except OSError:
            return None

    def write(self, name: str, body: bytes) -> bool:
        """Store these bytes under this name, atomically; return False if that fails."""
        return self.put(name, check(body) + b"\n" + body)

    def put(self, name: str, data: bytes) -> bool:
        """Make a file of this content, atomically; return False if that fails."""
        return self._replace(name, lambda temporary, directory: _write_file(temporary, data, directory))

    def link(self, name: str, target: str) -> bool:
        """Make name a symbolic link to target, atomically; return False if that fails. It is read, never followed."""
        return self._replace(name, lambda temporary, directory: os.symlink(target, temporary, dir_fd=directory))

    def target(self, name: str) -> str:
        """Return the target that link() was given; empty if there is none, or if it is another user's."""
        try:
            directory = self._open(create=False)
            is_ours = os.lstat(name, dir_fd=directory).st_uid == os.geteuid()
            return os.readlink(name, dir_fd=directory) if is_ours else ""
        except OSError:
            return ""

    def remove(self, name: str) -> None:
        """Remove this name."""
        try:
            os.unlink(name, dir_fd=self._open(create=False))
        except OSError:
            pass

    def damage(self) -> str:
        """Return why the directory cannot be used; empty if it can, or does not exist."""
        try:
            self._open(create=False)
        except FileNotFoundError:
            return ""
        except OSError as error:
            return f"cache {self.path}: {error.strerror}"
        return ""

    def lock(self, name: str) -> Lock:
        """Return a lock between processes, for a with statement."""
        from plugin.lock import Lock

        return Lock(self, name)

    def open_lock(self, name: str) -> int:
        """Open the file of a lock. Raises OSError."""
        directory = self._open(create=True)
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=directory)

    def starting_with(self, prefix: str) -> list[str]:
        """Return the names that start so."""
        try:
            return [name for name in os.listdir(self._open(create=False)) if name.startswith(prefix)]
        except OSError:
            return []

    def names(self) -> Iterator[tuple[str, float]]:
        """Return every name with its age in seconds, half-written files included."""
        now = time.time()
        for name in self.starting_with(""):
            try:
                yield name, now - os.lstat(name, dir_fd=self._directory).st_mtime
            except OSError:
                continue

    def prune(self, prefix: str, seconds: float, size: float = float("inf")) -> None:
        """Remove what starts with this prefix and is older, and what killed processes left half-written.

        size: bytes that the newest may have together; older ones are removed, too.
        """
        for name, age in sorted(self.names(), key=lambda each: each[1]):
            if name.startswith(prefix):
                size -= self._size(name)
                if age > seconds or size < 0:
                    self.remove(name)
            elif _whole(name) and is_entry(name) and age > _LEFT_SECONDS:
                self.remove(name)

    def _replace(self, name: str, make: Callable[[str, int], None]) -> bool:
        """Let make(name, directory) make a file and give it this name; return False if that fails."""
        temporary = f".{name}.{os.getpid()}"
        try:
            directory = self._open(create=True)
            self.remove(temporary)  # of a process that was killed and had our number
            make(temporary, directory)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except (OSError, ValueError) as error:  # ValueError: a text that no link can have
            self.trouble = self.trouble or f"cache {self.path}: {getattr(error, 'strerror', error)}"
            self.remove(temporary)
            return False
        return True

    def _size(self, name: str) -> int:
        try:
            return os.lstat(name, dir_fd=self._open(create=False)).st_size
        except OSError:
            return 0

    def _open(self, create: bool) -> int:
        if self._directory < 0:
            if create:
                _make_directories(self.path)
            try:
                self._directory = own_directory(self.path)
            except PermissionError:
                _mend(self.path, self._trusted)
                self._directory = own_directory(self.path)
        return self._directory


def _make_directories(path: str) -> None:
    """Make a directory for this user alone, and its parents as host-local makes those of its dataDir."""
    try:
        _make_directory(path, 0o700)
    except FileNotFoundError:
        names = path.rstrip("/").split("/")
        for count in range(2, len(names)):
            _make_directory("/".join(names[:count]), 0o755)
        _make_directory(path, 0o700)


def _make_directory(path: str, mode: int) -> None:
    before = os.umask(0)  # not chmod: another user may have put a link in its place by then
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        pass  # perhaps another process has just made it
    finally:
        os.umask(before)


def _mend(path: str, empty: bool) -> None:
    """Close a cache directory of ours to others, if all that is in it is the cache's. Raises OSError.

    empty: close it, too, if nothing is in it.

    What others have put there is not trusted: each file and link is only used if this user owns it.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(directory)
        names = os.listdir(directory)
        is_cache = all(map(is_entry, names)) if names else empty
        if status.st_uid == os.geteuid() and not status.st_mode & _STICKY and is_cache:
            os.fchmod(directory, 0o700)
    finally:
        os.close(directory)


def _write_file(name: str, data: bytes, directory: int) -> None:
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600, dir_fd=directory)
    try:
        while data:
            data = data[os.write(file, data) :]
    finally:
        os.close(file)
