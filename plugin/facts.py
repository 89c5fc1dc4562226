"""The fields of a Node object that are used. Each may hold any JSON."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


POD_CIDRS = "spec.podCIDRs"
# How the name of the Node was found in the credential, or by it.
CERTIFICATE_NAME = "certificate CN"
TOKEN_CLAIM = "token claim"
REVIEW = "SelfSubjectReview"


class Facts:
    """The fields of a Node object that are used, and how they were found.

    identified_by: how the Node was found to be this machine's. asked: when the server was queried (epoch seconds).
    wanted_field: the field that the query was for. files: the kubeconfig and the files that it names, each with its
    entries.signature() from before it was read. host_name: of this machine.
    """

    def __init__(
        self,
        name: str,
        uid: str,
        identified_by: str,
        pod_cidrs: list[str],
        annotations: dict[str, str],
        asked: float,
        wanted_field: str = "",
        files: dict[str, str] | None = None,
        host_name: str = "",
    ) -> None:
        self.name = name
        self.uid = uid
        self.identified_by = identified_by
        self.pod_cidrs = pod_cidrs
        self.annotations = annotations
        self.asked = asked
        self.wanted_field = wanted_field
        self.files = files or {}
        self.host_name = host_name

    def has(self, field: str) -> bool:
        """Return whether the Node has this field: POD_CIDRS, or the name of an annotation; always true for ""."""
        return bool(self.pod_cidrs) if field == POD_CIDRS else not field or field in self.annotations

    def age(self) -> float:
        """Return the seconds since the query; infinite if the clock was set back."""
        age = time.time() - self.asked
        return age if age >= 0 else float("inf")


def from_node(node: dict[str, Any], identified_by: str, asked: float) -> Facts:
    """Return the facts in a Node object. A field of the wrong type counts as missing."""
    metadata, spec = member(node, "metadata"), member(node, "spec")
    cidrs = spec.get("podCIDRs")
    if not isinstance(cidrs, list) or not cidrs:
        cidrs = [spec.get("podCIDR")]
    annotations = {key: value for key, value in member(metadata, "annotations").items() if isinstance(value, str)}
    cidrs = [cidr for cidr in cidrs if isinstance(cidr, str) and cidr]
    return Facts(name_of(node), str(metadata.get("uid")), identified_by, cidrs, annotations, asked)


def place(field: str, node: str) -> str:
    """Return how messages name a field of a Node: POD_CIDRS, or an annotation."""
    return f"{field} of node {node}" if field == POD_CIDRS else f"annotation {field} of node {node}"


def name_of(node: dict[str, Any]) -> str:
    """Return the name of a Node object."""
    return str(member(node, "metadata").get("name"))


def machine_id_of(node: dict[str, Any]) -> str:
    """Return the machine-id that the kubelet of this Node has reported; "" if there is none that is valid."""
    value = member(member(node, "status"), "nodeInfo").get("machineID")
    return valid_machine_id(value) if isinstance(value, str) else ""


def valid_machine_id(text: str) -> str:
    """Return the machine-id in this text; "" for anything else, such as "uninitialized" or the zeros of an image.

    https://www.freedesktop.org/software/systemd/man/latest/machine-id.html
    """
    value = text.strip().lower()
    return value if len(value) == 32 and not value.strip("0123456789abcdef") and value.strip("0") else ""


def member(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the object under this key; an empty one if there is none."""
    value = parent.get(key)
    return value if isinstance(value, dict) else {}
