"""The ranges of the other nodes."""

from __future__ import annotations

from plugin import deadline
from plugin.errors import Forbidden, Unreachable
from plugin.facts import name_of, place
from plugin.ops.doctor.context import Context
from plugin.ops.doctor.finding import Finding, fail, ok, skip
from plugin.ops.ranges import survey, values
from plugin.ops.ranges.cluster import Reader

_SECONDS = 10.0  # for the list of all Nodes
_ADVICE = "node-ipam.pyz ranges, with a credential that may list nodes, compares all of them"


def overlap(context: Context) -> Finding:
    """Return whether another node has the same addresses."""
    if not context.spans or context.facts is None:
        return skip("needs ranges and node")
    own = [values.of_span(span) for span in context.spans]
    annotation = context.network.ipam.get("annotation")
    reader = Reader([annotation] if isinstance(annotation, str) else [])
    count = 0
    try:
        with deadline.within(_SECONDS):
            for value in context.client.list_nodes():
                if name_of(value) == context.facts.name:
                    continue
                count += 1
                for network, held in survey.held(reader.node(value)):
                    for ours, theirs in ((ours, theirs) for ours in own for theirs in held.ranges):
                        if ours.overlaps(theirs):
                            where = place(network, name_of(value))
                            what = f"{ours.text} overlaps {theirs.text}, {where}: two pods can get one address"
                            return fail("overlap", what, "see node-ipam.pyz ranges, and give each node its own range")
    except Forbidden:
        return skip(f"not compared: this credential is not allowed to list nodes; {_ADVICE}")
    except (Unreachable, deadline.DeadlineExceeded):
        return skip(f"not compared: the nodes could not be listed within {_SECONDS:.0f} seconds; {_ADVICE}")
    return ok(f"none of {count} other nodes has one of these addresses")
