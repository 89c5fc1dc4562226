"""The Kubernetes objects that install the archive on every node, with a ServiceAccount's credentials if wanted.

https://kubernetes.io/docs/reference/kubernetes-api/
"""

from __future__ import annotations

import base64
import hashlib
from argparse import Namespace

from plugin import __version__
from plugin.ops.deploy import scripts
from plugin.ops.install import archive, interpreter
from plugin.ops.ranges import rbac
from plugin.ops.ranges.rbac import Manifest

NAME = "node-ipam"
# Where the node keeps the credentials of the ServiceAccount.
STATE = "/var/lib/node-ipam"
_LABELS = {"app.kubernetes.io/name": NAME}
_TOKEN_SECONDS = 3600  # kubelet renews it after 80 % of that


def objects(options: Namespace, packed: bytes) -> list[Manifest]:
    """Return the objects in the order in which they must be created.

    options: of deploy. packed: an archive that fits into a ConfigMap.
    """
    access = _access(options) if options.service_account else []
    return [*access, _config_map(options, packed), _daemon_set(options, hashlib.sha256(packed).hexdigest())]


def _metadata(name: str, namespace: str = "") -> Manifest:
    where = {"namespace": namespace} if namespace else {}
    return {"name": name, **where, "labels": {**_LABELS, "app.kubernetes.io/version": __version__}}


def _access(options: Namespace) -> list[Manifest]:
    """Return a ServiceAccount that may get Nodes. RBAC cannot restrict it to its own Node."""
    name, namespace = options.service_account, options.namespace
    metadata = _metadata(name, namespace)
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata,
        "automountServiceAccountToken": False,
    }
    role = rbac.role(_metadata(name), {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]})
    return [account, role, rbac.binding(role, {"kind": "ServiceAccount", "name": name, "namespace": namespace})]


def _config_map(options: Namespace, packed: bytes) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(NAME, options.namespace),
        "binaryData": {archive.FILE: base64.b64encode(packed).decode()},
    }


def _daemon_set(options: Namespace, digest: str) -> Manifest:
    # A token is valid as long as its pod exists: the new pod must have written its own before the old pod ends.
    gentle = {"maxSurge": "10%", "maxUnavailable": 0} if options.service_account else {"maxUnavailable": "10%"}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": _metadata(NAME, options.namespace),
        "spec": {
            "selector": {"matchLabels": _LABELS},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": gentle},
            "minReadySeconds": 5,
            "revisionHistoryLimit": 3,
            "template": {"metadata": {"labels": _LABELS}, "spec": _pod(options, digest)},
        },
    }


def _pod(options: Namespace, digest: str) -> Manifest:
    account = {"serviceAccountName": options.service_account} if options.service_account else {}
    volumes = [
        {"name": "host", "hostPath": {"path": "/", "type": "Directory"}},
        {"name": "bin", "hostPath": {"path": options.bin_dir, "type": "Directory"}},
        {"name": "archive", "configMap": {"name": NAME}},
    ]
    return {
        **account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostNetwork": True,  # it must start before any plugin is installed
        "priorityClassName": "system-node-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 5,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [_install(options, digest)],
        "containers": [_refresh(options) if options.service_account else _idle(options)],
        "volumes": volumes + (_credential_volumes() if options.service_account else []),
    }


def _install(options: Namespace, digest: str) -> Manifest:
    python = ["--python", options.python] if options.python else []
    return {
        "name": "install",
        "image": options.image,
        "command": ["/bin/sh", "-c", scripts.INSTALL, "install", "--bin-dir", scripts.BIN, *python],
        "env": _variables(
            ARCHIVE_SHA256=digest, PYTHONS=options.python or " ".join(interpreter.USUAL), BIN_DIR=options.bin_dir
        ),
        "resources": resources("10m", "64Mi", "128Mi"),
        # The plugins' directory may belong to another user.
        "securityContext": _on_node("SYS_CHROOT", "DAC_OVERRIDE"),
        "volumeMounts": [
            {"name": "host", "mountPath": "/host", "readOnly": True},
            {"name": "bin", "mountPath": f"/host{scripts.BIN}"},
            {"name": "archive", "mountPath": f"/host{scripts.MOUNT}", "readOnly": True},
        ],
    }


def _idle(options: Namespace) -> Manifest:
    return {
        "name": "idle",
        "image": options.image,
        "command": ["/bin/sh", "-c", scripts.IDLE],
        "resources": resources("1m", "8Mi", "32Mi"),
        "securityContext": {**confined(), "runAsNonRoot": True, "runAsUser": 65534},
    }


def _refresh(options: Namespace) -> Manifest:
    server = {"SERVER": options.server} if options.server else {}
    pod_name = {"fieldRef": {"fieldPath": "metadata.name"}}
    return {
        "name": "credentials",
        "image": options.image,
        "command": ["/bin/sh", "-c", scripts.REFRESH],
        "env": [{"name": "POD", "valueFrom": pod_name}, *_variables(STATE=STATE, **server)],
        "resources": resources("1m", "8Mi", "32Mi"),
        "securityContext": _on_node(),
        "volumeMounts": [
            {"name": "credentials", "mountPath": "/credentials", "readOnly": True},
            {"name": "state", "mountPath": "/state"},
        ],
    }


def _credential_volumes() -> list[Manifest]:
    """Return volumes for a token that kubelet renews, the CA from a ConfigMap, and the state on the node."""
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": _TOKEN_SECONDS}}
    authority = {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    return [
        {"name": "credentials", "projected": {"sources": [token, authority]}},
        {"name": "state", "hostPath": {"path": STATE, "type": "DirectoryOrCreate"}},
    ]


def confined(*capabilities: str) -> Manifest:
    """Return the securityContext of a container that has no rights except these capabilities."""
    add = {"add": list(capabilities)} if capabilities else {}
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], **add},
    }


def _on_node(*capabilities: str) -> Manifest:
    """Return the securityContext of a container that writes to the node, which SELinux forbids to the usual type."""
    return {**confined(*capabilities), "runAsUser": 0, "seLinuxOptions": {"type": "spc_t"}}


def resources(processor: str, memory: str, limit: str) -> Manifest:
    """Return the requests of a container, and its memory limit."""
    return {"requests": {"cpu": processor, "memory": memory}, "limits": {"memory": limit}}


def _variables(**values: str) -> list[Manifest]:
    return [{"name": name, "value": value} for name, value in values.items()]
