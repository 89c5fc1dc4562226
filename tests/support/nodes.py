"""Node objects that look like real ones: 15 KB of images, conditions and managed fields round the few fields read."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

Node = dict[str, Any]

_TIME = "2026-03-05T07:41:12Z"
_MANAGERS = ("kubeadm", "kube-controller-manager", "kubelet", "flanneld", "kubectl-annotate")


def _image(number: int) -> Node:
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    repository = f"registry.example.org/platform/component-{number:02d}"
    return {"names": [f"{repository}@sha256:{digest}", f"{repository}:v1.{number}.0"], "sizeBytes": 12345678 + number}


# Shared by every node, so that 5,000 of them stay small in memory.
_IMAGES = [_image(number) for number in range(50)]
_CONDITIONS = [
    {
        "type": kind,
        "status": str(kind == "Ready"),
        "reason": f"Kubelet{kind}",
        "message": f"kubelet reports its state of {kind}",
        "lastHeartbeatTime": _TIME,
        "lastTransitionTime": _TIME,
    }
    for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
]
_MANAGED_FIELDS = [
    {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": _TIME,
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:annotations": {".": {}, **{f"f:{manager}.example.org/field-{n}": {} for n in range(8)}}},
            "f:status": {"f:conditions": {f'k:{{"type":"{c["type"]}"}}': {"f:status": {}} for c in _CONDITIONS}},
        },
    }
    for manager in _MANAGERS
]
_RESOURCES = {"cpu": "8", "ephemeral-storage": "102350Mi", "hugepages-2Mi": "0", "memory": "32780412Ki", "pods": "110"}


def make_node(
    name: str,
    pod_cidrs: Iterable[str] = ("10.244.1.0/24", "fd00:10:244:1::/64"),
    annotations: Mapping[str, str] | None = None,
    machine_id: str = "",
    uid: str = "",
) -> Node:
    """A Node as a kubelet registers it; machine_id and uid are made from the name when they are not given."""
    made = hashlib.md5(name.encode()).hexdigest()
    cidrs = list(pod_cidrs)
    spec: Node = {"podCIDR": cidrs[0], "podCIDRs": cidrs} if cidrs else {}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    metadata = {
        "name": name,
        "uid": uid or str(uuid.UUID(made)),
        "creationTimestamp": _TIME,
        "labels": {**labels, **{f"beta.{key}": value for key, value in labels.items()}},
        "annotations": {
            "node.alpha.kubernetes.io/ttl": "0",
            "volumes.kubernetes.io/controller-managed-attach-detach": "true",
            **(annotations or {}),
        },
        "managedFields": _MANAGED_FIELDS,
    }
    return {"kind": "Node", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": _status(name, machine_id)}


def _status(name: str, machine_id: str) -> Node:
    made = hashlib.md5(b"machine " + name.encode()).hexdigest()
    return {
        "capacity": _RESOURCES,
        "allocatable": _RESOURCES,
        "conditions": _CONDITIONS,
        "addresses": [{"type": "InternalIP", "address": "192.0.2.10"}, {"type": "Hostname", "address": name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "machineID": machine_id or made,
            "systemUUID": str(uuid.UUID(made)),
            "bootID": str(uuid.UUID(made[::-1])),
            "kernelVersion": "6.1.0-28-amd64",
            "osImage": "Debian GNU/Linux 12 (bookworm)",
            "containerRuntimeVersion": "containerd://2.1.4",
            "kubeletVersion": "v1.34.1",
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": "amd64",
        },
        "images": _IMAGES,
    }
