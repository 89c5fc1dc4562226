"""Small files that may be lost, replaced or damaged at any time: one directory in memory, this user's alone."""

from __future__ import annotations

import posix as os  # os itself would add 0.7 ms to each start
import time

from plugin.process import to_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

DIRECTORY = "/run/node-ipam"
DIRECTORY_VARIABLE = "NODE_IPAM_CACHE"  # another place, as the environment says it

# 2**61 - 1, a prime. Enough to name and to check: what matters is compared byte for byte.
_MODULUS = (1 << 61) - 1
_FORMAT = b"node-ipam-2"  # to be raised with what is stored: an upgrade must not read what is laid out otherwise
# What write() and link() of any user of the cache leave when they are killed; other dot-files are somebody else's.
_LEFT = tuple(f".{prefix}" for prefix in ("warm-", "node-", "away-", "used-", "at:"))
_LEFT_SECONDS = 60.0


def location(environ: Mapping[str, str]) -> str:
    """The directory to use when the configuration names none."""
    path = environ.get(DIRECTORY_VARIABLE, "")
    return path if path.startswith("/") else DIRECTORY


def digest(data: bytes) -> str:
    """A short name for these bytes. Not collision-free: keep the bytes with what is stored under it, and compare."""
    return f"{int.from_bytes(data, 'big') % _MODULUS:016x}{len(data):x}"


def attachment(environ: Mapping[str, str]) -> str:
    """The name for what is remembered of this container and interface."""
    name = f"at:{environ.get('CNI_CONTAINERID', '')}:{environ.get('CNI_IFNAME', '')}"
    return name if len(name) < 200 else f"at:{digest(to_bytes(name))}"


def signature(path: str) -> str:
    """What changes when a file does; empty when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_mtime_ns}.{status.st_size}.{status.st_ino}"


def pack(*fields: bytes) -> bytes:
    """Join fields so that unpack() gives them back, without importing json (8 ms)."""
    return b"%s\n%s" % (b" ".join(b"%d" % len(field) for field in fields), b"".join(fields))


def unpack(data: bytes) -> list[bytes]:
    """The fields given to pack()."""
    lengths, _, rest = data.partition(b"\n")
    fields = []
    for length in map(int, lengths.split()):
        fields.append(rest[:length])
        rest = rest[length:]
    return fields


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
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._open(create=False))
        except OSError:
            return None
        try:
            data = os.read(file, os.fstat(file).st_size)
        except OSError:
            return None
        finally:
            os.close(file)
        check, _, body = data.partition(b"\n")
        return body if check == _check(body) else None

    def has(self, name: str) -> bool:
        """Whether there is something under this name."""
        try:
            os.stat(name, dir_fd=self._open(create=False), follow_symlinks=False)
        except OSError:
            return False
        return True

    def write(self, name: str, body: bytes) -> bool:
        """Keep these bytes under this name, in one step; False when that cannot be done."""
        temporary = f".{name}.{os.getpid()}"
        try:
            directory = self._open(create=True)
            _write_file(temporary, _check(body) + b"\n" + body, directory)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError as error:
            self.trouble = self.trouble or f"cache {self.path}: {error.strerror}"
            return False
        return True

    def link(self, name: str, target: str) -> bool:
        """Remember one name under another, in one step; False when that cannot be done. The link is never followed."""
        temporary = f".{name}.{os.getpid()}"
        try:
            directory = self._open(create=True)
            self.remove(temporary)  # of a process that was killed and had our number
            os.symlink(target, temporary, dir_fd=directory)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
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
        """A lock between processes, for a with statement; held in name only when the directory cannot be used."""
        return Lock(self, name)

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
            self._directory = _own_directory(self.path)
        return self._directory


class Lock:
    """An advisory lock (flock) on a file of the cache; the kernel drops it with the process that holds it."""

    def __init__(self, cache: Cache, name: str) -> None:
        self._cache = cache
        self._name = name
        self._file = -1

    def __enter__(self) -> None:
        import fcntl

        try:
            directory = self._cache._open(create=True)
            self._file = os.open(self._name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=directory)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError as error:
            self._cache.trouble = self._cache.trouble or f"cache {self._cache.path}: {error.strerror}"

    def __exit__(self, *_exc: object) -> None:
        if self._file >= 0:
            os.close(self._file)


def _check(body: bytes) -> bytes:
    return _FORMAT + b" " + digest(body).encode()


def _own_directory(path: str) -> int:
    """Open a directory that nobody else can have put anything into."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    status = os.fstat(directory)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        os.close(directory)
        raise PermissionError(1, "it must belong to the user who runs this, with mode 0700")
    return directory


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
