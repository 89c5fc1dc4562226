"""host-local: its configuration, and its store on disk.

https://www.cni.dev/plugins/current/ipam/host-local/
"""

from __future__ import annotations

import os
import stat

from plugin.cni import is_interface
from plugin.regular import read_file, refuse_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from plugin.cni import Request

NAME = "host-local"
DATA_DIR = "/var/lib/cni/networks"
# DEL and CHECK find a lease by container and interface; the range only has to be a valid one. TEST-NET-1, RFC 5737.
PLACEHOLDER = [[{"subnet": "192.0.2.0/24"}]]
_BRIDGED = {"1.1.0": "1.0.0"}  # before 1.6 host-local knows nothing newer; the answers to both are the same
_EXHAUSTED = b"no IP addresses available in range set"  # backend/allocator/allocator.go


class Lease:
    """One file of the store: an address and its holder."""

    def __init__(self, address: str, container: str, interface: str, reserved: float, trouble: str = "") -> None:
        self.address = address
        self.container = container  # empty: host-local was killed before it wrote the id, or the disk lost it
        self.interface = interface  # empty: written by host-local before 0.8, or damaged
        self.reserved = reserved  # epoch seconds
        self.trouble = trouble  # why the holder is not known; empty if it is


def is_host_local(program: str) -> bool:
    """Return whether this program is host-local."""
    return os.path.basename(program) == NAME


def translate(program: str, config: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the configuration in a version that every host-local supports, and whether it was changed.

    That for another program is left alone.
    """
    version = _BRIDGED.get(config.get("cniVersion", "")) if is_host_local(program) else None
    return ({**config, "cniVersion": version}, True) if version else (config, False)


def release_config(request: Request, data_dir: str) -> dict[str, Any]:
    """Return the minimum that a DEL or CHECK needs. Nothing in it can have become invalid since the ADD."""
    ipam: dict[str, Any] = {"type": NAME, "ranges": PLACEHOLDER}
    if data_dir:
        ipam["dataDir"] = data_dir
    return {"cniVersion": request.version, "name": request.name, "ipam": ipam}


def store(data_dir: str, network: str) -> str:
    """Return the directory that holds the leases of a network."""
    return os.path.normpath(os.path.join(data_dir or DATA_DIR, network))


def store_of(config: dict[str, Any]) -> str:
    """Return the directory that holds the leases of the network of this configuration."""
    return store(config["ipam"].get("dataDir") or "", config["name"])


def is_exhausted(answer: bytes) -> bool:
    """Return whether this answer to an ADD says that a range is full."""
    return _EXHAUSTED in answer


def addresses(directory: str) -> list[str]:
    """Return the addresses that have a file in a store, besides lock, last_reserved_ip.N and foreign files.

    Raises CniError as refuse_shortage().
    """
    try:
        return sorted(filter(_is_address, os.listdir(directory)))
    except ValueError:  # no directory can have this name
        return []
    except OSError as error:
        refuse_shortage(directory, error)
        return []


def leases(directory: str) -> Iterator[Lease]:
    """Return every lease in a store."""
    return filter(None, (lease(directory, address) for address in addresses(directory)))


def leases_of(directory: str, environ: Mapping[str, str]) -> list[Lease]:
    """Return the leases in a store that the attachment in this environment has."""
    container, interface = environ["CNI_CONTAINERID"], environ["CNI_IFNAME"]
    found = leases(directory)
    return [each for each in found if (each.container, each.interface or interface) == (container, interface)]


def lease(directory: str, address: str) -> Lease | None:
    """Return the lease of this address in a store; None if there is none. Raises CniError as refuse_shortage()."""
    path, reserved = os.path.join(directory, address), 0.0
    try:
        status = os.lstat(path)
        reserved = status.st_mtime
        if stat.S_ISLNK(status.st_mode):  # to host-local the address is taken
            return Lease(address, "", "", reserved, f"{path} is a symbolic link, which is not followed")
        if not stat.S_ISREG(status.st_mode):
            return None
        text = read_file(path, 4096, os.O_NOFOLLOW).decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        refuse_shortage(path, error)
        return Lease(address, "", "", reserved, f"{path} cannot be read: {error.strerror}")
    return Lease(address, *_holder(text), reserved)


def _holder(text: str) -> tuple[str, str]:
    """Return container and interface. After a power failure, a file may contain only zeros; a name may be no text."""
    container, interface = (part.strip(" \t\r\n\0") for part in text.partition("\n")[::2])
    return container, interface if is_interface(interface) and "\ufffd" not in interface else ""


def _is_address(name: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return "%" not in name  # a scope, which an address of host-local does not have
