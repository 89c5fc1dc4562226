"""Which node gets which free blocks: the plan, without the API server."""

from __future__ import annotations

from dataclasses import dataclass

from plugin.errors import INVALID_CONFIG, PLUGIN_FAILURE, CniError
from plugin.ops.ranges import pool, survey, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugin.ops.ranges.cluster import Node
    from plugin.ops.ranges.lease import Change, Claims
    from plugin.ops.ranges.pool import Family
    from plugin.ops.ranges.survey import Row
    from plugin.ops.ranges.values import Range


@dataclass(frozen=True)
class Network:
    """An annotation, and the pool that its values come from."""

    annotation: str
    families: tuple[Family, ...]


@dataclass(frozen=True)
class Assignment:
    """The networks to assign. excluded, services: addresses that no node may get; None if those are not known."""

    networks: Sequence[Network]
    excluded: tuple[Range, ...] = ()
    services: tuple[Range, ...] | None = ()

    @property
    def names(self) -> list[str]:
        """The annotations."""
        return [network.annotation for network in self.networks]

    def plan(self, nodes: Mapping[str, Node]) -> tuple[Claims, list[CniError]]:
        """Return the next free blocks for all selected nodes without, and an error for each pool that gives none."""
        changes: Claims = {}
        shortages = []
        taken = self._taken(nodes)
        for network in self.networks:
            problem = in_pod_network(network, nodes, self.excluded)
            if problem:
                shortages.append(problem)
                continue
            lacking = [name for name in sorted(nodes) if _lacks(nodes[name], network.annotation)]
            found = pool.assign(lacking, network.families, taken)
            for name, blocks in found.items():
                changes.setdefault(name, {})[network.annotation] = (None, ",".join(map(str, blocks)))
                taken += map(values.of_network, blocks)
            if len(found) < len(lacking):
                shortages.append(_shortage(network, len(lacking) - len(found), taken))
        return changes, shortages

    def growth(self, nodes: Mapping[str, Node], name: str) -> Claims:
        """Return one more block of each family for this node, appended to what it has. Raises CniError."""
        if name not in nodes:
            raise CniError(PLUGIN_FAILURE, f"there is no node {name}", "kubectl get nodes lists them")
        node = nodes[name]
        changes: dict[str, Change] = {}
        taken = self._taken(nodes)
        for network in self.networks:
            text = node.annotations.get(network.annotation)
            if text is None:
                raise survey.missing(name, network.annotation)
            problem = values.of_annotation(text, network.annotation, name).problem
            problem = problem or in_pod_network(network, nodes, self.excluded)
            if problem:
                raise problem
            if values.is_configuration(text):
                what = f"annotation {network.annotation} of node {name} is not a list of CIDRs"
                raise CniError(PLUGIN_FAILURE, what, "add a range to it with kubectl annotate --overwrite")
            blocks = pool.assign([name], network.families, taken).get(name)
            if blocks is None:
                raise _shortage(network, 1, taken)
            taken += map(values.of_network, blocks)
            changes[network.annotation] = (text, ",".join([text, *map(str, blocks)]))
        return {name: changes}

    def problems(self, nodes: Mapping[str, Node], *, with_missing: bool = False) -> list[CniError]:
        """Return what is wrong with the values of these networks."""
        listed = survey.networks(nodes, [])
        listed += [name for name in self.names if name not in listed]
        rows = survey.rows(nodes, listed, self.services or ())
        return [each for row in rows if self._concerns(row, with_missing) for each in row.problems]

    def _taken(self, nodes: Mapping[str, Node]) -> list[Range]:
        """Return all addresses that no block may have."""
        return [*survey.taken(nodes), *self.excluded, *(self.services or ())]

    def _concerns(self, row: Row, with_missing: bool) -> bool:
        return row.network in self.names and (row.is_wrong or (with_missing and row.text is None))


def parse(annotations: Sequence[str], pools: Sequence[str], sizes: dict[int, int]) -> list[Network]:
    """Return the networks that options name. Raises CniError."""
    if not annotations or len(annotations) != len(pools):
        what = "--annotation and --cluster-cidr are needed, equally often"
        raise CniError(INVALID_CONFIG, what, "name each annotation with the networks that its values come from")
    twice = [name for at, name in enumerate(annotations) if name in annotations[:at]]
    if twice:
        raise CniError(INVALID_CONFIG, f"--annotation {twice[0]} is given twice", "join the lists of its networks")
    return [Network(name, pool.parse(text, sizes)) for name, text in zip(annotations, pools)]


def in_pod_network(network: Network, nodes: Mapping[str, Node], excluded: Sequence[Range]) -> CniError | None:
    """Return the error for a pool with podCIDRs that are not excluded: new nodes will get others of its blocks."""
    pools = [values.of_network(each) for family in network.families for each in family.networks]
    for name in sorted(nodes):
        for cidr in values.of_pod_cidrs(tuple(nodes[name].pod_cidrs), name).ranges:
            whole = next(filter(cidr.overlaps, pools), None)
            if whole and not any(each.contains(cidr) for each in excluded):
                what = f"annotation {network.annotation}: --cluster-cidr {whole.text} overlaps podCIDRs"
                advice = "name another network, or leave out kube-controller-manager's --cluster-cidr: --exclude CIDR"
                return CniError(
                    PLUGIN_FAILURE,
                    f"{what}: kube-controller-manager can give another node the same block",
                    f"node {name} has {cidr.text}; {advice}",
                )
    return None


def _lacks(node: Node, annotation: str) -> bool:
    return node.is_selected and annotation not in node.annotations


def _shortage(network: Network, count: int, taken: Sequence[Range]) -> CniError:
    """Return the error for nodes that are left without, for the family with the fewest free blocks."""
    family = min(network.families, key=lambda each: each.free(taken))
    listed = ",".join(map(str, family.networks))
    nodes = "1 node is" if count == 1 else f"{count} nodes are"
    what = f"{nodes} left without annotation {network.annotation}: {listed} has no free block of /{family.size}"
    length = max(family.size - (count - 1).bit_length(), 0)
    advice = f"append an IPv{family.version} network to its --cluster-cidr, of prefix length {length} or less"
    return CniError(PLUGIN_FAILURE, what, advice)
