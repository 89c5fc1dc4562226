"""Type kube-node: the ranges are the node's podCIDRs, or a list of CIDRs in one of its annotations."""

from __future__ import annotations

import os
import time

from plugin import process
from plugin.config import keys, settings, values
from plugin.entries import signature
from plugin.errors import INVALID_CONFIG, PLUGIN_FAILURE, CniError
from plugin.leases import delegate, hostlocal
from plugin.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from plugin.addresses.ranges import Ranges
    from plugin.cni import Request

NAME = "kube-node"
NEEDS_RECORD = False
PINNED = keys.PINNED
_WHERE = "ipam."
# Keys of host-local, each of which would add a range that is not this node's.
_RANGE_KEYS = ("ranges", *keys.RANGE)
_LEGACY_KEYS = frozenset(key.casefold() for key in keys.RANGE)
_OWN_KEYS = frozenset(key.name for key in keys.of(keys.KUBE_NODE)) - {"dataDir"}


def setup(request: Request) -> settings.Settings:
    """Return the settings that this request asks for. Raises CniError, also for a key that plan() would refuse."""
    ipam = request.ipam()
    label = _WHERE + "kubeconfig"
    try:
        found = keys.read(ipam, keys.KUBE_NODE, _WHERE)
        if not request.needs_no_ranges:
            _refuse_ranges(request)
            _check_fallback(found)
        return settings.read(request.environ, found, label, plugin=NAME, network=request.name)
    except CniError:
        if request.needs_no_ranges:
            return settings.for_release(request.environ, ipam, label)
        raise


def _refuse_ranges(request: Request) -> None:
    """Raise CniError for keys that name ranges, or that would name them if they were in ipam."""
    extra = [_WHERE + key for key in _RANGE_KEYS if key in request.ipam()] + keys.runtime_ranges(request.config)
    if extra:
        details = f"{NAME} takes the ranges from the Node; remove the key, or use host-local as the type"
        raise CniError(INVALID_CONFIG, f"'{extra[0]}' does not go with {NAME}", details)
    for key in keys.of(keys.KUBE_NODE):
        if key.decides_addresses and key.name in request.config:
            raise CniError(INVALID_CONFIG, f"'{key.name}' is not inside 'ipam'", f"move '{key.name}' into 'ipam'")


def _check_fallback(found: Mapping[str, Any]) -> None:
    if found["fallback"] and not found["annotation"]:
        details = f"remove it: without '{_WHERE}annotation', the ranges are spec.podCIDRs in any case"
        raise CniError(INVALID_CONFIG, f"'{_WHERE}fallback' goes with '{_WHERE}annotation', which is missing", details)


def plan(request: Request, chosen: settings.Settings) -> Plan:
    """Return host-local with the ranges of this node; the rest of the request is passed on. Raises CniError."""
    found = chosen.keys
    keys.warn(request.ipam(), keys.KUBE_NODE, chosen, request.name)
    kept = {key: value for key, value in request.ipam().items() if key not in _OWN_KEYS and value != ""}
    file = pinned_file(found["dataDir"], request.name)
    files = [(file, signature(file))]
    pinned = _read_pinned(file)
    if pinned is not None:
        if found["exclude"]:
            details = "leave the addresses out in that file, and remove 'exclude'; or remove the file"
            raise CniError(INVALID_CONFIG, f"'{_WHERE}exclude' does not apply to the ranges in {file}", details)
        made, until, source = {**kept, **pinned}, time.time() + chosen.cache_seconds, file
    else:
        from plugin.addresses import node_ranges
        from plugin.node import freshness

        facts, listed = node_ranges.find(found, chosen)
        made, until, source = {**kept, "ranges": listed}, facts.asked + chosen.cache_seconds, f"node {facts.name}"
        files += freshness.rests_on(chosen, facts)
        _warn_of_bridge(request, listed, chosen)
    made["type"] = hostlocal.NAME
    made["ranges"] = _limit_ipv4(request, found["ipv4-namespaces"], made["ranges"], source)
    config = {**request.config, "ipam": made}
    from plugin.leases import hostpaths

    files += hostpaths.check(config)
    return Plan(delegate.find(hostlocal.NAME, request.directories()), config, until, files)


def release(request: Request, chosen: settings.Settings) -> list[Plan]:
    """Return host-local with a placeholder range: it releases by container and interface. Raises CniError."""
    program = delegate.find(hostlocal.NAME, request.directories())
    return [Plan(program, hostlocal.release_config(request, each)) for each in data_dirs(request, chosen)]


def data_dirs(request: Request, _chosen: settings.Settings) -> list[str]:
    """Return the dataDir of today, and the one before kube-node.json named another. Raises CniError."""
    configured = values.path(request.ipam(), "dataDir", _WHERE)
    try:
        pinned = _read_pinned(pinned_file(configured, request.name)) or {}
        now = values.path(pinned, "dataDir", PINNED + ": ") or configured
    except CniError:  # a file that fails an ADD must not prevent a release
        now = configured
    is_left = now != configured and os.path.isdir(hostlocal.store(configured, request.name))
    return [now, configured] if is_left else [now]


def _limit_ipv4(request: Request, allowed: list[str] | None, found: Ranges, source: str) -> Ranges:
    """Return the ranges without IPv4 if the pod's namespace is not allowed to have it; None allows all."""
    if allowed is None:
        return found
    from plugin.addresses import ranges

    ipv6 = ranges.ipv6_only(found)
    namespace = process.argument(request.environ, "K8S_POD_NAMESPACE")
    if namespace in allowed or request.command != "ADD":  # STATUS is about all pods
        # IPv6 first: host-local remembers its last address by the range's place in this list.
        return ipv6 + [each for each in found if each not in ipv6]
    if not ipv6:
        msg = f"pods of namespace {namespace or '(unknown)'} get no IPv4 address, and {source} has no IPv6 range"
        details = f"give the node an IPv6 range, or add the namespace to '{_WHERE}ipv4-namespaces'"
        raise CniError(PLUGIN_FAILURE, msg, details)
    return ipv6


def _warn_of_bridge(request: Request, found: Ranges, chosen: settings.Settings) -> None:
    """Log once that a bridge with a gateway address cannot serve two IPv4 subnets: it has one IPv4 address."""
    config = request.config
    if config.get("type") != "bridge" or not (config.get("isGateway") or config.get("isDefaultGateway")):
        return
    for each in found:
        subnets = list(dict.fromkeys(entry["subnet"] for entry in each if ":" not in entry["subnet"]))
        if len(subnets) > 1:
            text = f"network {request.name}: a bridge with isGateway or isDefaultGateway serves one IPv4 subnet only"
            chosen.warn_once(
                f"bridge:{request.name}", f"{text}; ADD will fail for addresses of {', '.join(subnets[1:])}"
            )


def pinned_file(data_dir: str, network: str) -> str:
    """Return the file in which an operator can write the ranges, beside host-local's leases."""
    return os.path.join(data_dir or hostlocal.store("", network), PINNED)


def _read_pinned(path: str) -> dict[str, Any] | None:
    """Return the configuration that an operator wrote for this network, None if there is none. Raises CniError."""
    try:
        value = settings.read_json(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):  # the store of a network of that name
        return None
    pinned: dict[str, Any] = value if isinstance(value, dict) else {}
    extra = [key for key in pinned if key.casefold() in _LEGACY_KEYS]
    if extra:
        raise CniError(INVALID_CONFIG, f"'{extra[0]}' in {path} is not inside 'ranges'", "write it there")
    keys.read(pinned, keys.PINNED, f"{path}: ")
    sets = pinned.get("ranges")
    if not isinstance(sets, list) or not sets or not all(map(_is_range_set, sets)):
        details = 'remove it, or write {"type": "host-local", "ranges": [[{"subnet": "10.0.1.0/24"}]]}'
        raise CniError(INVALID_CONFIG, f"{path} is not a host-local configuration with ranges", details)
    return {key: value for key, value in pinned.items() if value not in ("", None)}


def _is_range_set(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)
