"""The networks that need the plugin: they are configured with a type of ours, and have leases."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from plugin import kube_node, node_annotation
from plugin.cache import location
from plugin.config import values
from plugin.errors import CniError
from plugin.leases import hostlocal, records
from plugin.ops.networks import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from plugin.leases.hostlocal import Lease
    from plugin.ops.install.root import Root
    from plugin.ops.networks.configurations import Network

_SHOWN = 5  # leases of a network in a message


def configured(root: Root, conf_dir: str) -> list[Network]:
    """Return the networks of ours that the machine's CNI configurations define."""
    found, _troubles = networks.scan(root.outside(os.path.abspath(conf_dir)))
    return [each for each in found if each.is_ours]


@dataclass(frozen=True)
class Held:
    """A store with leases that only this plugin can release. origin: where the network is defined."""

    data_dir: str
    network: str
    origin: str
    leases: Sequence[Lease]

    def __str__(self) -> str:
        shown = ", ".join(f"{each.address} ({each.container[:12] or 'empty'})" for each in self.leases[:_SHOWN])
        more = f", and {len(self.leases) - _SHOWN} more" if len(self.leases) > _SHOWN else ""
        store = hostlocal.store(self.data_dir, self.network)
        return f"network {self.network} ({self.origin}): leases in {store}: {shown}{more}"


def with_leases(root: Root, wanted: list[Network], environ: Mapping[str, str]) -> list[Held]:
    """Return each store of these networks that has leases."""
    found: dict[str, Held] = {}
    for network in wanted:
        for each in _data_dirs(root, network, environ):
            data_dir = root.outside(each)
            store = hostlocal.store(data_dir, network.name)
            leases = list(hostlocal.leases(store))
            if leases:
                found[store] = Held(data_dir, network.name, network.source, leases)
    return list(found.values())


def attached(environ: Mapping[str, str], known: Sequence[Held]) -> list[Held]:
    """Return each other store with the lease of a recorded attachment: Multus, or a removed file."""
    seen = {hostlocal.store(each.data_dir, each.network) for each in known}
    pods = {(each.store, each.container) for each in records.everything(environ)}
    found = []
    for store in sorted({store for store, _ in pods} - {"", *seen}):
        leases = [each for each in hostlocal.leases(store) if (store, each.container) in pods]
        if leases:
            data_dir, network = os.path.split(store)
            found.append(Held(data_dir, network, "in no CNI configuration", leases))
    return found


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
