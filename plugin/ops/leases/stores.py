"""host-local's stores: where they are, and the leases in them."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plugin.errors import IO_FAILURE, CniError
from plugin.leases import hostlocal, records
from plugin.leases.hostlocal import Lease
from plugin.ops.networks import networks
from plugin.ops.networks.configurations import Network
from plugin.regular import read_file

_LOCK = "lock"
_LAST = "last_reserved_ip."


@dataclass(frozen=True)
class Store:
    """Where host-local keeps the leases of one network."""

    data_dir: str
    network: str

    @property
    def path(self) -> str:
        """Return the directory."""
        return hostlocal.store(self.data_dir, self.network)

    def leases(self) -> list[Lease]:
        """Return all leases, sorted by address. Raises CniError."""
        _names(self.path)
        return sorted(hostlocal.leases(self.path), key=lambda lease: _order(lease.address))

    def last_reserved(self) -> dict[int, str]:
        """Return the last address allocated from each set of ranges, by the index of the set."""
        found = {}
        for name in _names(self.path):
            index = name[len(_LAST) :]
            if name.startswith(_LAST) and index.isascii() and index.isdigit():
                with contextlib.suppress(OSError):
                    text = read_file(os.path.join(self.path, name), 100, os.O_NOFOLLOW)
                    found[int(index)] = text.decode(errors="replace").strip()
        return {index: address for index, address in sorted(found.items()) if address}


def find(
    named: Sequence[str], configured: Sequence[Network], environ: Mapping[str, str], network: str = ""
) -> tuple[list[Store], list[CniError]]:
    """Return the stores below the named data directories, or below all known ones; and errors.

    A directory that cannot be read is an error; the other stores are still returned.
    """
    found: dict[str, Store] = {}
    troubles: dict[str, CniError] = {}
    for data_dir in map(os.path.normpath, named or data_dirs(configured, environ)):
        try:
            names = sorted(_names(data_dir))
        except CniError as error:
            troubles[data_dir] = error
            continue
        for name in names:
            path = hostlocal.store(data_dir, name)
            try:
                if network in ("", name) and path not in found and _is_store(path):
                    found[path] = Store(data_dir, name)
            except CniError as error:
                troubles[path] = error
    return list(found.values()), list(troubles.values())


def data_dirs(configured: Sequence[Network], environ: Mapping[str, str]) -> list[str]:
    """Return the known data directories: host-local's default, those configured, and those that earlier ADDs used."""
    found = [hostlocal.DATA_DIR, *(path for each in configured for path in networks.data_dirs(each, environ))]
    found += [each or hostlocal.DATA_DIR for each in records.data_dirs(environ)]
    return list(dict.fromkeys(map(os.path.normpath, found)))


def _order(address: str) -> tuple[int, int]:
    parsed = ipaddress.ip_address(address)
    return parsed.version, int(parsed)


def _is_store(path: str) -> bool:
    names = _names(path)
    return _LOCK in names or any(name.startswith(_LAST) for name in names) or any(hostlocal.leases(path))


def _names(directory: str) -> list[str]:
    """Return the names in a directory; none if it does not exist. Raises CniError."""
    try:
        return os.listdir(os.path.join(directory, "."))  # the dot needs permission to look at the files, too
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        what = f"see what it is: ls -ld {shlex.quote(directory)}"
        details = "run this as root" if isinstance(error, PermissionError) else what
        raise CniError(IO_FAILURE, f"{directory} cannot be read: {error.strerror}", details) from None
