"""GC: release what is in no attachment, each lease by host-local's own DEL.

The runtime's list is one piece of evidence. A container that is not in it, but that is alive by other evidence, keeps
its leases: a runtime that has lost its state sends an empty list.

https://www.cni.dev/docs/spec/#gc-clean-up-any-stale-resources
"""

from __future__ import annotations

from plugin import cni, deadline, process
from plugin.errors import INVALID_CONFIG, PLUGIN_FAILURE, CniError
from plugin.leases import delegate, hostlocal, records, release

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from plugin.cni import Request
    from plugin.leases.hostlocal import Lease
    from plugin.log import Log

# The first is what libcni sends and the specification says today; the second is what version 1.1.0 of it said.
_KEYS = ("cni.dev/valid-attachments", "cni.dev/attachments")
_INTERFACE = "eth0"  # of a lease that names none: host-local before 0.8 then releases by the container alone
_DETAILS = 2000  # characters of trouble in one error


def collect(request: Request, program: str, data_dirs: Sequence[str], log: Log) -> None:
    """Release the stale leases of the request's network. Errors are collected and raised as one CniError.

    program: host-local.
    """
    valid = valid_attachments(request.config)
    if valid is None:
        return
    found = [(each, lease) for each in data_dirs for lease in _stale(hostlocal.store(each, request.name), valid)]
    alive = _alive([lease for _, lease in found], valid, request.environ)
    troubles = []
    attachments = dict.fromkeys((each, lease.container, lease.interface or _INTERFACE) for each, lease in found)
    for data_dir, container, interface in attachments:
        if container in alive:
            what = f"GC keeps the lease of a container that is not in the list: {alive[container]}"
            log.warning(what, container=container, interface=interface)
            continue
        try:
            environ = {**request.environ, "CNI_CONTAINERID": container, "CNI_IFNAME": interface, "CNI_NETNS": ""}
            release.run(program, "DEL", environ, hostlocal.release_config(request, data_dir), log)
            records.forget(request.environ, container, interface, request.name)
            log.info("stale lease released", container=container, interface=interface)
        except (CniError, delegate.Refused) as error:
            troubles.append(f"{container} {interface}: {error}")
        except deadline.DeadlineExceeded:
            raise delegate.no_answer(program) from None
    if troubles:
        msg = f"{len(troubles)} stale leases could not be released"
        raise CniError(PLUGIN_FAILURE, msg, "; ".join(troubles)[:_DETAILS])


def valid_attachments(config: dict[str, Any]) -> set[tuple[str, str]] | None:
    """Return (container, interface) of every attachment in use; None without a list. Raises CniError.

    null is Go's empty list: nothing is in use. libcni sends the list under both keys.
    """
    lists = [_attachments(key, config[key]) for key in _KEYS if key in config]
    if len(lists) == 2 and lists[0] != lists[1]:
        details = "nothing was released; send one of them, or the same list under both keys"
        raise CniError(INVALID_CONFIG, f"'{_KEYS[0]}' and '{_KEYS[1]}' contradict each other", details)
    return lists[0] if lists else None


def _attachments(key: str, listed: object) -> set[tuple[str, str]]:
    """Return the pairs in one list. Raises CniError."""
    pairs: set[tuple[Any, Any]] = set()
    if listed is None:
        return pairs
    for each in listed if isinstance(listed, list) else [None]:
        pair = (each.get("containerID"), each.get("ifname")) if isinstance(each, dict) else (None, None)
        if not all(isinstance(name, str) and name for name in pair):
            details = 'nothing was released; each entry is {"containerID": …, "ifname": …}'
            raise CniError(INVALID_CONFIG, f"'{key}' is not a list of attachments", details)
        pairs.add(pair)
    return pairs


def _stale(store: str, valid: set[tuple[str, str]]) -> Iterator[Lease]:
    """Return the leases of attachments that are not in the list, except those made since the request.

    host-local before 0.8 wrote the container only: such a lease is in use when any attachment has the container.
    """
    containers = {container for container, _interface in valid}
    for lease in hostlocal.leases(store):
        in_use = (lease.container, lease.interface) in valid if lease.interface else lease.container in containers
        # What is not a container's id, no DEL can name.
        if cni.is_identifier(lease.container) and not in_use and lease.reserved < process.STARTED:
            yield lease


def _alive(leases: Sequence[Lease], valid: set[tuple[str, str]], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the containers of these leases that are not in the list but may be alive, and why."""
    listed = {container for container, _interface in valid}
    unlisted = [lease for lease in leases if lease.container not in listed]
    if not unlisted:
        return {}
    from plugin.leases.evidence import verdict

    evidence = verdict.gather(environ)
    return {each.container: why for each in unlisted if (why := evidence.liveness(each) or evidence.hidden)}
