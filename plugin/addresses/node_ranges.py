"""The ranges of this node, by the keys `annotation`, `fallback` and `exclude`."""

from __future__ import annotations

from plugin.addresses import exclusion, ranges
from plugin.facts import POD_CIDRS, place
from plugin.node import freshness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from plugin.addresses.ranges import Ranges
    from plugin.config.settings import Settings
    from plugin.facts import Facts


def find(found: Mapping[str, Any], chosen: Settings) -> tuple[Facts, Ranges]:
    """Return the facts of this node, and its ranges. found: the checked keys of ipam. Raises CniError."""
    name, fallback = found["annotation"], found["fallback"]
    left_out = exclusion.parse(found["exclude"], "'ipam.exclude'")

    def parse(facts: Facts) -> Ranges:
        where = origin(found, facts)
        text = facts.annotations.get(name)
        listed = ranges.from_cidrs(facts.pod_cidrs, where) if text is None else ranges.from_text(text, where)
        return exclusion.apply(listed, left_out, where)

    assign = f"node-ipam.pyz ranges assign --annotation {name} --cluster-cidr CIDR"
    return freshness.parsed(chosen, name or POD_CIDRS, parse, POD_CIDRS if fallback else "", assign)


def origin(ipam: Mapping[str, Any], facts: Facts) -> str:
    """Return the field of the Node that the ranges are from, for messages."""
    name = ipam.get("annotation") or POD_CIDRS
    if ipam.get("fallback") and not facts.has(name):
        return f"{place(POD_CIDRS, facts.name)}, which has no annotation {name}"
    return place(name, facts.name)
