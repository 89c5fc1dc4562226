"""The table of all configuration keys, and the one place that checks them.

README's tables and the tests are compared with TABLE. A key that is not in it, and not one of host-local's, is looked
up in plugin.config.spelling: one that resembles a key of ours is an error, any other one is accepted.
"""

from __future__ import annotations

from plugin.config import values
from plugin.log import level

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from plugin.config.settings import Settings

    Check = Callable[[Mapping[str, Any], str, str], Any]

# Where a key can stand.
KUBE_NODE = "ipam of kube-node"
NODE_ANNOTATION = "ipam of node-annotation"
CONF = "node-annotation.conf"
PINNED = "kube-node.json"

LEVEL_REMEDY = "write info, debug or trace"

# host-local's keys for one range; plugins/ipam/host-local/backend/allocator/config.go.
RANGE = ("subnet", "rangeStart", "rangeEnd", "gateway")
# host-local's keys in ipam. It takes each of them in upper, lower or mixed case.
HOST_LOCAL = ("type", "name", "dataDir", "ranges", "routes", "resolvConf", *RANGE)


class Key:
    """A key, its checker, where it can stand, and its row in README."""

    def __init__(
        self, name: str, places: tuple[str, ...], check: Check, meaning: str, default: str, decides: bool = False
    ) -> None:
        self.name = name
        self.places = places
        self.check = check
        self.meaning = meaning
        self.default = default
        self.decides_addresses = decides  # whether a pod gets another address without it


_BOTH, _IPAM = (KUBE_NODE, CONF), (KUBE_NODE, NODE_ANNOTATION)
_PODS = "`spec.podCIDRs`; node-annotation requires the key"
_LOGFILE = "absolute path of a log, `NAME.log` or below `/var/log`: requests, new ranges, errors"
_HOST_LOCAL = "`host-local` beside this file or in `CNI_PATH`"
TABLE = (
    Key("annotation", _IPAM, values.annotation, "annotation of the Node with ranges", _PODS, True),
    Key("fallback", (KUBE_NODE,), values.fallback, '`"podCIDRs"`: use these if there is no annotation', "error", True),
    Key("exclude", (KUBE_NODE,), values.addresses, "addresses, CIDRs and `FIRST-LAST` to leave out", "none", True),
    Key("ipv4-namespaces", (KUBE_NODE,), values.names, "namespaces whose pods get IPv4; `[]` for none", "all", True),
    Key("dataDir", (KUBE_NODE, PINNED), values.path, "absolute path of the leases", "`/var/lib/cni/networks`"),
    Key("kubeconfig", _BOTH, values.path, "absolute path of the credentials for the API server", "the kubelet's own"),
    Key("nodeName", _BOTH, values.node_name, "name of this Node", "from the credentials, host name or machine-id"),
    Key("cacheSeconds", _BOTH, values.seconds, "seconds until ranges are queried again; `0` for each pod", "`30`"),
    Key("cacheDir", _BOTH, values.path, "absolute path of the cache", "`/run/node-ipam`, or `$NODE_IPAM_CACHE`"),
    Key("reclaim", _BOTH, values.switch, "release stale leases if a range is full", "`true`"),
    Key("logfile", (KUBE_NODE,), values.path, _LOGFILE, "no log"),
    Key("log", (CONF,), values.path, "absolute path of a log, with any name", "no log"),
    Key("loglevel", _BOTH, values.anything, "`info`, `debug` (source of the ranges) or `trace` (everything)", "`info`"),
    Key("nextipam", (CONF,), values.text, "next plugin: a path, or a name in `PATH` or `CNI_PATH`", _HOST_LOCAL),
    Key("type", (PINNED,), values.anything, "`host-local`", "`host-local`"),
    Key("ranges", (PINNED,), values.anything, "host-local's ranges, used in place of the Node's", "required"),
)
_PLACES = (KUBE_NODE, NODE_ANNOTATION, CONF, PINNED)
_OF = {place: tuple(key for key in TABLE if place in key.places) for place in _PLACES}
_KNOWN = {place: frozenset(key.name for key in found) | {"type"} for place, found in _OF.items()}
_KNOWN[KUBE_NODE] |= frozenset(HOST_LOCAL)
_KNOWN[PINNED] |= frozenset(HOST_LOCAL)


def of(place: str) -> tuple[Key, ...]:
    """Return the keys of this place, in the order of README."""
    return _OF[place]


def read(config: Mapping[str, Any], place: str, where: str) -> dict[str, Any]:
    """Return the value of each key of this place, checked. Raises CniError.

    where: the text before a key in messages, such as "ipam.".
    """
    unknown = [key for key in config if key not in _KNOWN[place]]
    if unknown:
        from plugin.config import spelling

        spelling.check(unknown, _OF[place], HOST_LOCAL if place in (KUBE_NODE, PINNED) else (), where)
    return {key.name: key.check(config, key.name, where) for key in _OF[place]}


def unknown(config: Mapping[str, Any], place: str) -> list[str]:
    """Return the keys that have no effect here; comments are left out."""
    from plugin.config import spelling

    return [key for key in config if key not in _KNOWN[place] and not spelling.is_comment(key)]


def misplaced(config: Mapping[str, Any], place: str) -> dict[str, str]:
    """Return the keys that have no effect here although one of our types takes them, each with its right place."""
    found = {key.name: key.places for key in TABLE if key.name in config and key.name not in _KNOWN[place]}
    right = {name: CONF if place != KUBE_NODE and CONF in places else places[0] for name, places in found.items()}
    if place == NODE_ANNOTATION:  # which drops host-local's keys, too: the annotation has them
        right.update({name: "the annotation" for name in HOST_LOCAL[1:] if name in config})
    return right


def runtime_ranges(config: Mapping[str, Any]) -> list[str]:
    """Return the key by which the runtime sends ranges of its own to host-local (capability ipRanges), if it does."""
    sent = config.get("runtimeConfig")
    found = [key for key in sent if key.casefold() == "ipranges" and sent[key]] if isinstance(sent, dict) else []
    return [f"runtimeConfig.{key}" for key in found]


def warn(config: Mapping[str, Any], place: str, chosen: Settings, network: str) -> None:
    """Log once for each network which keys have no effect, and a level that is unknown."""
    found = ", ".join(f"'{key}' (belongs into {right})" for key, right in sorted(misplaced(config, place).items()))
    if found:
        chosen.warn_once(f"keys:{network}", f"network {network}: keys without effect in {place}: {found}")
    fault = level_fault(chosen.keys)
    if fault:
        chosen.warn_once(f"loglevel:{network}", f"network {network}: {fault}; {LEVEL_REMEDY}")


def level_fault(config: Mapping[str, Any]) -> str:
    """Return what is wrong with 'loglevel'; "" if nothing is. No request fails by it: the Go plugin accepts any."""
    value = config.get("loglevel")
    return "" if value in (None, "") or level(value) else f"'loglevel' {str(value)[:80]!r} is unknown, info is used"
