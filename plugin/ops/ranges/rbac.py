"""Print the rules of RBAC that an account needs for "ranges assign", and the Lease that it holds."""

from __future__ import annotations

from plugin.ops import output
from plugin.ops.deploy import yamltext

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    Manifest = dict[str, Any]

NAME = "node-ipam-ranges"
# One for the cluster, for all annotations: two processes with one Lease each could assign one block.
LEASE_NAMESPACE = "kube-system"

EXAMPLE = "node-ipam.pyz ranges rbac | kubectl apply -f -"
_API = "rbac.authorization.k8s.io"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no options."""


def run(_arguments: argparse.Namespace) -> int:
    """Print the objects as YAML."""
    output.line(yamltext.dump(roles()))
    output.line("# The Role does not let the account create the Lease; this creates it:")
    output.line(yamltext.dump([lease()]))
    output.line(f"# kubectl create clusterrolebinding {NAME} --clusterrole {NAME} --user USER")
    output.line(f"# kubectl create rolebinding -n {LEASE_NAMESPACE} {NAME} --role {NAME} --user USER")
    return output.FINE


def lease() -> Manifest:
    """Return the Lease without a holder. If it exists, no account needs the right to create it."""
    metadata = {"name": NAME, "namespace": LEASE_NAMESPACE}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}


def roles() -> list[Manifest]:
    """Return the ClusterRole for Nodes, and the Role for the Lease."""
    nodes = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "patch"]}
    held = {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": [NAME],
        "verbs": ["get", "update"],
    }
    return [
        {"apiVersion": f"{_API}/v1", "kind": "ClusterRole", "metadata": {"name": NAME}, "rules": [nodes]},
        {
            "apiVersion": f"{_API}/v1",
            "kind": "Role",
            "metadata": {"name": NAME, "namespace": LEASE_NAMESPACE},
            "rules": [held],
        },
    ]


def bindings(subject: Manifest) -> list[Manifest]:
    """Return the bindings that give both roles to this subject."""
    found = []
    for role in roles():
        metadata, kind = role["metadata"], role["kind"]
        reference = {"apiGroup": _API, "kind": kind, "name": NAME}
        binding = {"apiVersion": f"{_API}/v1", "kind": f"{kind}Binding", "metadata": metadata}
        found.append({**binding, "roleRef": reference, "subjects": [subject]})
    return found
