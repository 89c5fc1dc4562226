"""Check the paths that host-local uses as root: where it makes a store, and the file whose lines reach pods."""

from __future__ import annotations

import os
import stat

from plugin.config import directories, trust
from plugin.entries import signature
from plugin.errors import INVALID_CONFIG, CniError
from plugin.leases import hostlocal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ADVICE = "write a directory for leases alone, such as /run/container-ipam-state/NETWORK"


def check(config: dict[str, Any]) -> list[tuple[str, str]]:
    """Raise CniError if this configuration for host-local has a dataDir or resolvConf that must not be used.

    Returns the files that were looked at, each with its entries.signature().
    """
    files = []
    for key, value in config["ipam"].items():
        if not isinstance(value, str) or not value:
            continue
        if key.casefold() == "datadir":
            if fault := directories.fault(value) or directories.fault(hostlocal.store(value, config["name"])):
                raise CniError(INVALID_CONFIG, f"dataDir {value} is {fault}", _ADVICE)
        elif key.casefold() == "resolvconf":
            files.append((value, signature(value)))
            _check_resolv_conf(value)
    return files


def _check_resolv_conf(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # which host-local reports
        return
    if not stat.S_ISREG(mode) or not mode & stat.S_IROTH or trust.is_pods(os.path.realpath(path)):
        what = f"resolvConf {path} is not a file that all users of this machine can read: its lines reach pods"
        raise CniError(INVALID_CONFIG, what, "name a public file, such as /etc/resolv.conf")
