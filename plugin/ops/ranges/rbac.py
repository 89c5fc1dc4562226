"""Print the rules of RBAC that an account needs for "ranges assign", and the Lease that it holds."""

from __future__ import annotations

import argparse
from typing import Any

from plugin.ops import output
from plugin.ops.deploy import yamltext

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
    return [role({"name": NAME}, nodes), role({"name": NAME, "namespace": LEASE_NAMESPACE}, held)]


def bindings(subject: Manifest) -> list[Manifest]:
    """Return the bindings that give both roles to this subject."""
    return [binding(each, subject) for each in roles()]


def role(metadata: Manifest, rule: Manifest) -> Manifest:
    """Return a Role if the metadata name a namespace, otherwise a ClusterRole."""
    kind = "Role" if "namespace" in metadata else "ClusterRole"
    return {"apiVersion": f"{_API}/v1", "kind": kind, "metadata": metadata, "rules": [rule]}


def binding(role: Manifest, subject: Manifest) -> Manifest:
    """Return the binding of the same name that gives this role to this subject."""
    kind, metadata = role["kind"], role["metadata"]
    reference = {"apiGroup": _API, "kind": kind, "name": metadata["name"]}
    return {
        "apiVersion": role["apiVersion"],
        "kind": f"{kind}Binding",
        "metadata": metadata,
        "roleRef": reference,
        "subjects": [subject],
    }
