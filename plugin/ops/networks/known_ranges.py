"""The ranges of a network as they are known on this machine, without a query."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from plugin import kube_node, verbs
from plugin.addresses import spans
from plugin.addresses.spans import Span
from plugin.cache import Cache
from plugin.cni import Request
from plugin.config.settings import Settings
from plugin.errors import CniError
from plugin.facts import Facts
from plugin.leases import hostlocal
from plugin.log import Log
from plugin.node import memory
from plugin.node.identity import machine_id
from plugin.ops.leases.stores import Store
from plugin.ops.networks import networks
from plugin.ops.networks.configurations import Network
from plugin.ops.networks.overlay import Overlay


@dataclass(frozen=True)
class CachedNode:
    """Facts of a Node in the cache, and how it was found. name: of the file."""

    name: str
    facts: Facts
    way: dict[str, str]


@dataclass(frozen=True)
class Known:
    """Ranges and their source; trouble: why they are unknown. data_dir: where their leases are, if they are known."""

    spans: list[Span] = field(default_factory=list)
    source: str = ""
    trouble: str = ""
    data_dir: str = ""


def cached_nodes(cache: Cache) -> list[CachedNode]:
    """Return all facts of Nodes in a cache, the newest first."""
    found = []
    for name, _age in cache.names():
        body = cache.read(name) if name.startswith(memory.PREFIX) else None
        if body:
            with contextlib.suppress(ValueError, TypeError, KeyError):  # another version's
                found.append(CachedNode(name, *memory.decode(body)))
    return sorted(found, key=lambda each: each.facts.asked, reverse=True)


def last_cached(settings: Settings, cache: Cache) -> CachedNode | None:
    """Return what the runtime's last ADD with this configuration learnt.

    A variable of the environment may have named another kubeconfig or Node in other ADDs: entries with the variables of
    this process come first. If there is none, the runtime has other variables than this shell.
    """
    same = {"kubeconfig": settings.kubeconfig, "nodeName": settings.node_name, "machineID": machine_id()}.items()
    # A time in the future is no age: the clock was set back.
    fitting = [each for each in cached_nodes(cache) if same <= each.way.items() and each.facts.age() < float("inf")]

    def differences(one: CachedNode) -> int:
        return sum(one.way[name] != settings.environ.get(name, "") for name in ("KUBECONFIG", "NODE_NAME"))

    return min(fitting, key=differences, default=None)


def ranges(store: Store, configured: Sequence[Network], environ: Mapping[str, str]) -> Known:
    """Return the ranges of a store, by the first configuration that has them."""
    trouble = "no CNI configuration names this network"
    for network in configured:
        if network.name != store.network or not network.type:
            continue
        places = [hostlocal.store(each, network.name) for each in networks.data_dirs(network, environ)]
        if store.path not in places:
            trouble = "the configurations of this network name another dataDir"
            continue
        known = of_network(network, environ)
        if known.spans:
            return known
        trouble = known.trouble
    return Known(trouble=trouble)


def of_network(network: Network, environ: Mapping[str, str], fresh: Overlay | None = None) -> Known:
    """Return the ranges of one configured network. fresh: a cache with a Node that was just read."""
    if network.is_ours:
        try:
            return _remembered(network, environ, fresh)
        except CniError as error:
            return Known(trouble=error.msg)
    if network.type != hostlocal.NAME:
        return Known(trouble=f"{network.type or 'no IPAM plugin'} does not keep its leases there")
    found = spans.of_ipam(network.ipam)
    trouble = "" if found else f"{network.source} names no range"
    return Known(found, network.source, trouble, str(network.ipam.get("dataDir") or ""))


def pinned_file(network: Network) -> str:
    """Return the file whose ranges replace those of the Node; empty if there is none."""
    path = kube_node.pinned_file(str(network.ipam.get("dataDir") or ""), network.name)
    return path if network.type == kube_node.NAME and os.path.isfile(path) else ""


def runtime_request(network: Network, command: str, environ: Mapping[str, str]) -> tuple[Request, Settings]:
    """Return a runtime's request for this network and its settings, before anything is queried. Raises CniError.

    Without variables in environ that choose a Node, those of the runtime's last ADD count.
    """
    asked, settings = networks.setup(network, command, environ)
    last = last_cached(settings, settings.cache)
    if last is None or any(environ.get(name) for name in networks.PERSONAL):
        return asked, settings
    return networks.setup(network, command, {**environ, **memory.variables(last.way)})


def _remembered(network: Network, environ: Mapping[str, str], fresh: Overlay | None) -> Known:
    """Return the ranges that an ADD would use by the cache. Raises CniError."""
    asked, settings = networks.setup(network, "STATUS", environ)
    settings.log = Log()
    source = pinned_file(network)
    if not source:
        last = last_cached(settings, fresh) if fresh else None
        settings.cache = fresh if last and fresh else settings.cache
        last = last or last_cached(settings, settings.cache)
        if last is None:
            return Known(trouble="nothing is known of the Node yet, or the cache belongs to another user")
        # The runtime's variables may differ from this shell's.
        asked.environ = settings.environ = {**asked.environ, **memory.variables(last.way)}
        settings.cache, settings.is_offline = Overlay(settings.cache), True
        source = f"node {last.facts.name}"
    ipam = verbs.type_of(asked).plan(asked, settings).config["ipam"]
    found = spans.of_ipam(ipam)
    trouble = "" if found else f"{source} holds no range that host-local takes"
    return Known(found, source, trouble, str(ipam.get("dataDir") or ""))
