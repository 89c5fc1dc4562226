"""A full range: release the leases of containers that are certainly gone, so that the next pod gets an address.

Certainly gone means: the network namespace does not exist any more (or the lease is older than the last boot), no
process names the container, and the grace time has passed. A namespace that a killed containerd left mounted, without
a process in it, is removed first.
"""

from __future__ import annotations

import os

from plugin import deadline
from plugin.deadline import DeadlineExceeded
from plugin.errors import CniError
from plugin.leases import hostlocal, records
from plugin.leases.evidence import verdict
from plugin.leases.storelock import Locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from plugin.config.settings import Settings
    from plugin.leases.evidence.verdict import Evidence, Verdict
    from plugin.leases.hostlocal import Lease

_RESERVE = 3.0  # seconds kept for the second ADD
_SHOWN = 20  # addresses in one message
_MNT_DETACH = 2  # umount(2)


def make_room(config: dict[str, Any], chosen: Settings) -> list[str]:
    """Release what can be reclaimed in the store of this host-local configuration; return the addresses.

    A failure is logged: the caller has to see host-local's own error.
    """
    released: list[str] = []
    store = hostlocal.store_of(config)
    try:
        with deadline.within(max(deadline.left() - _RESERVE, 0.0)):
            evidence = verdict.gather(chosen.environ)
            with Locked(store, deadline.left()):
                for lease, judged in dead(store, evidence):
                    remove(store, lease, judged, chosen.environ)
                    released.append(lease.address)
                    whose = {"container": lease.container, "interface": lease.interface}
                    chosen.log.info("lease reclaimed", address=lease.address, evidence=judged.evidence, **whose)
    except (CniError, OSError, DeadlineExceeded) as error:
        chosen.log.warning(f"a range is full; reclaiming leases failed: {str(error) or 'no time left'}")
    if released:
        shown = ", ".join(released[:_SHOWN])
        more = f" and {len(released) - _SHOWN} more" if len(released) > _SHOWN else ""
        chosen.log.warning(f"a range is full; reclaimed the leases of containers that are gone: {shown}{more}")
    return released


def dead(store: str, evidence: Evidence) -> list[tuple[Lease, Verdict]]:
    """Return the leases in a store whose containers are certainly gone."""
    leases = list(hostlocal.leases(store))
    verdicts = evidence.judge(os.path.basename(store), leases, named=True)
    return [(lease, judged) for lease, judged in zip(leases, verdicts) if judged.is_proof]


def remove(store: str, lease: Lease, judged: Verdict, environ: Mapping[str, str]) -> None:
    """Remove a stale lease, after the network namespace that was left behind, and its record. Raises OSError.

    The caller holds the lock of the store.
    """
    if judged.leftover:
        _unmount(judged.leftover)
    os.unlink(os.path.join(store, lease.address))
    records.forget(environ, lease.container, lease.interface, os.path.basename(store))


def _unmount(path: str) -> None:
    """Unmount a network namespace and remove its file, as the runtime does. Raises OSError."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if os.path.ismount(path) and libc.umount2(os.fsencode(path), _MNT_DETACH):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    if os.path.lexists(path):
        os.unlink(path)
