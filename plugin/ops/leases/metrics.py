"""Metrics for node_exporter's textfile collector."""

from __future__ import annotations

from plugin.leases.evidence.verdict import STATES
from plugin.ops import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugin.ops.leases.usage import Usage


def show(usages: Sequence[Usage]) -> None:
    """Print all metrics."""
    ranges = [(_labels(usage, range=str(span)), usage, span) for usage in usages for span in usage.known.spans]
    output.gauge(
        "node_ipam_range_addresses",
        "Addresses that host-local can allocate from a range.",
        [(labels, span.total) for labels, _usage, span in ranges],
    )
    output.gauge(
        "node_ipam_range_used_addresses",
        "Addresses of a range that are leased.",
        [(labels, len(usage.inside(span))) for labels, usage, span in ranges],
    )
    output.gauge(
        "node_ipam_leases",
        "Leases by state: used, new, stale, empty, or unknown if the evidence is incomplete.",
        [(_labels(usage, state=state), usage.count(state)) for usage in usages for state in STATES],
    )


def _labels(usage: Usage, **more: str) -> dict[str, str]:
    return {"network": usage.store.network, "store": usage.store.path, **more}
