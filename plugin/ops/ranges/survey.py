"""The ranges of each node for each network, and the problems with them."""

from __future__ import annotations

from dataclasses import dataclass, field

from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.facts import POD_CIDRS, place
from plugin.ops.ranges import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from plugin.ops.ranges.cluster import Node
    from plugin.ops.ranges.values import Range, Value

# What to do about missing ranges.
_ALLOCATE = "run kube-controller-manager with --allocate-node-cidrs=true and a --cluster-cidr that has room"
_ASSIGN = "node-ipam.pyz ranges assign --annotation {} --cluster-cidr CIDR"
_ANNOTATE = "kubectl annotate node NODE {}=…, with a host-local configuration, as other nodes have"


@dataclass
class Row:
    """The ranges of one node for one network: spec.podCIDRs or an annotation. text: None if there are none."""

    node: str
    network: str
    text: str | None
    ranges: tuple[Range, ...] = ()
    problems: list[CniError] = field(default_factory=list)

    @property
    def is_wrong(self) -> bool:
        """Whether there are ranges that cannot be read or that overlap others."""
        return self.text is not None and bool(self.problems)


def networks(nodes: Mapping[str, Node], names: Sequence[str]) -> list[str]:
    """Return the networks of a cluster: podCIDRs if any node has them; these annotations, or all that are known."""
    listed = names or sorted({name for node in nodes.values() for name in node.annotations})
    return [*([POD_CIDRS] if any(node.pod_cidrs for node in nodes.values()) else []), *listed]


def rows(nodes: Mapping[str, Node], listed: Sequence[str], services: Sequence[Range] = ()) -> list[Row]:
    """Return a row for each node and network with ranges, and for each selected node without."""
    remedies = {network: _remedy(nodes, network) for network in listed}
    found = [row for name in sorted(nodes) for row in _of_node(nodes[name], remedies)]
    _mark_overlaps(found, services)
    return found


def taken(nodes: Mapping[str, Node]) -> list[Range]:
    """Return all ranges of all nodes, also those of texts that cannot be read."""
    return [each for node in nodes.values() for _, value in held(node) for each in value.ranges]


def held(node: Node) -> Iterator[tuple[str, Value]]:
    """Yield each network for which a node has ranges, with these."""
    if node.pod_cidrs:
        yield POD_CIDRS, values.of_pod_cidrs(tuple(node.pod_cidrs), node.name)
    for name, text in node.annotations.items():
        yield name, values.of_annotation(text, name, node.name)


def missing(node: str, network: str, remedy: str = _ASSIGN) -> CniError:
    """Return the error for a node without ranges for this network."""
    return CniError(PLUGIN_FAILURE, f"{place(network, node)}: missing", remedy.format(network))


def _remedy(nodes: Mapping[str, Node], network: str) -> str:
    """Return what to do about missing ranges: assign writes CIDRs, which node-annotation does not take."""
    if network == POD_CIDRS:
        return _ALLOCATE
    texts = [node.annotations.get(network, "") for node in nodes.values()]
    return _ANNOTATE if any(map(values.is_configuration, texts)) else _ASSIGN


def _of_node(node: Node, remedies: Mapping[str, str]) -> Iterator[Row]:
    here = dict(held(node))
    for network, remedy in remedies.items():
        value = here.get(network)
        if value is None:
            if node.is_selected:
                yield Row(node.name, network, None, (), [missing(node.name, network, remedy)])
            continue
        text = ",".join(node.pod_cidrs) if network == POD_CIDRS else node.annotations[network]
        yield Row(node.name, network, text, value.ranges, [value.problem] if value.problem else [])


def _mark_overlaps(found: Sequence[Row], services: Sequence[Range]) -> None:
    """Add an error to each row with a range that overlaps a range of another row or of Services, one for each range.

    In the order of their first addresses, a range overlaps an earlier one if and only if it overlaps the earlier one
    that reaches furthest.
    """
    owned: list[tuple[Range, Row | None]] = [(each, row) for row in found for each in row.ranges]
    owned += [(each, None) for each in services]
    owned.sort(key=lambda pair: pair[0][:3])
    furthest: tuple[Range, Row | None] | None = None
    marked = set()
    for each in owned:
        if furthest and each[0].overlaps(furthest[0]):
            for (ours, row), (theirs, other) in ((each, furthest), (furthest, each)):
                if row is not None and (id(row), ours) not in marked and row is not other:
                    marked.add((id(row), ours))
                    row.problems.append(_overlap(row, ours, theirs, other))
        if furthest is None or each[0].version != furthest[0].version or each[0].last > furthest[0].last:
            furthest = each


def _overlap(row: Row, ours: Range, theirs: Range, other: Row | None) -> CniError:
    whose = place(row.network, row.node)
    if other is None:
        what = f"{whose}: {ours.text} overlaps the service range {theirs.text}"
        return CniError(PLUGIN_FAILURE, what, "give the node a range outside of it")
    network = "" if other.network == row.network else f" ({other.network})"
    what = f"{whose}: {ours.text} overlaps {theirs.text} of node {other.node}{network}: two pods can get one address"
    return CniError(PLUGIN_FAILURE, what, "give one of them another range, and restart its pods")


def summaries(found: Iterable[Row], listed: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the numbers of nodes of each network. conflicts: those with ranges that are wrong."""
    result = {network: {"nodes": 0, "withRange": 0, "withoutRange": 0, "conflicts": 0} for network in listed}
    for row in found:
        counts = result[row.network]
        counts["nodes"] += 1
        counts["withoutRange" if row.text is None else "withRange"] += 1
        counts["conflicts"] += row.is_wrong
    return result
