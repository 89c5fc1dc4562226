"""Write annotations of Nodes: claimed in the Lease first, each patch with the Node's resourceVersion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.kube.answers import Transient
from plugin.kube.session import METADATA_ONLY, Conflict, Missing, Session
from plugin.ops.ranges import cluster, survey, values
from plugin.ops.ranges.cluster import Node, Reader
from plugin.ops.ranges.lease import Claims, Lease

_BATCH = 50  # Nodes; their claims are some 10 KB of the 256 KiB that the annotations of an object may have
_ATTEMPTS = 10  # for one Node, which its kubelet changes every few seconds at most


@dataclass
class Writer:
    """Writes changes, and updates the given Nodes with what the API server answers.

    written: called with node, annotation and new value.
    """

    session: Session
    lease: Lease
    reader: Reader
    written: Callable[[str, str, str], None]

    def complete(self, nodes: dict[str, Node]) -> None:
        """Write what an earlier holder of the Lease claimed and did not write; see lease.py. Raises as write() does."""
        pending: Claims = {}
        for name, changes in self.lease.claims.items():
            node = nodes.get(name)
            if node and (left := _due(node, changes)) and not _overlaps(nodes, name, left):
                pending[name] = left
        self.write(nodes, pending)

    def write(self, nodes: dict[str, Node], changes: Claims) -> None:
        """Make these changes, except where the Node is deleted or has another value now.

        Raises Overtaken, or another CniError; what was claimed and not written then stays claimed.
        """
        left, attempts = dict(changes), dict.fromkeys(changes, _ATTEMPTS)
        while left:
            batch = dict(list(left.items())[:_BATCH])
            self.lease.claim(batch)  # _patch() removes what is done
            for name in list(batch):
                self._patch(nodes, name, batch)
                attempts[name] -= 1
                if name not in batch:
                    del left[name]
                elif attempts[name]:
                    left[name] = batch[name]
                else:
                    what = f"node {name} changes faster than it can be patched"
                    advice = "find the program that changes it: kubectl get node -o yaml --show-managed-fields"
                    raise CniError(PLUGIN_FAILURE, what, advice)

    def _patch(self, nodes: dict[str, Node], name: str, batch: Claims) -> None:
        """Patch one Node; its claim is removed from the batch unless it has to be claimed and patched again."""
        annotations = {annotation: new for annotation, (_, new) in batch[name].items()}
        change = {"metadata": {"resourceVersion": nodes[name].version, "annotations": annotations}}
        self.lease.renew()
        try:
            try:
                self._keep(nodes, self.session.patch(f"{cluster.path(name)}?fieldManager=node-ipam", change))
            except (Conflict, Transient):  # the Node has changed, or it is not known whether the patch was applied
                self._keep(nodes, self.session.get(cluster.path(name), METADATA_ONLY, cluster.trimmed))
        except Missing:
            del nodes[name], batch[name]
            return
        here = nodes[name].annotations
        for annotation, new in annotations.items():
            if here.get(annotation) == new:
                self.written(name, annotation, new)
        left = _due(nodes[name], batch[name])
        if left:
            batch[name] = left
        else:
            del batch[name]

    def _keep(self, nodes: dict[str, Node], metadata: dict[str, object]) -> None:
        node = self.reader.node(metadata)
        node.pod_cidrs = node.pod_cidrs or nodes[node.name].pod_cidrs  # metadata alone has none
        nodes[node.name] = node


def _due(node: Node, changes: dict[str, tuple[str | None, str]]) -> dict[str, tuple[str | None, str]]:
    """Return those of these changes that are still to be made."""
    return {name: change for name, change in changes.items() if node.annotations.get(name) == change[0]}


def _overlaps(nodes: dict[str, Node], name: str, changes: dict[str, tuple[str | None, str]]) -> bool:
    """Return whether one of these blocks has been given to another Node, or for another network, by hand."""
    wanted = [each for _, new in changes.values() for each in values.readable(new)]
    others = [
        each
        for node in nodes.values()
        for network, value in survey.held(node)
        if node.name != name or network not in changes
        for each in value.ranges
    ]
    return any(one.overlaps(other) for one in wanted for other in others)
