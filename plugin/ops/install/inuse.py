"""The networks that need the plugin: they are configured with a type of ours, and have leases."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugin import kube_node, node_annotation
from plugin.config import values
from plugin.entries import location
from plugin.errors import CniError
from plugin.leases import hostlocal, records
from plugin.leases.hostlocal import Lease
from plugin.ops.install.root import Root
from plugin.ops.networks import networks
from plugin.ops.networks.configurations import Network

_SHOWN = 5  # leases of a network in a message


@dataclass(frozen=True)
class Held:
    """A store with leases that only this plugin can release. origin: where the network is defined."""

    store: str
    origin: str
    leases: Sequence[Lease]

    def __str__(self) -> str:
        shown = ", ".join(f"{each.address} ({each.container[:12] or 'empty'})" for each in self.leases[:_SHOWN])
        more = f", and {len(self.leases) - _SHOWN} more" if len(self.leases) > _SHOWN else ""
        return f"network {os.path.basename(self.store)} ({self.origin}): leases in {self.store}: {shown}{more}"


def held(root: Root, wanted: Sequence[Network], environ: Mapping[str, str]) -> list[Held]:
    """Return each store with leases of these networks, or of a recorded attachment: Multus, or a removed file."""
    places = [(each, network) for network in wanted for each in _data_dirs(root, network, environ)]
    origins = {hostlocal.store(root.outside(each), network.name): network.source for each, network in places}
    found = [Held(store, origin, list(hostlocal.leases(store))) for store, origin in origins.items()]
    pods = {(each.store, each.container) for each in records.everything(environ)} if root.is_own() else set()
    for store in sorted({store for store, _ in pods} - {"", *origins}):
        leases = [each for each in hostlocal.leases(store) if (store, each.container) in pods]
        found.append(Held(store, "in no CNI configuration", leases))
    return [each for each in found if each.leases]


def caches(root: Root, wanted: Sequence[Network], environ: Mapping[str, str]) -> list[str]:
    """Return the cache directory, and each cacheDir that is configured; of another machine, kube-node's only."""
    found = [location(environ), *(_path(each.ipam, "cacheDir") for each in wanted if each.type == kube_node.NAME)]
    with contextlib.suppress(CniError):
        found += [_path(node_annotation.read_config(environ), "cacheDir")] if root.is_own() else []
    return list(dict.fromkeys(map(root.outside, filter(None, found))))


def _data_dirs(root: Root, network: Network, environ: Mapping[str, str]) -> list[str]:
    """Return where the leases may be; of another machine's node-annotation only the default place is known."""
    if root.is_own():
        return networks.data_dirs(network, environ)
    named = _path(network.ipam, "dataDir") if network.type == kube_node.NAME else ""
    return [named or hostlocal.DATA_DIR]


def _path(config: Mapping[str, Any], key: str) -> str:
    """Return the path under a key; "" if there is none, or a value that is refused."""
    try:
        return values.path(config, key, "")
    except CniError:
        return ""
