"""GC: release what no attachment holds any more, each lease by host-local's own DEL.

https://www.cni.dev/docs/spec/#gc-clean-up-any-stale-resources
"""

from __future__ import annotations

from plugin import cni, delegate, hostlocal, process
from plugin.errors import INVALID_CONFIG, PLUGIN_FAILURE, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from plugin.cni import Request
    from plugin.log import Log

# The first is what libcni sends and the specification says today; the second is what version 1.1.0 of it said.
_KEYS = ("cni.dev/valid-attachments", "cni.dev/attachments")
_TOLD = 2000  # characters of trouble in one error


def collect(request: Request, data_dirs: Sequence[str], log: Log) -> None:
    """Release the stale leases of the request's network; go on past errors, then raise one CniError of them all."""
    valid = valid_attachments(request.config)
    if valid is None:
        return
    troubles = []
    for data_dir in data_dirs:
        for container, interface in stale(hostlocal.store(data_dir, request.name), valid, process.STARTED):
            try:
                _free(request, data_dir, container, interface)
                log.info("stale lease released", container=container, interface=interface)
            except (CniError, delegate.Refused) as error:
                troubles.append(f"{container} {interface}: {error}")
    if troubles:
        msg = f"{len(troubles)} stale leases could not be released"
        raise CniError(PLUGIN_FAILURE, msg, "; ".join(troubles)[:_TOLD])


def valid_attachments(config: dict[str, Any]) -> set[tuple[str, str]] | None:
    """(container, interface) of every attachment in use; None when the caller does not say. Raises CniError.

    null is Go's empty list: nothing is in use.
    """
    key = next((key for key in _KEYS if key in config), None)
    if key is None:
        return None
    listed = [] if config[key] is None else config[key]
    pairs: set[tuple[Any, Any]] = set()
    for each in listed if isinstance(listed, list) else [None]:
        pair = (each.get("containerID"), each.get("ifname")) if isinstance(each, dict) else (None, None)
        if not all(isinstance(name, str) and name for name in pair):
            details = 'nothing was released; each entry is {"containerID": …, "ifname": …}'
            raise CniError(INVALID_CONFIG, f"'{key}' is not a list of attachments", details)
        pairs.add(pair)
    return pairs


def stale(store: str, valid: set[tuple[str, str]], started: float) -> list[tuple[str, str]]:
    """The attachments that hold leases and are not in use; what was reserved since the question came is left alone.

    host-local before 0.8 wrote the container only: such a lease is in use when any attachment has the container.
    """
    containers = {container for container, _interface in valid}
    found = {}
    for lease in hostlocal.leases(store):
        in_use = (lease.container, lease.interface) in valid if lease.interface else lease.container in containers
        # What is no container's id, no DEL can name.
        if cni.is_identifier(lease.container) and not in_use and lease.reserved < started:
            found[lease.container, lease.interface or "eth0"] = True
    return list(found)


def _free(request: Request, data_dir: str, container: str, interface: str) -> None:
    program = delegate.find(hostlocal.NAME, request.directories())
    config, _ = hostlocal.translate(hostlocal.release_config(request, data_dir))
    whose = {"CNI_CONTAINERID": container, "CNI_IFNAME": interface, "CNI_NETNS": ""}
    delegate.run_silent(program, "DEL", {**hostlocal.release_environ(request.environ), **whose}, cni.encode(config))
