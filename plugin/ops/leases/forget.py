"""Forget released leases: our own records of them, and libcni's results of their containers."""

from __future__ import annotations

import os

from plugin.cache import Cache, location
from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.leases import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from plugin.leases.evidence.verdict import Evidence
    from plugin.leases.hostlocal import Lease


def record(lease: Lease, network: str) -> None:
    """Remove the record of the attachment that had this lease."""
    records.forget(Cache(location(os.environ)), lease.container, lease.interface, network)


def results(evidence: Evidence, containers: Iterable[str], troubles: list[CniError]) -> list[str]:
    """Remove the results that name these containers; returns their paths."""
    removed = []
    for result in (each for container in sorted(containers) for each in evidence.results.of(container)):
        try:
            os.unlink(result.path)
            removed.append(result.path)
        except FileNotFoundError:
            continue
        except OSError as error:
            msg = f"{result.path} cannot be removed: {error.strerror}"
            troubles.append(CniError(PLUGIN_FAILURE, msg, "run this as root"))
    return removed
