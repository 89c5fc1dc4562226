"""The cache's files as the warm path needs them: names, entries, and the records of attachments."""

from __future__ import annotations

import posix as os  # os itself would add 0.7 ms to each start
import time

from plugin.process import to_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECTORY = "/run/node-ipam"
DIRECTORY_VARIABLE = "NODE_IPAM_CACHE"  # another place, as the environment says it
# 2**61 - 1, a prime. Enough to name and to check: what matters is compared byte for byte.
_MODULUS = (1 << 61) - 1
_BOOTTIME = 7  # CLOCK_BOOTTIME
_FORMAT = b"node-ipam-2"  # to be raised with what is stored: an upgrade must not read what is laid out otherwise


def location(environ: Mapping[str, str]) -> str:
    """Return the cache directory of the environment."""
    path = environ.get(DIRECTORY_VARIABLE, "")
    return path if path.startswith("/") else DIRECTORY


def digest(data: bytes) -> str:
    """Return a checksum. It serves as a name only where the stored bytes are compared; otherwise use name_of()."""
    return f"{int.from_bytes(data, 'big') % _MODULUS:016x}{len(data):x}"


def name_of(data: bytes) -> str:
    """Return a short name for these bytes that no other bytes have."""
    try:
        from _blake2 import blake2b

        return blake2b(data, digest_size=16).hexdigest()
    except (ImportError, ValueError):  # a system in FIPS mode
        from hashlib import sha256

        return sha256(data).hexdigest()[:32]


def attachment(environ: Mapping[str, str], network: str) -> str:
    """Return the name of the record of this container's interface in this network."""
    who = f"at:{environ.get('CNI_CONTAINERID', '')}:{environ.get('CNI_IFNAME', '')}"
    name = f"{who}:{network}" if network else who  # without: version 0.1.0
    return name if len(name) < 240 else f"at:{name_of(to_bytes(name))}"


def record_text(content: str, environ: Mapping[str, str]) -> str:
    """Return what the record of an attachment says: see plugin/leases/records.py."""
    netns = environ.get("CNI_NETNS", "")
    if len(netns) > 1000:  # more than a link can hold; a part of a path leads nowhere, as if the namespace were gone
        netns = ""
    return f"{content} {int(time.clock_gettime(_BOOTTIME))} {netns}"


def signature(path: str) -> str:
    """Return what changes if the file changes; empty if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_mtime_ns}.{status.st_ctime_ns}.{status.st_size}.{status.st_ino}"


def check(body: bytes) -> bytes:
    """Return the first line of an entry. It differs if the entry is damaged or has another format."""
    return _FORMAT + b" " + digest(body).encode()


def own_directory(path: str) -> int:
    """Open a directory that only this user can write to. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    status = os.fstat(directory)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        os.close(directory)
        raise PermissionError(1, "it must belong to the user who runs this, with mode 0700")
    return directory


def read(name: str, directory: int) -> bytes | None:
    """Return what was last stored under this name; None if it is damaged or another user's. Raises OSError."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    try:
        status = os.fstat(file)
        data = os.read(file, status.st_size)
    finally:
        os.close(file)
    line, _, body = data.partition(b"\n")
    return body if line == check(body) and status.st_uid == os.geteuid() else None


def record(name: str, text: str, directory: int) -> None:
    """Make name a symbolic link with this text, which is never followed. Raises OSError if it has other content."""
    try:
        os.symlink(text, name, dir_fd=directory)
    except FileExistsError:  # the ADD is repeated, perhaps in another network namespace
        old, new = os.readlink(name, dir_fd=directory).split(" ", 2), text.split(" ", 2)
        if old[0] != new[0]:
            raise
        if old[2:] == new[2:]:
            return
        temporary = f".{name}.{os.getpid()}"
        os.symlink(text, temporary, dir_fd=directory)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
