"""Real API servers in place of the built-in one: kube-apiserver from a folder, or a running cluster."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any

from tests.support import makeconfig, pki
from tests.support.apiserver import ApiServer
from tests.support.nodes import Node

NAMESPACE = "node-ipam"  # of the service accounts
ACCOUNT = "node-ipam"  # the one that may get nodes, and nothing else
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_SECONDS = 90.0  # until a server that is not ready counts as broken
_MERGE = "application/merge-patch+json"
# A line that says why a program ended: klog's severities E and F, etcd's log in text and in JSON, Go's own.
_ERROR = re.compile(r'[EF]\d{4} |Error: |error: |panic: |fatal error: |.* [CE] \| |.*"level":"(error|panic|fatal)"')
_LINES = 5


class Admin:
    """A client with all rights on a server."""

    def __init__(self, server: ApiServer, directory: str) -> None:
        pair = server.client_authority.client("admin", ("system:masters",))
        self._server = server
        self._context = ssl.create_default_context(cadata=server.authority.ca_pem.decode())
        self._context.load_cert_chain(makeconfig.write(directory, "admin.pem", pair.certificate + pair.key))

    def call(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Any:
        """What the server answers. Raises urllib.error.HTTPError and, while there is no server, URLError."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._server.url + path, data, {"Content-Type": kind}, method=method)
        with urllib.request.urlopen(request, context=self._context, timeout=30) as answer:
            return json.loads(answer.read() or b"null") if path.startswith("/api") else answer.read()

    def ensure(self, path: str, body: object) -> None:
        """Create an object unless it exists."""
        try:
            self.call("POST", path, body)
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise OSError(f"POST {path}: {error.read().decode()}") from None

    def annotate(self, node: str, name: str, value: str | None) -> None:
        """Set an annotation of a Node; None removes it."""
        self.call("PATCH", f"/api/v1/nodes/{node}", {"metadata": {"annotations": {name: value}}}, _MERGE)


class KubeApiServer(ApiServer):
    """kube-apiserver and etcd from one folder; their data is in a directory.

    Rules, users, faults and the like of the built-in server mean nothing here: RBAC and the Node authorizer decide.
    """

    def __init__(self, folder: str, directory: str) -> None:
        super().__init__()
        self._folder = folder
        self._directory = directory
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._admin = Admin(self, directory)

    def start(self) -> None:
        """Start both and wait until they serve; create the service account that may get nodes.

        Raises OSError with the last errors in the servers' logs; then neither runs.
        """
        etcd, peers, self.port = (_free_port() for _ in range(3))
        try:
            self._run("etcd", _etcd_options(self._directory, f"http://127.0.0.1:{etcd}", f"http://127.0.0.1:{peers}"))
            self._run("kube-apiserver", {**self._options(), "etcd-servers": f"http://127.0.0.1:{etcd}"})
            self._wait()
            self._permit()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop both, the API server first."""
        while self._processes:
            _name, process = self._processes.popitem()
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def add(self, node: Node) -> Node:
        """Create a Node, in place of the one that has its name."""
        name = node["metadata"]["name"]
        try:
            self._admin.call("DELETE", f"/api/v1/nodes/{name}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
        metadata = {key: node["metadata"][key] for key in ("name", "labels", "annotations")}
        self._admin.ensure("/api/v1/nodes", {**node, "metadata": metadata})
        return node

    def token(self, user: str = ACCOUNT, groups: tuple[str, ...] = ()) -> str:
        """A token of the service account of this name, which is made when there is none."""
        accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
        self._admin.ensure(accounts, {"metadata": {"name": user}})
        wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        return str(self._admin.call("POST", f"{accounts}/{user}/token", wanted)["status"]["token"])

    def _run(self, name: str, options: dict[str, str]) -> None:
        arguments = [f"--{key}={value}" for key, value in options.items()]
        with open(self._log(name), "ab") as log:
            command = [os.path.join(self._folder, name), *arguments]
            self._processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _options(self) -> dict[str, str]:
        """https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/."""
        accounts = pki.sec1(self.authority.client("service-accounts"))

        def file(name: str, data: bytes) -> str:
            return makeconfig.write(self._directory, name, data)

        return {
            "secure-port": str(self.port),
            "bind-address": self.host,
            "advertise-address": self.host,
            "endpoint-reconciler-type": "none",  # an address on loopback is no endpoint
            "tls-cert-file": file("server.crt", self.certificate.certificate),
            "tls-private-key-file": file("server.key", self.certificate.key),
            "client-ca-file": file("ca.crt", self.client_authority.ca_pem),
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "disable-admission-plugins": "ServiceAccount",  # it waits for a controller that is not here
            "service-cluster-ip-range": "10.96.0.0/16",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": file("accounts.key", accounts),
            "service-account-signing-key-file": file("accounts.key", accounts),
        }

    def _wait(self) -> None:
        give_up = time.monotonic() + _SECONDS
        while True:
            try:
                self._admin.call("GET", "/readyz")
                return
            except OSError as error:  # refused, or 500 with the checks that fail
                ended = [name for name, process in self._processes.items() if process.poll() is not None]
                if ended or time.monotonic() > give_up:
                    logs = "".join(
                        f"\n{name}: {line}" for name in ended or self._processes for line in self._errors(name)
                    )
                    what = f"{' and '.join(ended)} ended" if ended else f"not ready after {_SECONDS:.0f} s: {error}"
                    raise OSError(f"{what}{logs}") from None
            time.sleep(0.2)

    def _errors(self, name: str) -> list[str]:
        """Return the last errors in a program's log; if it has none, its last lines."""
        with open(self._log(name), encoding="utf-8", errors="replace") as log:
            lines = log.read().splitlines()
        return [line for line in lines if _ERROR.match(line)][-_LINES:] or lines[-_LINES:]

    def _log(self, name: str) -> str:
        return os.path.join(self._directory, f"{name}.log")

    def _permit(self) -> None:
        rules = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ACCOUNT}
        subject = {"kind": "ServiceAccount", "namespace": NAMESPACE, "name": ACCOUNT}
        binding = {"metadata": {"name": ACCOUNT}, "roleRef": role, "subjects": [subject]}
        self._admin.ensure("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        self._admin.ensure(f"{_RBAC}/clusterroles", {"metadata": {"name": ACCOUNT}, "rules": rules})
        self._admin.ensure(f"{_RBAC}/clusterrolebindings", binding)


class RunningCluster(ApiServer):
    """A running cluster of someone else, with one Node and one kubeconfig.

    Nothing is changed but by annotate(), for which kubectl has to be there.
    """

    def __init__(self, kubeconfig: str, node: str) -> None:
        super().__init__()
        self._kubeconfig = os.path.abspath(kubeconfig)
        self._node = node

    def start(self) -> None:
        """Do nothing: it runs."""

    def stop(self) -> None:
        """Do nothing: it keeps running."""

    def add(self, node: Node) -> Node:
        """Return the Node of the cluster."""
        found: Node = json.loads(self._kubectl("get", "node", self._node, "--output=json"))
        return found

    def write_kubeconfig(self, path: str | os.PathLike[str], *_kind: object) -> str:
        """Return the path of the given kubeconfig."""
        return self._kubeconfig

    def annotate(self, node: str, name: str, value: str | None) -> None:
        """Set an annotation of the Node; None removes it."""
        self._kubectl("annotate", "--overwrite", "node", node, f"{name}-" if value is None else f"{name}={value}")

    def _kubectl(self, *arguments: str) -> str:
        command = ["kubectl", f"--kubeconfig={self._kubeconfig}", *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _etcd_options(directory: str, clients: str, peers: str) -> dict[str, str]:
    """https://etcd.io/docs/latest/op-guide/configuration/."""
    return {
        "data-dir": os.path.join(directory, "etcd"),
        "listen-client-urls": clients,
        "advertise-client-urls": clients,
        "listen-peer-urls": peers,
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
