"""One run of assign: show the plan, or write it and check the result."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.kube import session as sessions
from plugin.kube.access import pause
from plugin.kube.session import Session
from plugin.ops import output
from plugin.ops.ranges import connection, progress
from plugin.ops.ranges.assignment import Assignment
from plugin.ops.ranges.cluster import Node, Reader
from plugin.ops.ranges.events import Events
from plugin.ops.ranges.lease import RETRY_PERIOD, Claims, Lease
from plugin.ops.ranges.rbac import LEASE_NAMESPACE, NAME
from plugin.ops.ranges.writer import Writer

_ROUNDS = 3  # more than one if nodes join meanwhile


@dataclass
class Once:
    """One run. grow: the node that gets one more block of each family; "" to assign to all that lack ranges."""

    session: Session
    reader: Reader
    assignment: Assignment
    grow: str
    is_json: bool
    written: Claims = field(default_factory=dict)

    def show(self) -> int:
        """Print what would be written, and return the exit status. Raises CniError."""
        nodes = self._nodes(sessions.JSON)
        changes, shortages = self._plan(nodes)
        return self._conclude(nodes, changes, [*self.assignment.problems(nodes), *shortages], is_written=False)

    def write(self, lease: Lease, patience: float) -> int:
        """Take the Lease within so many seconds, write, and return the exit status. Raises CniError."""
        _acquire(lease, patience)
        self.reader.add(name for changes in lease.claims.values() for name in changes)
        nodes = self._nodes(sessions.JSON, lease)
        writer = Writer(self.session, lease, self.reader, self._note)
        writer.complete(nodes)
        changes, shortages = self._plan(nodes)
        for _ in range(1 if self.grow else _ROUNDS):
            if not changes:
                break
            writer.write(nodes, changes)
            pod_cidrs = {name: node.pod_cidrs for name, node in nodes.items()}
            nodes = self._nodes(sessions.METADATA_LIST, lease)
            for name, node in nodes.items():
                node.pod_cidrs = pod_cidrs.get(name, [])
            if not self.grow:
                changes, shortages = self._plan(nodes)
        problems = self.assignment.problems(nodes, with_missing=not shortages and not self.grow)
        return self._conclude(nodes, self.written, [*self._changed(nodes), *problems, *shortages], is_written=True)

    def _plan(self, nodes: dict[str, Node]) -> tuple[Claims, list[CniError]]:
        if self.grow:
            return self.assignment.growth(nodes, self.grow), []
        return self.assignment.plan(nodes)

    def _nodes(self, accept: str, lease: Lease | None = None) -> dict[str, Node]:
        with progress.bar() as show:

            def tick(done: int, left: int) -> None:
                show(done, left)
                if lease:
                    lease.renew()

            return self.reader.nodes(self.session, accept, tick)[0]

    def _note(self, node: str, annotation: str, new: str) -> None:
        self.written.setdefault(node, {})[annotation] = (None, new)
        if not self.is_json:
            Events(is_json=False).assigned(node, annotation, new)

    def _changed(self, nodes: dict[str, Node]) -> list[CniError]:
        """Return an error for each value that was written and has changed since."""
        advice = "find the program that changed it: kubectl get node -o yaml --show-managed-fields"
        return [
            CniError(PLUGIN_FAILURE, f"annotation {name} of node {node} has been changed since it was written", advice)
            for node, changes in self.written.items()
            for name, (_, new) in changes.items()
            if node in nodes and nodes[node].annotations.get(name) != new
        ]

    def _conclude(self, nodes: dict[str, Node], changes: Claims, problems: list[CniError], *, is_written: bool) -> int:
        rows = [(node, name, new) for node, each in changes.items() for name, (_, new) in each.items()]
        if self.is_json:
            listed = [{"node": node, "annotation": name, "ranges": new.split(",")} for node, name, new in rows]
            services = connection.listed(self.assignment.services)
            found = {"written": is_written, "assigned": listed, "problems": output.listed(problems)}
            output.document({**found, "serviceRanges": services})
            return output.FOUND if problems else output.FINE
        if rows and not is_written:
            output.table(("NODE", "ANNOTATION", "RANGES"), rows)
        if self.assignment.services is None:
            output.line(connection.UNKNOWN)
        count = output.counted(len(rows), "annotation")
        if not rows and not problems and not self.grow:
            selected = sum(node.is_selected for node in nodes.values())
            output.line(f"nothing to write: {selected} of {selected} nodes have their ranges already")
        elif is_written:
            output.line(f"{count} written")
        else:
            output.line(f"{count} to write" + ("; --yes writes them" if rows else ""))
        return output.conclude(problems)


def _acquire(lease: Lease, patience: float) -> None:
    """Wait for the Lease. Raises CniError."""
    ends, is_announced = time.monotonic() + patience, False
    while not lease.acquire():
        holder = f"the Lease {LEASE_NAMESPACE}/{NAME} is held by {lease.holder}"
        if time.monotonic() > ends:
            advice = (
                "wait for it with --wait SECONDS; if it is a Deployment of deploy --assign, name this network there"
            )
            raise CniError(PLUGIN_FAILURE, holder, advice)
        if lease.holder and not is_announced:
            output.note(f"waiting: {holder}")
            is_announced = True
        time.sleep(pause(0, RETRY_PERIOD, RETRY_PERIOD))
