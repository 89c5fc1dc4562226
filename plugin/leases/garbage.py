"""GC: release what is in no attachment, each lease by host-local's own DEL.

The runtime's list is one piece of evidence. A container that is not in it, but that is alive by other evidence, keeps
its leases: a runtime that has lost its state sends an empty list.

https://www.cni.dev/docs/spec/#gc-clean-up-any-stale-resources
"""

from __future__ import annotations

from plugin import cni, process
from plugin.cache import Cache, location
from plugin.errors import INVALID_CONFIG, PLUGIN_FAILURE, CniError
from plugin.leases import delegate, hostlocal, records, release

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from plugin.cni import Request
    from plugin.leases.hostlocal import Lease
    from plugin.log import Log

# The first is what libcni sends and the specification says today; the second is what version 1.1.0 of it said.
_KEYS = ("cni.dev/valid-attachments", "cni.dev/attachments")
_TOLD = 2000  # characters of trouble in one error


def collect(request: Request, data_dirs: Sequence[str], log: Log) -> None:
    """Release the stale leases of the request's network. Errors are collected and raised as one CniError."""
    valid = valid_attachments(request.config)
    if valid is None:
        return
    found = {each: stale(hostlocal.store(each, request.name), valid, process.STARTED) for each in data_dirs}
    held = [lease for pairs in found.values() for leases in pairs.values() for lease in leases]
    alive = _alive(held, valid, request.environ)
    troubles = []
    for data_dir, (container, interface) in [(data_dir, pair) for data_dir, pairs in found.items() for pair in pairs]:
        if container in alive:
            what = f"GC keeps the lease of a container that is not in the list: {alive[container]}"
            log.warning(what, container=container, interface=interface)
            continue
        try:
            _free(request, data_dir, container, interface)
            records.forget(Cache(location(request.environ)), container, interface, request.name)
            log.info("stale lease released", container=container, interface=interface)
        except (CniError, delegate.Refused) as error:
            troubles.append(f"{container} {interface}: {error}")
    if troubles:
        msg = f"{len(troubles)} stale leases could not be released"
        raise CniError(PLUGIN_FAILURE, msg, "; ".join(troubles)[:_TOLD])


def valid_attachments(config: dict[str, Any]) -> set[tuple[str, str]] | None:
    """Return (container, interface) of every attachment in use; None without a list. Raises CniError.

    null is Go's empty list: nothing is in use. libcni sends the list under both keys.
    """
    lists = [_attachments(key, config[key]) for key in _KEYS if key in config]
    if len(lists) == 2 and lists[0] != lists[1]:
        details = "nothing was released; send one of them, or the same list under both keys"
        raise CniError(INVALID_CONFIG, f"'{_KEYS[0]}' and '{_KEYS[1]}' contradict each other", details)
    return lists[0] if lists else None


def stale(store: str, valid: set[tuple[str, str]], started: float) -> dict[tuple[str, str], list[Lease]]:
    """Return the attachments that are not in the list, with their leases, except those made since the request.

    host-local before 0.8 wrote the container only: such a lease is in use when any attachment has the container.
    """
    containers = {container for container, _interface in valid}
    found: dict[tuple[str, str], list[Lease]] = {}
    for lease in hostlocal.leases(store):
        in_use = (lease.container, lease.interface) in valid if lease.interface else lease.container in containers
        # What is not a container's id, no DEL can name.
        if cni.is_identifier(lease.container) and not in_use and lease.reserved < started:
            found.setdefault((lease.container, lease.interface or "eth0"), []).append(lease)
    return found


def _attachments(key: str, listed: object) -> set[tuple[str, str]]:
    """Return the pairs in one list. Raises CniError."""
    pairs: set[tuple[Any, Any]] = set()
    for each in listed if isinstance(listed, list) else [] if listed is None else [None]:
        pair = (each.get("containerID"), each.get("ifname")) if isinstance(each, dict) else (None, None)
        if not all(isinstance(name, str) and name for name in pair):
            details = 'nothing was released; each entry is {"containerID": …, "ifname": …}'
            raise CniError(INVALID_CONFIG, f"'{key}' is not a list of attachments", details)
        pairs.add(pair)
    return pairs


def _alive(leases: Sequence[Lease], valid: set[tuple[str, str]], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the containers of these leases that are not in the list but may be alive, and why."""
    listed = {container for container, _interface in valid}
    unlisted = [lease for lease in leases if lease.container not in listed]
    if not unlisted:
        return {}
    from plugin.leases.evidence import verdict

    evidence = verdict.gather(environ)
    return {each.container: why for each in unlisted if (why := evidence.liveness(each) or evidence.hidden)}


def _free(request: Request, data_dir: str, container: str, interface: str) -> None:
    program = delegate.find(hostlocal.NAME, request.directories())
    config, _ = hostlocal.translate(hostlocal.release_config(request, data_dir))
    whose = {"CNI_CONTAINERID": container, "CNI_IFNAME": interface, "CNI_NETNS": ""}
    release.run(program, "DEL", {**hostlocal.release_environ(request.environ), **whose}, config)
