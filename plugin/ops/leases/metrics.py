"""Metrics for node_exporter's textfile collector.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

from plugin.ops import output
from plugin.ops.leases import stores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugin.ops.leases.usage import Usage


def show(usages: Sequence[Usage]) -> None:
    """Print all metrics."""
    ranges = [(_labels(usage, range=str(span)), usage, span) for usage in usages for span in usage.known.spans]
    _metric(
        "node_ipam_range_addresses",
        "Addresses that host-local can allocate from a range.",
        [(labels, span.total) for labels, _usage, span in ranges],
    )
    _metric(
        "node_ipam_range_used_addresses",
        "Addresses of a range that are leased.",
        [(labels, len(usage.inside(span))) for labels, usage, span in ranges],
    )
    _metric(
        "node_ipam_leases",
        "Leases by state: used, new, stale, empty, or unknown if the evidence is incomplete.",
        [(_labels(usage, state=state), usage.count(state)) for usage in usages for state in stores.STATES],
    )


def _metric(name: str, text: str, samples: Sequence[tuple[str, int]]) -> None:
    output.line(f"# HELP {name} {text}")
    output.line(f"# TYPE {name} gauge")
    for labels, value in samples:
        output.line(f"{name}{{{labels}}} {value}")


def _labels(usage: Usage, **more: str) -> str:
    values = {"network": usage.store.network, "store": usage.store.path, **more}
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
