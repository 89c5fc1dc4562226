"""Refuse an address that an attachment of this machine holds in another store."""

from __future__ import annotations

import os

from plugin import cni
from plugin.errors import TRY_AGAIN_LATER, CniError
from plugin.leases import hostlocal, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plugin.leases.hostlocal import Lease


def refuse(answer: bytes, store: str, environ: Mapping[str, str]) -> None:
    """Raise CniError if another store of this machine has a lease of an address in this result of an ADD.

    The stores are looked up now: each ADD records its own first. Of two ADDs at once, the later sees the other's lease.
    """
    network = os.path.basename(store)
    for other in records.other_stores(environ, store, network):
        for address in _addresses(answer):
            holder = hostlocal.lease(other, address)
            is_own = _is_same_file(os.path.join(store, address), os.path.join(other, address))
            if holder and (holder.container or holder.trouble) and not is_own and not _is_dead(other, holder, environ):
                why = holder.trouble or f"container {holder.container} {holder.interface} holds it in {other}"
                msg = f"{address} is in use: {why}"
                details = (
                    f"the new lease in {store} was released. Give the networks ranges that do not overlap, and a "
                    f"network one dataDir; or first delete the pods that have their addresses from {other}"
                )
                raise CniError(TRY_AGAIN_LATER, msg, details)


def _is_dead(store: str, holder: Lease, environ: Mapping[str, str]) -> bool:
    """Return whether the container that holds a lease is certainly gone."""
    from plugin.leases.evidence import verdict

    (judged,) = verdict.gather(environ).judge(os.path.basename(store), [holder])
    return judged.is_proof and not judged.leftover


def _addresses(answer: bytes) -> Iterator[str]:
    result = cni.decode(answer)
    # Before CNI 0.3.0: {"ip4": {"ip": "10.9.0.2/24"}}
    listed = result.get("ips") or [result.get("ip4"), result.get("ip6")]
    for each in listed if isinstance(listed, list) else ():
        found = each.get("address") or each.get("ip") if isinstance(each, dict) else ""
        address = str(found).partition("/")[0]
        if address and not address.strip("0123456789abcdef.:"):
            yield address


def _is_same_file(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False
