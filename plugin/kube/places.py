"""Which kubeconfig: the places looked at, in order, and why one was taken."""

from __future__ import annotations

import os

from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.kube.files import Unsettled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Put before each of the places below; tests have a directory of their own.
ROOT = ""
# Where kubeadm, kind and AKS; EKS and GKE; k3s; RKE2 put the kubelet's credential. It needs no RBAC, is rotated,
# and may read its own Node only.
KUBELET_FILES = (
    "/etc/kubernetes/kubelet.conf",
    "/var/lib/kubelet/kubeconfig",
    "/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
    "/var/lib/rancher/rke2/agent/kubelet.kubeconfig",
)
# https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
IN_CLUSTER = "in-cluster files"


def search(explicit: str, environ: Mapping[str, str], label: str) -> tuple[list[str], str]:
    """The files to read, and why these. Raises CniError if there are none, with all that was looked at.

    If the reason is IN_CLUSTER they are not kubeconfigs, but a service account's token and its ca.crt.
    """
    if explicit:
        if state := _state(explicit):
            # An editor may be putting a new one in its place.
            raise Unsettled(f"{label}: stat {explicit}: {state}", f"correct {label}, or remove it")
        return [explicit], label
    if listed := _listed(environ):
        return listed, "$KUBECONFIG"
    looked = ["$KUBECONFIG: not set"]
    for path, why in _single_files(environ):
        state = _state(path)
        if not state:
            return [path], why
        looked.append(f"{path}: {state}")
    account, state = _service_account(environ)
    if not state:
        return account, IN_CLUSTER
    looked.append(f"{ROOT}{SERVICE_ACCOUNT}: {state}")
    raise CniError(
        PLUGIN_FAILURE,
        "no kubeconfig; looked at " + ", ".join(looked),
        f"write the path of one that may get nodes into {label}",
    )


def search_as_kubectl(explicit: str, environ: Mapping[str, str], label: str) -> tuple[list[str], str]:
    """Return the files that kubectl would read, and why these: the kubelet's own are not among them."""
    path = f"{environ.get('HOME') or ROOT + _home()}/.kube/config"
    if explicit or _listed(environ):
        return search(explicit, environ, label)
    if not _state(path):
        return [path], "~/.kube/config"
    account, state = _service_account(environ)
    if state:
        looked = f"$KUBECONFIG: not set, {path}: {_state(path)}, {ROOT}{SERVICE_ACCOUNT}: {state}"
        raise CniError(PLUGIN_FAILURE, f"no kubeconfig; looked at {looked}", f"name one with {label}")
    return account, IN_CLUSTER


def _service_account(environ: Mapping[str, str]) -> tuple[list[str], str]:
    """The files of a pod's service account, and why they cannot be used, or "".

    Both are needed, files and variables: thick Multus has the variables without the files.
    """
    account = [f"{ROOT}{SERVICE_ACCOUNT}/{name}" for name in ("token", "ca.crt")]
    state = next(filter(None, map(_state, account)), "")
    if not state and not (environ.get("KUBERNETES_SERVICE_HOST") and environ.get("KUBERNETES_SERVICE_PORT")):
        state = "there, but no $KUBERNETES_SERVICE_HOST and _PORT"
    return account, state


def _listed(environ: Mapping[str, str]) -> list[str]:
    """What there is of the list in $KUBECONFIG. If it is set, nothing else will do."""
    listed = list(dict.fromkeys(filter(None, environ.get("KUBECONFIG", "").split(":"))))
    there = [path for path in listed if _state(path) != _MISSING]
    if listed and not there:
        raise CniError(
            PLUGIN_FAILURE,
            f"no kubeconfig: of $KUBECONFIG ({':'.join(listed)}) no file exists",
            "correct or unset $KUBECONFIG, or name a file in the configuration, which comes first",
        )
    return there


def _single_files(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    home = environ.get("HOME") or ROOT + _home()
    return [*((ROOT + path, "the kubelet's own") for path in KUBELET_FILES), (f"{home}/.kube/config", "~/.kube/config")]


def _home() -> str:
    """The home directory where there is no $HOME: systemd sets none for containerd."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


_MISSING = "missing"


def _state(path: str) -> str:
    """Why there is no such file, or "" if there is."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return _MISSING
    except OSError as error:
        return os.strerror(error.errno or 0).lower()
    except ValueError:
        return "not a path"
    return ""
