"""The same kubeconfigs through kubectl and through ours, against one server: verdict and credentials, row by row."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from plugin.errors import CniError
from plugin.kube import files, kubeconfig
from plugin.kube.client import Client
from tests.support.kubeconfig_cases import CASES, MERGES, PLAIN_HTTP, Case, Material, Merge, config

_BESIDE = os.path.join(os.path.dirname(sys.executable), "kubectl")
_KUBECTL = _BESIDE if os.path.exists(_BESIDE) else shutil.which("kubectl")

_BRACKETS = "kubectl since Go 1.25.2 refuses brackets round an IPv4 address, which Multus and Calico wrote for years"
_NUMBER = "kubectl refuses numbers; we do not tell them from text: a token of digits is a token"
_PROMPT = "kubectl asks for a user name where client-go, and we, go on as anonymous"
# Every case in which we deliberately are not as kubectl is, and why.
DIFFERENCES = {
    "multus.yaml": _BRACKETS,
    "multus-skip-tls-verify.yaml": _BRACKETS,
    "calico.yaml": _BRACKETS,
    "bracketed IPv4": _BRACKETS,
    "bracketed name": _BRACKETS,
    "token is a number": _NUMBER,
    "token is 1e3": _NUMBER,
    "current-context is a number": _NUMBER,
    "users null": _PROMPT,
    "user null": _PROMPT,
    "context without user": _PROMPT,
    "unknown user": _PROMPT,
    "password without username": _PROMPT,
    "UTF-16": "kubectl reads it; nobody writes it",
    "token file is not text": "kubectl sends whatever bytes are in it; no token has such",
    "user and password": "kubectl sends them; they would end up in logs, and the user entry has a place for them",
    "http with impersonation": "kubectl impersonates as nobody; nothing of the user entry goes over plain HTTP",
}

# To kubectl a version, to us a Node.
_ANSWER = {"kind": "Node", "gitVersion": "v1.36.0", "major": "1", "minor": "36", "metadata": {"name": "n", "uid": "1"}}

pytestmark = pytest.mark.skipif(not _KUBECTL, reason="kubectl is not installed")


class Seen(NamedTuple):
    """The credentials and the path prefix that a server saw."""

    prefix: str
    authorization: str
    common_name: str
    impersonate: tuple[tuple[str, str], ...]


class Recorder:
    """A server that gives every answer needed and remembers who asked last; with TLS unless there is no material."""

    def __init__(self, material: Material | None) -> None:
        self.seen: list[Seen] = []
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                recorder.seen.append(_seen(self))
                body = json.dumps(_ANSWER).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                pass

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        if material:
            pair = material.authority.server("127.0.0.1", "localhost", "kubernetes")
            path = material.write("server.pem", pair.certificate + pair.key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(path)
            context.load_verify_locations(cadata=material.authority.ca_pem.decode())
            context.verify_mode = ssl.CERT_OPTIONAL
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def last(self) -> Seen | None:
        """Return and reset what the last request showed; None if there was none."""
        seen, self.seen = self.seen, []
        return seen[-1] if seen else None

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args: object) -> None:
        """Ignore clients that do not trust this server's certificate."""


def _seen(request: http.server.BaseHTTPRequestHandler) -> Seen:
    connection = request.connection
    subject: Any = (connection.getpeercert() or {}).get("subject", ()) if isinstance(connection, ssl.SSLSocket) else ()
    names = dict(pair for names in subject for pair in names)
    path = request.path.partition("?")[0]
    for end in ("/version", "/api/v1/nodes/n"):
        path = path[: -len(end)] if path.endswith(end) else path
    impersonate = sorted(
        (name.lower(), value) for name, value in request.headers.items() if name.lower().startswith("impersonate-")
    )
    return Seen(path, request.headers.get("Authorization", ""), names.get("commonName", ""), tuple(impersonate))


def _kubectl(environ: Mapping[str, str]) -> bool:
    done = subprocess.run(
        [str(_KUBECTL), "version", "-o", "json", "--request-timeout=10s"],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def _ours(environ: Mapping[str, str]) -> bool:
    try:
        Client(lambda: kubeconfig.find("", environ), environ).get_node("n")
    except CniError:
        return False
    return True


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.0)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """The files that the kubeconfigs name."""
    return Material(str(tmp_path_factory.mktemp("material")))


@pytest.fixture(scope="module")
def server(material: Material) -> Iterator[Recorder]:
    """The server they name, which asks for a client certificate and goes on without."""
    recorder = Recorder(material)
    yield recorder
    recorder.close()


@pytest.fixture(scope="module")
def plain(material: Material) -> Iterator[Recorder]:
    """The same without TLS."""
    recorder = Recorder(None)
    yield recorder
    recorder.close()


def _compare(name: str, recorder: Recorder, material: Material, listed: str) -> None:
    """Verdict and what the server saw are the same, unless DIFFERENCES says why not."""
    environ = {"HOME": os.path.join(material.directory, "home"), "PATH": os.environ["PATH"], "KUBECONFIG": listed}
    ours = _ours(environ), recorder.last()
    theirs = _kubectl(environ), recorder.last()
    reason = DIFFERENCES.get(name, "")
    if reason and not (reason is _BRACKETS and theirs[0]):  # an older kubectl
        assert ours != theirs
    else:
        assert ours == theirs


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_kubeconfig(case: Case, material: Material, server: Recorder) -> None:
    """kubectl and we accept the same kubeconfigs and show the server the same."""
    material.values["PORT"] = str(server.port)
    _compare(case.name, server, material, material.config(case))


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("case", PLAIN_HTTP, ids=lambda case: case.name)
def test_plain_http(case: Case, material: Material, plain: Recorder) -> None:
    """Neither kubectl nor we send a credential over plain HTTP."""
    material.values["PORT"] = str(plain.port)
    _compare(case.name, plain, material, material.config(case))


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("case", MERGES, ids=lambda case: case.name)
def test_list_of_kubeconfigs(case: Merge, material: Material, server: Recorder) -> None:
    """kubectl and we merge the files in $KUBECONFIG alike."""
    material.values["PORT"] = str(server.port)
    for name, text in case.files.items():
        material.write(name, material.filled(text).encode())
    _compare(case.name, server, material, material.filled(case.listed))


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
@pytest.mark.parametrize("cluster_info", ["true", "false"])
def test_what_plugins_are_told(version: str, cluster_info: str, material: Material, server: Recorder) -> None:
    """A credential plugin gets the same KUBERNETES_EXEC_INFO from kubectl and from us."""
    material.values["PORT"] = str(server.port)
    told = f"{material.directory}/told"
    script = f'#!/bin/sh\nprintf %s "$KUBERNETES_EXEC_INFO" > {told}\nexec {material.directory}/bin/token-{version}\n'
    material.write("bin/tell", script.encode(), 0o700)
    user = (
        f"exec: {{apiVersion: client.authentication.k8s.io/{version}, command: bin/tell, interactiveMode: Never, "
        f"provideClusterInfo: {cluster_info}}}"
    )
    cluster = (
        "tls-server-name: kubernetes, disable-compression: true, "
        "extensions: [{name: client.authentication.k8s.io/exec, extension: {audience: [x], enabled: on}}]"
    )
    listed = material.write(
        "config", material.filled(config(user, cluster, ca="certificate-authority: ca.crt")).encode()
    )
    environ = {"HOME": os.path.join(material.directory, "home"), "PATH": os.environ["PATH"], "KUBECONFIG": listed}
    told_by = []
    for run in (_ours, _kubectl):
        assert run(environ)
        with open(told, encoding="utf-8") as file:
            told_by.append(json.load(file))
    assert told_by[0] == told_by[1]


def test_every_difference_is_one_of_a_case() -> None:
    """Every entry of DIFFERENCES belongs to a case."""
    assert set(DIFFERENCES) <= {case.name for case in [*CASES, *PLAIN_HTTP]} | {case.name for case in MERGES}
