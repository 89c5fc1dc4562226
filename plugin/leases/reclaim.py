"""A full range: release the leases of containers that are certainly gone, so that the next pod gets an address.

Certainly gone means: the network namespace does not exist any more (or the lease is older than the last boot), no
process names the container, and the grace time has passed. A namespace that a killed containerd left mounted, without
a process in it, is removed first.
"""

from __future__ import annotations

import os

from plugin import deadline
from plugin.cache import Cache, location
from plugin.deadline import DeadlineExceeded
from plugin.errors import CniError
from plugin.leases import hostlocal, records
from plugin.leases.evidence import leftover, verdict
from plugin.leases.storelock import Locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from plugin.config.settings import Settings
    from plugin.leases.evidence.verdict import Evidence, Verdict
    from plugin.leases.hostlocal import Lease

_RESERVE = 3.0  # seconds kept for the second ADD
_SHOWN = 20  # addresses in one message


def make_room(config: dict[str, Any], chosen: Settings) -> list[Lease]:
    """Release what can be reclaimed in the store of this host-local configuration; return what was released.

    A failure is logged: the caller has to see host-local's own error.
    """
    released: list[Lease] = []
    network, store = str(config.get("name")), hostlocal.store(_data_dir(config), str(config.get("name")))
    try:
        with deadline.within(max(deadline.left() - _RESERVE, 0.0)):
            evidence = verdict.gather(chosen.environ)
            with Locked(store, deadline.left()):
                for lease, judged in dead(store, network, evidence):
                    if judged.leftover:
                        leftover.remove(judged.leftover)
                    os.unlink(os.path.join(store, lease.address))
                    released.append(lease)
                    records.forget(Cache(location(chosen.environ)), lease.container, lease.interface, network)
                    whose = {"container": lease.container, "interface": lease.interface}
                    chosen.log.info("lease reclaimed", address=lease.address, evidence=judged.evidence, **whose)
    except (CniError, OSError, DeadlineExceeded) as error:
        chosen.log.warning(f"a range is full; reclaiming leases failed: {str(error) or 'no time left'}")
    if released:
        shown = ", ".join(lease.address for lease in released[:_SHOWN])
        more = f" and {len(released) - _SHOWN} more" if len(released) > _SHOWN else ""
        chosen.log.warning(f"a range is full; reclaimed the leases of containers that are gone: {shown}{more}")
    return released


def dead(store: str, network: str, evidence: Evidence) -> list[tuple[Lease, Verdict]]:
    """The leases in a store whose containers are certainly gone."""
    leases = list(hostlocal.leases(store))
    return [pair for pair in zip(leases, evidence.judge(network, leases, named=True)) if pair[1].is_proof]


def _data_dir(config: dict[str, Any]) -> str:
    return str(config["ipam"].get("dataDir") or "")
