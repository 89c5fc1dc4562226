"""STATUS: warn that a range fills up with leases of containers that are gone, before it is full."""

from __future__ import annotations

import os
import time

from plugin.entries import name_of
from plugin.errors import CniError
from plugin.leases import hostlocal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from plugin.config.settings import Settings

_PREFIX = "dead-"  # of the cache's name for what was found last
_PERIOD = 300.0  # seconds between two looks
_SHARE = 0.5  # of a range, from which on it is looked at


def warn(config: dict[str, Any], chosen: Settings) -> None:
    """Log how many leases a full range would reclaim; once per period, as a warning if the number has changed."""
    store = hostlocal.store_of(config)
    try:
        _count_dead(config, chosen, store)
    except CniError as error:  # out of open files or memory: an ADD may work all the same
        chosen.log.warning(f"leases in {store} cannot be judged: {error.msg}")


def _count_dead(config: dict[str, Any], chosen: Settings, store: str) -> None:
    leased = hostlocal.addresses(store)
    if not leased:
        return
    marker = _PREFIX + name_of(os.fsencode(store))
    when, count = map(float, (chosen.cache.read(marker) or b"0 0").split())
    if 0 <= time.time() - when < _PERIOD or not _is_filling(config, leased):
        return
    if not chosen.cache.write(marker, b"%f %d" % (time.time(), count)):
        return
    from plugin.leases import reclaim
    from plugin.leases.evidence import verdict

    found = len(reclaim.dead(store, verdict.gather(chosen.environ)))
    chosen.cache.write(marker, b"%f %d" % (time.time(), found))
    if found:
        record = chosen.log.debug if found == count else chosen.log.warning
        when_full = "a full range reclaims them" if chosen.reclaim else "'reclaim' is false"
        record(f"{found} leases in {store} are of containers that are gone: {when_full}, gc --yes releases them now")


def _is_filling(config: dict[str, Any], leased: list[str]) -> bool:
    import ipaddress

    from plugin.addresses import spans

    used = [ipaddress.ip_address(address) for address in leased]
    return any(sum(each in span for each in used) >= _SHARE * span.total for span in spans.of_ipam(config["ipam"]))
