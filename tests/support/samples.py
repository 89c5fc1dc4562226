"""Nodes as distributions make them: files with their owners and modes, and what the kubelet was told.

From the sources of the distributions, as far as they are public; in a kubeconfig {names} are filled in by the test.
"""

from __future__ import annotations

from typing import NamedTuple, Union

from tests.support.rules import Rule, authenticated, node_authorizer

# (path/, mode, user, group) for a directory, (path, mode, user, group, text) for a file, (path, target) for a link.
# What is not listed of a path is a directory of root with mode 0755.
Entry = Union[tuple[str, int, int, int], tuple[str, int, int, int, str], tuple[str, str]]

KUBE, MICROK8S = 997, 1003
ACCOUNTS: tuple[Entry, ...] = (
    ("/etc/passwd", 0o644, 0, 0, f"root:x:0:0:root:/root:/bin/sh\nkube:x:{KUBE}:996::/home/kube:/sbin/nologin\n"),
    ("/etc/group", 0o644, 0, 0, f"root:x:0:\nmicrok8s:x:{MICROK8S}:ubuntu\n"),
)
CURRENT = "kubelet-client-current.pem"
DATED = "kubelet-client-2026-11-02-07-41-12.pem"


class Sample(NamedTuple):
    """One node. expected: how the Node is found, or a part of the error. kubeconfig: the file that is used."""

    expected: str
    files: tuple[Entry, ...]
    kubeconfig: str = ""
    kubelet: tuple[str, ...] = ()  # its command line, if it is a process of its own
    host: str = "worker-1"
    node: str = "worker-1"
    rule: Rule = node_authorizer
    reviews: bool = True  # whether the API server knows SelfSubjectReview
    ipam: tuple[tuple[str, str], ...] = ()
    remedy: str = ""


def kubeconfig(user: str, authority: str = "certificate-authority-data: {ca_data}", name: str = "default") -> str:
    """A kubeconfig with one user; the texts of the distributions differ in order and quotes alone."""
    return (
        "apiVersion: v1\nclusters:\n- cluster:\n"
        f"    {authority}\n    server: {{server}}\n  name: {name}-cluster\ncontexts:\n- context:\n"
        f"    cluster: {name}-cluster\n    namespace: default\n    user: {name}-auth\n  name: {name}-context\n"
        f"current-context: {name}-context\nkind: Config\nusers:\n- name: {name}-auth\n  user:\n{user}"
    )


def conf(path: str, user: str, authority: str = "", mode: int = 0o600) -> Entry:
    """The kubelet's kubeconfig, a file of root; authority: the path of the CA, if it is not in it."""
    where = f"certificate-authority: {authority}" if authority else "certificate-authority-data: {ca_data}"
    return path, mode, 0, 0, kubeconfig(user, where)


def by_files(certificate: str, key: str = "") -> str:
    """A user entry that names files."""
    return f"    client-certificate: {certificate}\n    client-key: {key or certificate}\n"


def by_program(command: str, *arguments: str, version: str = "v1beta1") -> str:
    """A user entry with a program that hands out credentials."""
    lines = "".join(f"      - {each}\n" for each in arguments)
    api = f"client.authentication.k8s.io/{version}"
    return f"    exec:\n      apiVersion: {api}\n      command: {command}\n      args:\n{lines}"


def pki(directory: str) -> tuple[Entry, ...]:
    """The kubelet's own certificate, renewed by itself."""
    return (
        (f"{directory}/{DATED}", 0o600, 0, 0, "{pem}"),
        (f"{directory}/{CURRENT}", f"{directory}/{DATED}"),
    )


def rancher(name: str) -> tuple[Entry, ...]:
    """What k3s and RKE2 have in common."""
    agent = f"/var/lib/rancher/{name}/agent"
    user = by_files(f"{agent}/client-kubelet.crt", f"{agent}/client-kubelet.key")
    return (
        (f"{agent}/", 0o755, 0, 0),
        (f"{agent}/kubelet.kubeconfig", 0o600, 0, 0, kubeconfig(user, f"certificate-authority: {agent}/server-ca.crt")),
        (f"{agent}/server-ca.crt", 0o600, 0, 0, "{ca}"),
        (f"{agent}/client-kubelet.crt", 0o600, 0, 0, "{certificate}"),
        (f"{agent}/client-kubelet.key", 0o600, 0, 0, "{key}"),
    )


OLD_DATA = "    client-certificate-data: {old_certificate_data}\n    client-key-data: {old_key_data}\n"
GKE_PROGRAM = by_program("'/home/kubernetes/bin/gke-exec-auth-plugin'", "--cache-dir", "/var/lib/kubelet/pki/")
TOKEN_FILE = "    tokenFile: /var/lib/node-ipam/token\n"
RENEWED = by_files(f"/var/lib/kubelet/pki/{CURRENT}")
KUBEADM = kubeconfig(RENEWED)
KUBEADM_FLAGS = (
    "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
    "--kubeconfig=/etc/kubernetes/kubelet.conf",
    "--config=/var/lib/kubelet/config.yaml",
)
KUBELET_CONFIGURATION = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nclusterDomain: x\n"
MICROK8S_CREDENTIALS = "/var/snap/microk8s/7394/credentials"
AWS = ("eks", "get-token", "--cluster-name", "sandbox", "--region", "eu-west-3")
AWS_CLI: tuple[Entry, ...] = (
    ("/usr/local/aws-cli/v2/2.17.1/dist/aws", 0o755, 0, 0, "{token_program}"),
    ("/usr/local/aws-cli/v2/current", "/usr/local/aws-cli/v2/2.17.1"),
    ("/usr/local/aws-cli/v2/2.17.1/bin/aws", "../dist/aws"),
    ("/usr/local/bin/aws", "/usr/local/aws-cli/v2/current/bin/aws"),
)
EKS: tuple[Entry, ...] = (
    conf("/var/lib/kubelet/kubeconfig", by_program("aws", *AWS), "/etc/kubernetes/pki/ca.crt", 0o644),
    ("/etc/kubernetes/pki/ca.crt", 0o644, 0, 0, "{ca}"),
    *AWS_CLI,
)

SAMPLES: dict[str, Sample] = {
    "kubeadm": Sample(
        "certificate CN",
        (("/etc/kubernetes/kubelet.conf", 0o600, 0, 0, KUBEADM), *pki("/var/lib/kubelet/pki")),
        "/etc/kubernetes/kubelet.conf",
        ("/usr/bin/kubelet", *KUBEADM_FLAGS),
    ),
    "kubeadm before 1.17, certificate renewed": Sample(
        "certificate CN",
        (
            conf("/etc/kubernetes/kubelet.conf", OLD_DATA),
            *pki("/var/lib/kubelet/pki"),
        ),
        "/etc/kubernetes/kubelet.conf",
        ("/usr/bin/kubelet", *KUBEADM_FLAGS),
    ),
    "kubeadm by Kubespray": Sample(
        "certificate CN",
        (
            ("/etc/kubernetes/", 0o755, KUBE, 0),
            ("/etc/kubernetes/kubelet.conf", 0o600, 0, 0, KUBEADM),
            *pki("/var/lib/kubelet/pki"),
        ),
        "/etc/kubernetes/kubelet.conf",
        ("/usr/local/bin/kubelet", *KUBEADM_FLAGS),
    ),
    "kind": Sample(
        "certificate CN",
        (("/etc/kubernetes/kubelet.conf", 0o600, 0, 0, KUBEADM), *pki("/var/lib/kubelet/pki")),
        "/etc/kubernetes/kubelet.conf",
        ("/usr/bin/kubelet", *KUBEADM_FLAGS, "--provider-id=kind://docker/kind/kind-worker"),
        "kind-worker",
        "kind-worker",
    ),
    "minikube": Sample(
        "certificate CN",
        (
            conf(
                "/etc/kubernetes/kubelet.conf",
                RENEWED,
                "/var/lib/minikube/certs/ca.crt",
            ),
            ("/var/lib/minikube/certs/ca.crt", 0o644, 0, 0, "{ca}"),
            *pki("/var/lib/kubelet/pki"),
        ),
        "/etc/kubernetes/kubelet.conf",
        ("/var/lib/minikube/binaries/v1.34.0/kubelet", *KUBEADM_FLAGS, "--hostname-override=minikube"),
        "minikube",
        "minikube",
    ),
    "k3s": Sample("certificate CN", rancher("k3s"), "/var/lib/rancher/k3s/agent/kubelet.kubeconfig"),
    "RKE2": Sample(
        "certificate CN",
        rancher("rke2"),
        "/var/lib/rancher/rke2/agent/kubelet.kubeconfig",
        ("kubelet", "--volume-plugin-dir=/x", "--kubeconfig=/var/lib/rancher/rke2/agent/kubelet.kubeconfig"),
    ),
    "k3s elsewhere": Sample(
        "no kubeconfig; looked at",
        (("/data/k3s/agent/kubelet.kubeconfig", 0o600, 0, 0, KUBEADM),),
        remedy="ipam.kubeconfig",
    ),
    "k0s": Sample(
        "certificate CN",
        (
            conf("/var/lib/k0s/kubelet.conf", by_files(f"/var/lib/k0s/kubelet/pki/{CURRENT}")),
            *pki("/var/lib/k0s/kubelet/pki"),
        ),
        "/var/lib/k0s/kubelet.conf",
        ("/var/lib/k0s/bin/kubelet", "--root-dir=/var/lib/k0s/kubelet", "--kubeconfig=/var/lib/k0s/kubelet.conf"),
    ),
    "k0s elsewhere": Sample(
        "certificate CN",
        (
            conf("/data/k0s/kubelet.conf", by_files(f"/data/k0s/kubelet/pki/{CURRENT}")),
            *pki("/data/k0s/kubelet/pki"),
        ),
        "/data/k0s/kubelet.conf",
        ("/data/k0s/bin/kubelet", "--root-dir=/data/k0s/kubelet", "--kubeconfig=/data/k0s/kubelet.conf"),
    ),
    "MicroK8s": Sample(
        "SelfSubjectReview",
        (
            (f"{MICROK8S_CREDENTIALS}/", 0o770, 0, MICROK8S),
            (f"{MICROK8S_CREDENTIALS}/kubelet.config", 0o660, 0, MICROK8S, kubeconfig("    token: {token}\n")),
            ("/var/snap/microk8s/current", "7394"),
        ),
        "/var/snap/microk8s/current/credentials/kubelet.config",
    ),
    "EKS": Sample(
        "SelfSubjectReview",
        EKS,
        "/var/lib/kubelet/kubeconfig",
        ("/usr/bin/kubelet", "--kubeconfig", "/var/lib/kubelet/kubeconfig", "--hostname-override=i-0f1e2d3c4b5a69788"),
        "ip-10-0-3-115.eu-west-1.compute.internal",
        "i-0f1e2d3c4b5a69788",
    ),
    "EKS before 1.28": Sample(
        "hostname",
        EKS,
        "/var/lib/kubelet/kubeconfig",
        ("/usr/bin/kubelet", "--kubeconfig", "/var/lib/kubelet/kubeconfig"),
        "ip-10-0-3-115.eu-west-1.compute.internal",
        "ip-10-0-3-115.eu-west-1.compute.internal",
        reviews=False,
    ),
    "EKS before 1.28, another host name": Sample(
        "this machine's Node cannot be told",
        EKS,
        host="renamed",
        node="ip-10-0-3-115.eu-west-1.compute.internal",
        reviews=False,
        remedy="set 'nodeName'",
    ),
    "GKE": Sample(
        "certificate CN",
        (
            conf(
                "/var/lib/kubelet/kubeconfig",
                by_program("'/home/kubernetes/bin/gke-exec-auth-plugin'", "--cache-dir", "/var/lib/kubelet/pki/"),
                "'/etc/srv/kubernetes/pki/ca-certificates.crt'",
            ),
            ("/etc/srv/kubernetes/pki/ca-certificates.crt", 0o644, 0, 0, "{ca}"),
            ("/home/kubernetes/bin/gke-exec-auth-plugin", 0o755, 0, 0, "{certificate_program}"),
        ),
        "/var/lib/kubelet/kubeconfig",
        ("/home/kubernetes/bin/kubelet", "--v=2", "--kubeconfig=/var/lib/kubelet/kubeconfig"),
        "gke-pool-1-8d2f3c4b-x1z2",
        "gke-pool-1-8d2f3c4b-x1z2",
    ),
    "AKS": Sample(
        "certificate CN",
        (
            conf(
                "/var/lib/kubelet/kubeconfig",
                RENEWED,
                "/etc/kubernetes/certs/ca.crt",
            ),
            ("/etc/kubernetes/certs/ca.crt", 0o600, 0, 0, "{ca}"),
            *pki("/var/lib/kubelet/pki"),
        ),
        "/var/lib/kubelet/kubeconfig",
        ("/usr/local/bin/kubelet", "--kubeconfig", "/var/lib/kubelet/kubeconfig"),
        "aks-nodepool1-12345678-vmss000000",
        "aks-nodepool1-12345678-vmss000000",
    ),
    "OpenShift": Sample(
        "certificate CN",
        (
            ("/etc/kubernetes/kubelet.conf", 0o644, 0, 0, KUBELET_CONFIGURATION),
            conf("/etc/kubernetes/kubeconfig", "    token: bootstrap\n"),
            ("/etc/kubernetes/kubelet-ca.crt", 0o644, 0, 0, "{ca}"),
            conf(
                "/var/lib/kubelet/kubeconfig",
                RENEWED,
                "/etc/kubernetes/kubelet-ca.crt",
            ),
            *pki("/var/lib/kubelet/pki"),
        ),
        "/var/lib/kubelet/kubeconfig",
        node="worker-1.example.org",
        host="worker-1.example.org",
    ),
    "OpenShift, kubelet seen": Sample(
        "certificate CN",
        (
            ("/etc/kubernetes/kubelet.conf", 0o644, 0, 0, KUBELET_CONFIGURATION),
            ("/var/lib/kubelet/kubeconfig", 0o600, 0, 0, KUBEADM),
            *pki("/var/lib/kubelet/pki"),
        ),
        "/var/lib/kubelet/kubeconfig",
        ("/usr/bin/kubelet", "--config=/etc/kubernetes/kubelet.conf", "--kubeconfig=/var/lib/kubelet/kubeconfig"),
    ),
    "IBM Cloud": Sample(
        "certificate CN",
        (("/etc/kubernetes/kubelet-kubeconfig", 0o600, 0, 0, KUBEADM), *pki("/var/lib/kubelet/pki")),
        "/etc/kubernetes/kubelet-kubeconfig",
    ),
    "Multus's kubeconfig": Sample(
        "token claim",
        (
            (
                "/etc/cni/net.d/multus.d/multus.kubeconfig",
                0o600,
                0,
                0,
                kubeconfig("    token: {bound_token}\n", name="multus"),
            ),
        ),
        "/etc/cni/net.d/multus.d/multus.kubeconfig",
        rule=authenticated,
        ipam=(("kubeconfig", "/etc/cni/net.d/multus.d/multus.kubeconfig"),),
    ),
    "deploy --service-account": Sample(
        "token claim",
        (
            conf(
                "/var/lib/node-ipam/kubeconfig",
                "    tokenFile: /var/lib/node-ipam/token\n",
                "/var/lib/node-ipam/ca.crt",
            ),
            ("/var/lib/node-ipam/token", 0o600, 0, 0, "{bound_token}"),
            ("/var/lib/node-ipam/ca.crt", 0o600, 0, 0, "{ca}"),
        ),
        "/var/lib/node-ipam/kubeconfig",
        rule=authenticated,
        ipam=(("kubeconfig", "/var/lib/node-ipam/kubeconfig"),),
    ),
    "a user's kubeconfig": Sample(
        "user 1000 owns /home/ubuntu",
        (("/home/ubuntu/", 0o755, 1000, 1000), ("/home/ubuntu/kubeconfig", 0o600, 1000, 1000, KUBEADM)),
        ipam=(("kubeconfig", "/home/ubuntu/kubeconfig"),),
        remedy="chown root /home/ubuntu",
    ),
    "no kubelet": Sample("no kubeconfig; looked at", (), remedy="ipam.kubeconfig"),
}
