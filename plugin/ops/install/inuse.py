"""The networks that need the plugin: they are configured with a type of ours, and have leases."""

from __future__ import annotations

import os

from plugin import kube_node
from plugin.cache import Cache, location
from plugin.leases import hostlocal, records
from plugin.ops.networks import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugin.ops.install.root import Root
    from plugin.ops.networks.networks import Network

_SHOWN = 5  # leases of a network in a message


def configured(root: Root, conf_dir: str) -> list[Network]:
    """Return the networks of ours that the machine's CNI configurations define."""
    found, _troubles = networks.scan(root.outside(os.path.abspath(conf_dir)))
    return [each for each in found if each.is_ours]


def with_leases(root: Root, wanted: list[Network], environ: Mapping[str, str], bin_dir: str) -> list[str]:
    """Return a line for each store of these networks that has leases."""
    found: dict[str, str] = {}
    for network in wanted:
        for data_dir in _data_dirs(root, network, environ, bin_dir):
            store = root.outside(hostlocal.store(data_dir, network.name))
            leases = list(hostlocal.leases(store))
            if leases:
                shown = ", ".join(f"{each.address} ({each.container[:12] or 'empty'})" for each in leases[:_SHOWN])
                more = f", and {len(leases) - _SHOWN} more" if len(leases) > _SHOWN else ""
                found[store] = f"network {network.name} ({network.source}): leases in {store}: {shown}{more}"
    return list(found.values())


def attached(environ: Mapping[str, str], known: list[str]) -> list[str]:
    """Return a line for each other network with a recorded attachment whose lease exists: Multus, or a removed file."""
    found: dict[str, list[str]] = {}
    for record in records.everything(Cache(location(environ))):
        holders = {each.container for each in hostlocal.leases(record.store)} if record.store else set()
        if record.container in holders and not any(f"leases in {record.store}:" in line for line in known):
            found.setdefault(record.network, []).append(f"{record.container[:12]} {record.interface}")
    return [
        f"network {network} (in no CNI configuration): attached: {', '.join(pods[:_SHOWN])}"
        for network, pods in found.items()
    ]


def _data_dirs(root: Root, network: Network, environ: Mapping[str, str], bin_dir: str) -> list[str]:
    """Return where the leases may be; of another machine's node-annotation only the default place is known."""
    if root.is_own():
        return networks.data_dirs(network, environ, bin_dir)
    named = network.ipam.get("dataDir") if network.type == kube_node.NAME else None
    return [named if isinstance(named, str) and named else hostlocal.DATA_DIR]
