"""The stores of host-local on this machine, and what can be said of the leases in them."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import time
from dataclasses import dataclass

from plugin import deadline, hostlocal
from plugin.deadline import DeadlineExceeded
from plugin.errors import IO_FAILURE, PLUGIN_FAILURE, CniError
from plugin.ops.networks import networks
from plugin.settings import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from plugin.hostlocal import Lease
    from plugin.ops.leases.attachments import Attachments
    from plugin.ops.networks.networks import Network

# What a lease is.
USED = "used"  # a result of libcni names its container
NEW = "new"  # none does, or it is empty, but the ADD may be under way
STALE = "stale"
EMPTY = "empty"  # reserved by a host-local that was killed before it wrote whose it is
UNKNOWN = "unknown"  # there are no results to tell by, or not those of whoever made the store
STATES = (USED, NEW, STALE, EMPTY, UNKNOWN)

GRACE = 600.0  # seconds in which an ADD has ended, one way or the other
_LOCK = "lock"
_LOCK_SECONDS = 10.0
_LAST = "last_reserved_ip."


@dataclass(frozen=True)
class Store:
    """Where host-local keeps the leases of one network."""

    data_dir: str
    network: str

    @property
    def path(self) -> str:
        """The directory."""
        return hostlocal.store(self.data_dir, self.network)

    def leases(self) -> list[Lease]:
        """Every lease in it, in the order of their addresses. Raises CniError."""
        _names(self.path)
        return sorted(hostlocal.leases(self.path), key=lambda lease: _order(lease.address))

    def last_reserved(self) -> dict[int, str]:
        """The address that was handed out last of each set of ranges, by the place of the set."""
        found = {}
        for name in _names(self.path):
            index = name[len(_LAST) :]
            if name.startswith(_LAST) and index.isascii() and index.isdigit():
                with contextlib.suppress(OSError):
                    text = read_file(os.path.join(self.path, name), 100)
                    found[int(index)] = text.decode(errors="replace").strip()
        return dict(sorted(found.items()))


def find(
    named: Sequence[str], configured: Sequence[Network], environ: Mapping[str, str], bin_dirs: str, network: str = ""
) -> list[Store]:
    """The stores below the data directories that are named or, without any, below all that are known of.

    Raises CniError when one cannot be looked into.
    """
    if named:
        directories = list(named)
    else:
        directories = [hostlocal.DATA_DIR]
        for each in configured:
            directories += networks.data_dirs(each, environ, bin_dirs)
    found: dict[str, Store] = {}
    for data_dir in directories:
        for name in sorted(_names(data_dir)):
            found.setdefault(hostlocal.store(data_dir, name), Store(data_dir, name))
    return [store for path, store in found.items() if network in ("", store.network) and _is_store(path)]


def state(lease: Lease, attached: Attachments) -> str:
    """What a lease is, by what libcni knows."""
    if not lease.is_readable:
        return UNKNOWN
    if not lease.container:
        return EMPTY if is_settled(lease) else NEW
    if attached.trouble:
        return UNKNOWN
    if attached.has(lease.container):
        return USED
    return STALE if is_settled(lease) else NEW


def doubt(store: Store, states: Sequence[str], attached: Attachments) -> str:
    """Why it cannot be told which of its leases are in use; empty when it can.

    A store no lease of which has a result may belong to a program that keeps its results elsewhere, as those for
    virtual machines do.
    """
    if attached.trouble or STALE not in states or USED in states or store.network in attached.networks:
        return attached.trouble
    return f"no result of libcni names it or a container with a lease in {store.path}"


def is_settled(lease: Lease) -> bool:
    """Whether the ADD that made this lease has ended long ago."""
    return age(lease) > GRACE


def age(lease: Lease) -> float:
    """Seconds since it was made; negative when the clock was set back."""
    return time.time() - lease.reserved


@contextlib.contextmanager
def locked(store: Store) -> Iterator[None]:
    """Hold host-local's own lock: nothing is reserved or released meanwhile. Raises CniError."""
    path = os.path.join(store.path, _LOCK)
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o640)
    except PermissionError as error:
        raise CniError(PLUGIN_FAILURE, f"{path} cannot be opened: {error.strerror}", "run this as root") from None
    except OSError as error:
        details = f"see what it is: ls -ld {path}; host-local needs a file there, or nothing"
        raise CniError(PLUGIN_FAILURE, f"{path} cannot be opened: {error.strerror}", details) from None
    try:
        try:
            with deadline.within(_LOCK_SECONDS):
                fcntl.flock(file, fcntl.LOCK_EX)
        except DeadlineExceeded:
            msg = f"{path} has been held by another process for {_LOCK_SECONDS:.0f} seconds"
            raise CniError(PLUGIN_FAILURE, msg, f"fuser {path}; a host-local that hangs may be killed") from None
        yield
    finally:
        os.close(file)


def _order(address: str) -> tuple[int, int]:
    parsed = ipaddress.ip_address(address)
    return parsed.version, int(parsed)


def _is_store(path: str) -> bool:
    names = _names(path)
    return _LOCK in names or any(name.startswith(_LAST) for name in names) or any(hostlocal.leases(path))


def _names(directory: str) -> list[str]:
    """What is in a directory; nothing where there is none. Raises CniError when that cannot be told."""
    try:
        return os.listdir(os.path.join(directory, "."))  # the dot needs leave to look at the files, too
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CniError(IO_FAILURE, f"{directory} cannot be read: {error.strerror}", "run this as root") from None
