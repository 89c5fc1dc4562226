"""Read the Nodes of a cluster, reduced to what concerns address ranges, and the ranges of its Services."""

from __future__ import annotations

from dataclasses import dataclass, field

from plugin import facts
from plugin.errors import CniError
from plugin.kube import pages
from plugin.kube.answers import redacted
from plugin.ops.ranges import selector as selectors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from plugin.kube.session import Session

PREFIX = "kube-node.nordix.org/"  # of annotations that are taken for ranges without being named
_SERVICE_CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"
_UNUSED = ("managedFields", "status", "images", "ownerReferences")  # four fifths of a Node


@dataclass
class Node:
    """One Node. version: its resourceVersion. annotations: those that hold ranges."""

    name: str
    version: str
    is_selected: bool
    pod_cidrs: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)


class Reader:
    """Reads Nodes. names: the annotations to keep, beside all of the usual prefix."""

    def __init__(self, names: Sequence[str], selector: str = "") -> None:
        self._names = set(names)
        self._is_selected = selectors.parse(selector)

    def add(self, names: Iterable[str]) -> None:
        """Keep these annotations too, of the Nodes that are read from now on."""
        self._names.update(names)

    def node(self, value: dict[str, Any]) -> Node:
        """Return what concerns ranges in a Node, or in its metadata alone."""
        found = facts.from_node(value, "", 0.0)
        metadata = facts.member(value, "metadata")
        labels = {key: text for key, text in facts.member(metadata, "labels").items() if isinstance(text, str)}
        kept = {key: text for key, text in found.annotations.items() if key in self._names or key.startswith(PREFIX)}
        version = str(metadata.get("resourceVersion"))
        name, cidrs, kept = redacted([found.name, found.pod_cidrs, kept])
        return Node(name, version, self._is_selected(labels), cidrs, kept)

    def nodes(self, session: Session, accept: str, tick: Callable[[int, int], None]) -> tuple[dict[str, Node], str]:
        """Return all Nodes by name, and the resourceVersion of this list. tick: is given Nodes read and left, per page.

        The list is read in pages and without resourceVersion, so that it is as new as the moment it begins.
        """
        found: dict[str, Node] = {}
        version = ""
        for is_first, items, metadata in pages.read(lambda path: session.get(path, accept, trimmed), session.route):
            if is_first:
                found.clear()
            found.update((node.name, node) for node in map(self.node, items))
            version = str(metadata.get("resourceVersion") or "")
            tick(len(found), int(metadata.get("remainingItemCount") or 0))
        return found, version


def path(name: str) -> str:
    """Return the path of one Node."""
    return f"{pages.PATH}/{name}"


def service_cidrs(session: Session) -> list[str] | None:
    """Return the cluster's ranges for Services; None if there are no ServiceCIDR objects, or not for this account."""
    try:
        listed = session.get(_SERVICE_CIDRS).get("items") or []
    except CniError:
        return None
    found = [cidr for item in listed for cidr in (item.get("spec") or {}).get("cidrs") or [] if isinstance(cidr, str)]
    return [redacted(cidr) for cidr in found]


def trimmed(value: dict[str, Any]) -> dict[str, Any]:
    """Drop large unused members as soon as they are decoded, so that a page of Nodes takes little memory."""
    for key in _UNUSED:
        value.pop(key, None)
    return value
