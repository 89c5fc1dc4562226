"""The Deployment that runs `ranges assign --watch` in the cluster, and the rights of its account.

https://kubernetes.io/docs/reference/kubernetes-api/
"""

from __future__ import annotations

from collections.abc import Sequence

from plugin.ops.deploy import manifests
from plugin.ops.install import archive
from plugin.ops.ranges import rbac
from plugin.ops.ranges.rbac import Manifest

_USER = 65534  # nobody
_ARCHIVE = "/archive"
_STATE = "/state"  # not the cache directory: byte code would fill the volume
_LABELS = {"app.kubernetes.io/name": rbac.NAME}
# Python instead of a shell, which the image may lack. The files are those of --probe-dir.
_READY = f"import os; os.stat('{_STATE}/ready')"
_HEALTHY = f"import os, sys, time; sys.exit(time.time() - os.stat('{_STATE}/healthy').st_mtime > 120)"


def objects(namespace: str, image: str, arguments: Sequence[str], digest: str) -> list[Manifest]:
    """Return the objects in the order of creation.

    arguments: of ranges assign. digest: of the archive; another one restarts the pods.
    """
    metadata = {"name": rbac.NAME, "namespace": namespace, "labels": _LABELS}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    subject = {"kind": "ServiceAccount", "name": rbac.NAME, "namespace": namespace}
    deployment = _deployment(metadata, _container(image, arguments), digest)
    return [account, *rbac.roles(), *rbac.bindings(subject), rbac.lease(), deployment]


def _deployment(metadata: Manifest, container: Manifest, digest: str) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 2,  # one assigns, the other takes over
            "selector": {"matchLabels": _LABELS},
            "revisionHistoryLimit": 3,
            "template": {
                "metadata": {"labels": _LABELS, "annotations": {"kube-node.nordix.org/archive-sha256": digest}},
                "spec": _pod(container),
            },
        },
    }


def _pod(container: Manifest) -> Manifest:
    apart = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": _LABELS}}
    preferred = [{"weight": 100, "podAffinityTerm": apart}]
    return {
        "serviceAccountName": rbac.NAME,
        "enableServiceLinks": False,
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}},
        "terminationGracePeriodSeconds": 10,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "archive", "configMap": {"name": manifests.NAME}},
            {"name": "state", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ],
    }


def _container(image: str, arguments: Sequence[str]) -> Manifest:
    program = ["python3", "-IS", f"{_ARCHIVE}/{archive.FILE}"]
    return {
        "name": "assign",
        "image": image,
        "command": [*program, "ranges", "assign", "--watch", "--probe-dir", _STATE, "-o", "json", *arguments],
        "resources": manifests.resources("10m", "64Mi", "192Mi"),
        "securityContext": manifests.confined(),
        "readinessProbe": {**_probe(_READY), "periodSeconds": 10},
        "livenessProbe": {**_probe(_HEALTHY), "periodSeconds": 30, "initialDelaySeconds": 30},
        "volumeMounts": [
            {"name": "archive", "mountPath": _ARCHIVE, "readOnly": True},
            {"name": "state", "mountPath": _STATE},
        ],
    }


def _probe(code: str) -> Manifest:
    return {"exec": {"command": ["python3", "-IS", "-c", code]}, "timeoutSeconds": 10}
