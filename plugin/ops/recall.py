"""The ranges of a network as far as they are known on this machine, without asking anyone."""

from __future__ import annotations

import json
import os

from plugin import hostlocal, kube_node, verbs
from plugin.cache import Cache, unpack
from plugin.errors import CniError
from plugin.facts import Facts
from plugin.log import Log
from plugin.ops import networks, spans
from plugin.ops.overlay import Overlay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from plugin.cni import Request
    from plugin.ops.networks import Network
    from plugin.ops.spans import Span
    from plugin.ops.stores import Store
    from plugin.settings import Settings

PREFIX = "node-"  # of the cache's names for what was learnt
# What plugin.node keeps facts under: how the configuration and the environment say to find the Node.
_KEY = ("kubeconfig", "nodeName", "KUBECONFIG", "HOME", "NODE_NAME")


class Memory:
    """What was learnt of the Node, and how it had been asked for. name: of the file in the cache."""

    __slots__ = ("facts", "key", "name")

    def __init__(self, name: str, facts: Facts, key: dict[str, str]) -> None:
        self.name = name
        self.facts = facts
        self.key = key

    def environ(self) -> dict[str, str]:
        """The variables that the runtime had then, which may not be those of an operator's shell."""
        return {name: self.key[name] for name in _KEY[2:]}


class Known:
    """Ranges, and who says so. When nobody knows them: why."""

    __slots__ = ("source", "spans", "trouble")

    def __init__(self, found: Sequence[Span], source: str, trouble: str = "") -> None:
        self.spans = list(found)
        self.source = source
        self.trouble = trouble


def memories(cache: Cache) -> list[Memory]:
    """Everything that is remembered of Nodes, the newest first."""
    return sorted(_memories(cache), key=lambda memory: memory.facts.asked, reverse=True)


def memory_for(settings: Settings) -> Memory | None:
    """What the runtime's last ADD with this configuration learnt."""
    same = (settings.kubeconfig, settings.node_name)
    fitting = [each for each in memories(settings.cache) if (each.key["kubeconfig"], each.key["nodeName"]) == same]
    # A time in the future is no age: the clock was set back.
    return next((each for each in fitting if each.facts.age() < float("inf")), None)


def ranges(store: Store, configured: Sequence[Network], environ: Mapping[str, str], bin_dirs: str) -> Known:
    """The ranges that a store's addresses come from, by the first configuration of it that tells."""
    trouble = "no CNI configuration names this network"
    for network in configured:
        if network.name != store.network or not network.type:
            continue
        if store.data_dir not in networks.data_dirs(network, environ, bin_dirs):
            trouble = "the configurations of this network name another dataDir"
            continue
        known = of_network(network, environ, bin_dirs)
        if known.spans:
            return known
        trouble = known.trouble
    return Known([], "", trouble)


def of_network(network: Network, environ: Mapping[str, str], bin_dirs: str) -> Known:
    """The ranges of one configured network."""
    if network.is_ours:
        try:
            return _remembered(network, environ, bin_dirs)
        except CniError as error:
            return Known([], "", error.msg)
    if network.type != hostlocal.NAME:
        return Known([], "", f"{network.type or 'no IPAM plugin'} does not keep its leases there")
    found = spans.of_ipam(network.ipam)
    return Known(found, network.source, "" if found else f"{network.source} names no range")


def pinned_file(network: Network) -> str:
    """The file by which an operator says the ranges of a kube-node network himself."""
    data_dir = network.ipam.get("dataDir")
    return os.path.join(str(data_dir or hostlocal.store("", network.name)), kube_node.PINNED)


def _remembered(network: Network, environ: Mapping[str, str], bin_dirs: str) -> Known:
    """What an ADD would hand over by what is in the cache. Raises CniError."""
    asked = networks.request(network, "STATUS", environ, bin_dirs)
    plugin = verbs.type_of(asked)
    settings = plugin.setup(asked)
    settings.log = Log()
    pinned = network.type == kube_node.NAME and os.path.exists(pinned_file(network))
    source = pinned_file(network)
    if not pinned:
        memory = memory_for(settings)
        if memory is None:
            return Known([], "", "nothing is known of the Node yet, or the cache belongs to another user")
        _adopt(memory, asked, settings)
        source = f"node {memory.facts.name}"
    found = spans.of_ipam(plugin.plan(asked, settings).config["ipam"])
    return Known(found, source, "" if found else f"{source} holds no range that host-local takes")


def _adopt(memory: Memory, asked: Request, settings: Settings) -> None:
    """Ask as the runtime did, so that the answer is what is remembered, and no server is asked."""
    asked.environ = settings.environ = {**asked.environ, **memory.environ()}
    settings.cache = Overlay(settings.cache)
    settings.cache_seconds = float("inf")
    settings.sparing = True


def _memories(cache: Cache) -> Iterator[Memory]:
    for name, _age in cache.names():
        body = cache.read(name) if name.startswith(PREFIX) else None
        if body:
            try:
                yield _memory(name, json.loads(body))
            except (ValueError, TypeError, KeyError):
                continue  # another version's


def _memory(name: str, stored: dict[str, Any]) -> Memory:
    values = [os.fsdecode(value) for value in unpack(bytes.fromhex(stored["key"]))]
    return Memory(name, Facts(**stored["entry"]), dict(zip(_KEY, values)))
