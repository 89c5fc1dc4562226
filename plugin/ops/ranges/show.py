"""Show the ranges of all nodes of a cluster, and what is wrong with them.

"ranges" alone is the same. It reads spec.podCIDRs and annotations, and changes nothing. The exit status is 1 if a range
is missing, cannot be read, or overlaps another, or if --cluster-cidr overlaps podCIDRs. "ranges assign" gives ranges to
nodes without; "ranges rbac" prints the rules that it needs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from plugin.facts import place
from plugin.kube import session as sessions
from plugin.ops import output
from plugin.ops.ranges import assignment, connection, options, progress, survey
from plugin.ops.ranges.assignment import Network
from plugin.ops.ranges.cluster import Node, Reader
from plugin.ops.ranges.values import Range

EXAMPLE = """\
node-ipam.pyz ranges
node-ipam.pyz ranges show --annotation kube-node.nordix.org/net1 --cluster-cidr 172.20.0.0/16 -o prometheus"""
_METRICS = (
    ("node_ipam_ranges_nodes", "Nodes that should have a range of this network, or have one.", "nodes"),
    ("node_ipam_ranges_nodes_with_range", "Nodes that have a range of this network.", "withRange"),
    ("node_ipam_ranges_nodes_without_range", "Selected nodes without a range of this network.", "withoutRange"),
    ("node_ipam_ranges_conflicts", "Nodes whose range cannot be read, or overlaps another range.", "conflicts"),
)
_FREE = "node_ipam_ranges_free_blocks"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    options.add(parser)
    output.add_format(parser, "prometheus")


def run(arguments: argparse.Namespace) -> int:
    """Print the ranges and return the exit status. Raises CniError."""
    pools = options.networks(arguments) if arguments.cluster_cidr else []
    excluded = options.ranges(arguments.exclude, "--exclude")
    reader = Reader(arguments.annotation, arguments.selector)
    with connection.session(arguments) as session:
        services = connection.services(session, arguments)
        with progress.bar() as show:
            nodes, _ = reader.nodes(session, sessions.JSON, show)
    return Show(nodes, arguments.annotation, services, pools, excluded).show(arguments.output)


class Show:
    """The output of one run. pools: the networks of which --cluster-cidr is known."""

    def __init__(
        self,
        nodes: Mapping[str, Node],
        names: Sequence[str],
        services: tuple[Range, ...] | None,
        pools: Sequence[Network],
        excluded: Sequence[Range],
    ) -> None:
        listed = survey.networks(nodes, names)
        self._rows = survey.rows(nodes, listed, services or ())
        self._remedies = {row.network: row.problems[0].details for row in self._rows if row.text is None}
        self._summaries = survey.summaries(self._rows, listed)
        self._services = services
        faults = (assignment.in_pod_network(pool, nodes, excluded) for pool in pools)
        self._problems = [each for each in faults if each]
        taken = [*survey.taken(nodes), *(services or ()), *excluded] if pools else []
        self._free = {
            pool.annotation: {f"IPv{family.version}": family.free(taken) for family in pool.families} for pool in pools
        }

    def show(self, form: str) -> int:
        """Print it in this form, and return the exit status."""
        {"json": self._json, "prometheus": self._prometheus, "table": self._table}[form]()
        if form != "json":
            output.conclude(self._problems)
        return output.FOUND if self._problems or any(row.problems for row in self._rows) else output.FINE

    def _table(self) -> None:
        rows: list[tuple[object, ...]] = []
        for row in self._rows:
            status = output.FAIL if row.problems else output.OK
            head: tuple[object, ...] = (status, row.node, row.network, row.text or "-")
            for problem in row.problems:
                rows.append((*head, problem.msg.replace(f"{place(row.network, row.node)}: ", "", 1)))
                if row.text is not None:  # the remedy for missing ranges is printed once, below
                    rows += [("", "", "", "", line) for line in output.advice(problem.details)]
                head = ("", "", "", "")
            if not row.problems:
                rows.append((*head, ""))
        output.table(("STATUS", "NODE", "NETWORK", "RANGES", "PROBLEM"), rows)
        for network, counts in self._summaries.items():
            parts = [
                f"{counts['withRange']} of {counts['nodes']} nodes have ranges",
                f"{counts['withoutRange']} missing",
                f"{counts['conflicts']} with problems",
            ]
            parts += [
                f"{output.counted(count, f'{family} block')} free"
                for family, count in self._free.get(network, {}).items()
            ]
            output.line(f"{network}: {', '.join(parts)}")
            if network in self._remedies:
                output.line("\n".join(output.advice(self._remedies[network])))
        if self._services is None:
            output.line(connection.UNKNOWN)

    def _json(self) -> None:
        output.document(
            {
                "ranges": [
                    {
                        "node": row.node,
                        "network": row.network,
                        "value": row.text,
                        "ranges": [each.text for each in row.ranges],
                        "problems": output.listed(row.problems),
                    }
                    for row in self._rows
                ],
                "networks": [
                    {"network": network, **counts, "freeBlocks": self._free.get(network, {})}
                    for network, counts in self._summaries.items()
                ],
                "problems": output.listed(self._problems),
                "serviceRanges": connection.listed(self._services),
            }
        )

    def _prometheus(self) -> None:
        for name, text, key in _METRICS:
            samples = [({"network": network}, counts[key]) for network, counts in self._summaries.items()]
            output.gauge(name, text, samples)
        free = [
            ({"network": name, "family": key}, value) for name in self._free for key, value in self._free[name].items()
        ]
        if free:
            output.gauge(_FREE, "Blocks of the network's pool that no node has.", free)
