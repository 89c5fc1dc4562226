"""Find the kubeconfig: the places to look at, in order, and the reason why one was chosen."""

from __future__ import annotations

import os

from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.kube import kubelet
from plugin.kube.files import Unsettled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from plugin.cache import Cache

# A prefix for each of the places below, for tests.
ROOT = ""
# The kubelet's credential needs no RBAC, is rotated, and may read its own Node only. Where distributions put it, and
# what says so; kube-bench is github.com/aquasecurity/kube-bench, cfg/config.yaml.
KUBELET_FILES = (
    "/etc/kubernetes/kubelet.conf",  # kubeadm, kind, minikube, Kubespray: k8s.io/kubernetes/cmd/kubeadm/app/constants
    "/var/lib/kubelet/kubeconfig",  # EKS: amazon-eks-ami/nodeadm; GKE: cluster/gce; OpenShift; AKS: AgentBaker
    "/var/lib/rancher/k3s/agent/kubelet.kubeconfig",  # k3s: pkg/daemons/agent
    "/var/lib/rancher/rke2/agent/kubelet.kubeconfig",  # RKE2, the same code
    "/var/lib/k0s/kubelet.conf",  # k0s: pkg/config, KubeletAuthConfigPath
    "/var/lib/mke/kubelet.conf",  # Mirantis Kubernetes Engine 4, of the same origin
    "/var/snap/microk8s/current/credentials/kubelet.config",  # MicroK8s: microk8s-resources/default-args/kubelet
    "/etc/kubernetes/kubelet-kubeconfig",  # IBM Cloud: openshift/origin, OCPBUGS-19795; Tencent TKE: kube-bench
    "/etc/kubernetes/kubeconfig-kubelet",  # Talos: internal/app/machined; kube-bench
    "/etc/kubernetes/kubelet/kubeconfig",  # kube-bench
    "/etc/kubernetes/kubelet-kubeconfig.conf",  # kube-bench
    "/etc/kubernetes/ssl/kubecfg-kube-node.yaml",  # RKE1: kube-bench
)
# The certificate that the kubelet renews, with its key: k8s.io/client-go/util/certificate; k0s has a --root-dir.
CURRENT_CERTIFICATES = (
    "/var/lib/kubelet/pki/kubelet-client-current.pem",
    "/var/lib/k0s/kubelet/pki/kubelet-client-current.pem",
)
# https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
IN_CLUSTER = "in-cluster files"


def search(
    explicit: str,
    environ: Mapping[str, str],
    label: str,
    usual: Iterable[tuple[str, str]],
    fault: Callable[[str], str],
) -> tuple[list[str], str]:
    """Return the files to read, and why these. Raises CniError if there are none, with all that was looked at.

    usual: the places of one kubeconfig each, and what they are, if none is named: of_node() or of_user().
    fault: returns why there is no kubeconfig at a path, "" if there is.
    If the reason is IN_CLUSTER they are not kubeconfigs, but a service account's token and its ca.crt.
    """
    if explicit:
        if gone := state(explicit):
            # An editor may be putting a new one in its place.
            raise Unsettled(f"{label}: stat {explicit}: {gone}", f"correct {label}, or remove it")
        return [explicit], label
    if listed := _listed(environ):
        return listed, "$KUBECONFIG"
    faults = {}
    for path, why in usual:
        faults[path] = fault(path)
        if not faults[path]:
            return [path], why
    account, faults[ROOT + SERVICE_ACCOUNT] = _service_account(environ)
    if not faults[ROOT + SERVICE_ACCOUNT]:
        return account, IN_CLUSTER
    what = f"no kubeconfig; looked at $KUBECONFIG: not set, {_listing(faults)}"
    right = "list Nodes" if label.startswith("--") else "get this Node"  # an option: of a command for the cluster
    raise CniError(PLUGIN_FAILURE, what, f"set {label} to the path of a kubeconfig whose user may {right}")


def _listing(faults: Mapping[str, str]) -> str:
    """Return each place with its fault; of more than two that are missing, only how many they are."""
    missing = [f"{path}: {MISSING}" for path, fault in faults.items() if fault == MISSING]
    if len(missing) > 2:
        missing = [f"{len(missing)} usual places: {MISSING}"]
    return ", ".join([f"{path}: {fault}" for path, fault in faults.items() if fault != MISSING] + missing)


def of_node(environ: Mapping[str, str], cache: Cache | None) -> Iterator[tuple[str, str]]:
    """Yield the places of a kubeconfig on a node, and what each is. cache: see kubelet.kubeconfig()."""
    running = kubelet.kubeconfig(f"{ROOT}/proc", cache)
    if running:
        yield running, "the running kubelet's --kubeconfig"
    for path in KUBELET_FILES:
        if ROOT + path != running:
            yield ROOT + path, "the kubelet's own"
    yield from of_user(environ)


def of_user(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the place in which kubectl looks."""
    yield f"{environ.get('HOME') or ROOT + _home()}/.kube/config", "~/.kube/config"


def _service_account(environ: Mapping[str, str]) -> tuple[list[str], str]:
    """Return the files of a pod's service account, and why they cannot be used, or "".

    Both are needed, files and variables: thick Multus has the variables without the files.
    """
    account = [f"{ROOT}{SERVICE_ACCOUNT}/{name}" for name in ("token", "ca.crt")]
    fault = next(filter(None, map(state, account)), "")
    if not fault and not (environ.get("KUBERNETES_SERVICE_HOST") and environ.get("KUBERNETES_SERVICE_PORT")):
        fault = "there, but no $KUBERNETES_SERVICE_HOST and _PORT"
    return account, fault


def _listed(environ: Mapping[str, str]) -> list[str]:
    """Return the files of the list in $KUBECONFIG that exist. Raises CniError if it is set and none does."""
    listed = list(dict.fromkeys(filter(None, environ.get("KUBECONFIG", "").split(":"))))
    there = [path for path in listed if state(path) != MISSING]
    if listed and not there:
        raise CniError(
            PLUGIN_FAILURE,
            f"no kubeconfig: of $KUBECONFIG ({':'.join(listed)}) no file exists",
            "correct or unset $KUBECONFIG, or name a file in the configuration, which comes first",
        )
    return there


def _home() -> str:
    """Return the home directory if $HOME is not set: systemd does not set it for containerd."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


MISSING = "missing"


def state(path: str) -> str:
    """Return why there is no such file, or "" if there is."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except OSError as error:
        return os.strerror(error.errno or 0).lower()
    return ""
