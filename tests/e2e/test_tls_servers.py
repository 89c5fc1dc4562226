"""The client against real TLS servers with good and bad certificates, in a hostile environment too."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin.errors import PLUGIN_FAILURE, CniError, Unreachable
from plugin.kube import pem, sockets, tls
from tests.support import makeconfig, parts
from tests.support.apiserver import ApiServer, make_node, node_authorizer
from tests.support.asking import AUTHORITY, INSECURE, NAMES, Change, Kubeconfig, cluster, connect, refusal, trusting
from tests.support.connectproxy import ConnectProxy
from tests.support.pki import Authority, Pair

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """An API server with the Node a."""
    with ApiServer(authority=AUTHORITY) as running:
        running.add(make_node("a"))
        yield running


@pytest.mark.parametrize(
    ("authority", "chain"),
    [
        (Authority(kind="rsa"), False),
        (Authority(kind="ecdsa"), False),
        (Authority(key_identifiers=False), False),
        (Authority(kind="rsa", key_identifiers=False), False),
        (Authority(), True),
    ],
    ids=["rsa", "ecdsa", "no-key-identifiers", "rsa-no-key-identifiers", "intermediate"],
)
def test_certificates_accepted(tmp_path: Path, authority: Authority, chain: bool) -> None:
    """Certificates as clusters have them, for server and client alike."""
    issuer = Authority("intermediate", issuer=authority) if chain else authority
    with ApiServer(authority=authority, certificate=issuer.server(*NAMES)) as server:
        server.client_authority = issuer
        server.add(make_node("a"))
        for kind in ("token", "certificate"):
            assert connect(server, tmp_path, kind=kind).get_node("a")["metadata"]["name"] == "a"


@pytest.mark.parametrize("version", sorted(parts.pythons()))
def test_authority_without_key_identifiers(version: str) -> None:
    """Every Python, 3.13 with its stricter defaults included, accepts an authority that Go accepts."""
    code = (
        "import socket, sys\n"
        "from plugin.kube import tls\n"
        "from plugin.kube.credentials import Credentials\n"
        "from plugin.kube.kubeconfig import Kubeconfig\n"
        "config = Kubeconfig.__new__(Kubeconfig)\n"
        "config.ca, config.insecure = sys.stdin.buffer.read(), False\n"
        "context = tls.context(config, Credentials('anonymous', ''))\n"
        "plain = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 10)\n"
        "print(context.wrap_socket(plain, server_hostname='127.0.0.1').version(), context.minimum_version.name)\n"
    )
    with ApiServer(authority=Authority(key_identifiers=False)) as server:
        command = [parts.pythons()[version], "-Sc", code, str(server.port)]
        pem = server.authority.ca_pem
        done = subprocess.run(command, input=pem, capture_output=True, cwd=ROOT, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (b"TLSv1.3 TLSv1_2\n", b"")


@pytest.mark.parametrize("what", ["leaf", "intermediate"])
def test_partial_chain(tmp_path: Path, what: str) -> None:
    """A server's own certificate, or an intermediate, is enough to trust, as it is for Go."""
    middle = Authority("middle", issuer=AUTHORITY)
    pair = middle.server(*NAMES)
    with ApiServer(authority=AUTHORITY, certificate=pair) as server:
        server.add(make_node("a"))
        leaf = next(pem.blocks(pair.certificate, "CERTIFICATE"))
        made = connect(server, tmp_path, trusting(leaf if what == "leaf" else middle.ca_pem))
        assert made.get_node("a")["metadata"]["name"] == "a"


@pytest.mark.parametrize(
    ("certificate", "change", "says"),
    [
        (AUTHORITY.server(*NAMES, expired=True), cluster(), "its certificate has expired"),
        (
            Authority().server(*NAMES),
            cluster(),
            "its certificate is signed by an authority that the kubeconfig does not name",
        ),
        (
            Authority(key_identifiers=False).server(*NAMES),
            cluster(),
            "its certificate is signed by an authority that the kubeconfig does not name",
        ),
        (
            Authority("other").server(*NAMES),
            cluster(),
            "its certificate is signed by an authority that the kubeconfig does not name",
        ),
        (
            AUTHORITY.server("api.example.org", "10.96.0.1"),
            cluster(),
            "its certificate is for another name: api.example.org, 10.96.0.1",
        ),
        (
            AUTHORITY.server(*NAMES),
            cluster(tls_server_name="example.org"),
            "its certificate is for another name: 127.0.0.1, 0:0:0:0:0:0:0:1, kubernetes",
        ),
        (AUTHORITY.server(common_name="127.0.0.1"), cluster(), "its certificate is for another name"),
    ],
    ids=[
        "expired",
        "same-name-other-key",
        "same-name-no-key-identifiers",
        "other-authority",
        "other-name",
        "other-server-name",
        "common-name-only",
    ],
)
def test_certificates_refused(tmp_path: Path, certificate: Pair, change: Change, says: str) -> None:
    """Each fault of a certificate has its own message; nothing is sent to such a server, and there is no retry."""
    with ApiServer(authority=AUTHORITY, certificate=certificate) as server:
        error = refusal(connect(server, tmp_path, change))
    assert (type(error), error.code, error.msg) == (Unreachable, PLUGIN_FAILURE, f"API server {server.url}: {says}")
    # the second one is for the names in the certificate
    assert (server.requests, server.connections) == ([], 2 if "another name" in says else 1)


def test_names_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names in a certificate come from a second connection; if there is none, the message does without them."""
    with ApiServer(authority=AUTHORITY, certificate=AUTHORITY.server("example.org")) as server:
        made = connect(server, tmp_path)
        opened: list[object] = []

        def connect_once(*where: Any) -> socket.socket:
            if opened:
                server.stop()
            opened.append(where)
            return reached(*where)

        reached = sockets.connect
        monkeypatch.setattr(sockets, "connect", connect_once)
        error = refusal(made)
    assert (len(opened), error.msg) == (2, f"API server {server.url}: its certificate is for another name")


def test_certificate_that_is_not_a_server_s(tmp_path: Path) -> None:
    """A kubelet's client certificate of the same authority is not accepted as a server's."""
    with ApiServer(authority=AUTHORITY, certificate=AUTHORITY.client("system:node:a")) as server:
        error = refusal(connect(server, tmp_path, cluster()))
        assert (type(error), error.code) == (Unreachable, PLUGIN_FAILURE)
        assert re.search("its certificate is not accepted: .*certificate purpose", error.msg)
        assert server.requests == []


def test_public_authorities_do_not_count(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a request, too, the context trusts only the cluster's authority."""
    made = connect(server, tmp_path)
    contexts: list[ssl.SSLContext] = []
    real = tls.context

    def context(*args: Any) -> ssl.SSLContext:
        contexts.append(real(*args))
        return contexts[-1]

    monkeypatch.setattr(tls, "context", context)
    made.get_node("a")
    assert [len(each.get_ca_certs()) for each in contexts] == [1]


@pytest.mark.parametrize("change", [cluster(), cluster(tls_server_name="example.org")])
def test_insecure(tmp_path: Path, change: Change) -> None:
    """insecure-skip-tls-verify takes any certificate, for any name, expired or not."""
    with ApiServer(certificate=Authority().server("x", expired=True)) as server:
        server.add(make_node("a"))
        assert connect(server, tmp_path, INSECURE, change).get_node("a")["metadata"]["name"] == "a"


def test_no_authority_means_the_system_s(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without certificate-authority the system's roots count, which do not know this server; SSL_CERT_FILE may."""
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", makeconfig.write(str(tmp_path), "none.pem", b""))
    without = cluster(certificate_authority_data=None)
    assert "signed by an authority" in refusal(connect(server, tmp_path, without)).msg
    monkeypatch.setenv("SSL_CERT_FILE", makeconfig.write(str(tmp_path), "roots.pem", AUTHORITY.ca_pem))
    assert connect(server, tmp_path, without).get_node("a")["metadata"]["name"] == "a"


def require_certificate(context: ssl.SSLContext) -> None:
    """Require a client certificate."""
    context.verify_mode = ssl.CERT_REQUIRED


def at_most_tls_1_2(context: ssl.SSLContext) -> None:
    """TLS 1.2 only, where the handshake itself fails."""
    require_certificate(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("configure", "says"),
    [
        (require_certificate, "it wants a client certificate"),
        (at_most_tls_1_2, "it broke off the handshake; perhaps it wants a client certificate"),
    ],
    ids=["1.3", "1.2"],
)
def test_client_certificate_wanted(tmp_path: Path, configure: Callable[[ssl.SSLContext], None], says: str) -> None:
    """A server that requires a client certificate gets it; without one the error says what is missing."""
    with ApiServer(authority=AUTHORITY, configure=configure) as server:
        server.add(make_node("a"))
        error = refusal(connect(server, tmp_path))
        assert connect(server, tmp_path, kind="kubelet").get_node("a")["metadata"]["name"] == "a"
    assert (error.code, error.msg) == (PLUGIN_FAILURE, f"API server {server.url}: {says}")


@pytest.mark.parametrize(
    ("certificate", "says"),
    [
        (Authority().client("a"), "it does not accept our client certificate"),
        (AUTHORITY.client("a", expired=True), "it says that our client certificate has expired"),
    ],
    ids=["other-authority", "expired"],
)
def test_client_certificate_refused(server: ApiServer, tmp_path: Path, certificate: Pair, says: str) -> None:
    """The error says why the server refused our certificate."""

    def change(config: Kubeconfig) -> None:
        config["users"][0]["user"] = {
            "client-certificate-data": makeconfig.base64_text(certificate.certificate),
            "client-key-data": makeconfig.base64_text(certificate.key),
        }

    error = refusal(connect(server, tmp_path, change))
    assert (error.code, error.msg) == (PLUGIN_FAILURE, f"API server {server.url}: {says}")


def tls_1_1(context: ssl.SSLContext) -> None:
    """Offer nothing better than TLS 1.1, which is broken."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls(tmp_path: Path) -> None:
    """TLS 1.1 is refused with a message."""
    with ApiServer(authority=AUTHORITY, configure=tls_1_1) as server:
        error = refusal(connect(server, tmp_path))
    assert (error.code, error.msg) == (PLUGIN_FAILURE, f"API server {server.url}: it offers no TLS 1.2 or later")


# Addresses and names


@pytest.mark.skipif(not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"), reason="no IPv6 here")
@pytest.mark.parametrize("host", ["::1", "0:0:0:0:0:0:0:1"])
def test_ipv6_literal(tmp_path: Path, host: str) -> None:
    """An IPv6 address as server, short or long, and verified as such."""
    with ApiServer(host="::1", authority=AUTHORITY, certificate=AUTHORITY.server("::1")) as server:
        server.add(make_node("a"))
        made = connect(server, tmp_path, cluster(server=f"https://[{host}]:{server.port}"))
        assert made.get_node("a")["metadata"]["name"] == "a"


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (cluster(), [None]),
        (cluster(tls_server_name="kubernetes"), ["kubernetes"]),
        (cluster(tls_server_name="10.96.0.1"), [None]),
    ],
    ids=["address", "name", "other-address"],
)
def test_server_name(tmp_path: Path, change: Change, seen: list[str | None]) -> None:
    """tls-server-name is sent as SNI (not if it is an address) and compared with the certificate."""
    heard: list[str | None] = []

    def listen(context: ssl.SSLContext) -> None:
        context.sni_callback = lambda _socket, name, _context: heard.append(name)

    with ApiServer(certificate=AUTHORITY.server(*NAMES, "10.96.0.1"), authority=AUTHORITY, configure=listen) as server:
        server.add(make_node("a"))
        assert connect(server, tmp_path, change).get_node("a")["metadata"]["name"] == "a"
    assert heard == seen


def test_the_certificate_s_names_are_those_of_the_name_asked_for(tmp_path: Path) -> None:
    """A load balancer has a certificate for each server name; the message tells of the one that was shown to us."""
    heard: list[str | None] = []

    def listen(context: ssl.SSLContext) -> None:
        context.sni_callback = lambda _socket, name, _context: heard.append(name)

    with ApiServer(authority=AUTHORITY, configure=listen) as server:
        refusal(connect(server, tmp_path, cluster(tls_server_name="example.org")))
    assert heard == ["example.org", "example.org"]


def test_path_prefix(server: ApiServer, tmp_path: Path) -> None:
    """A server behind a prefix, as Rancher has it."""
    server.prefix = "/k8s/clusters/c-1"
    assert connect(server, tmp_path).get_node("a")["metadata"]["name"] == "a"
    assert server.requests[0].path == "/k8s/clusters/c-1/api/v1/nodes/a?resourceVersion=0"


def test_node_authorizer(server: ApiServer, tmp_path: Path) -> None:
    """With the kubelet's credential one's own Node can be read, and its name is known from it."""
    server.rule = node_authorizer
    made = connect(server, tmp_path, kind="kubelet")
    assert (made.node_name(), made.get_node("a")["metadata"]["name"]) == (("certificate CN", "a"), "a")
    with pytest.raises(CniError, match="node 'a' cannot read all nodes, only its own Node object"):
        list(made.list_nodes())


def test_list_in_pages(server: ApiServer, tmp_path: Path) -> None:
    """A list of many Nodes, page by page."""
    server.page = 2
    for name in "bcde":
        server.add(make_node(name))
    names = [node["metadata"]["name"] for node in connect(server, tmp_path).list_nodes()]
    assert (names, server.count()) == (["a", "b", "c", "d", "e"], 3)


# A hostile environment


def test_environment_changes_nothing(server: ApiServer, tmp_path: Path) -> None:
    """Variables and files that requests, curl and OpenSSL use change neither our trust nor what we send."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".netrc").write_text("machine 127.0.0.1 login root password stolen\n")
    (home / ".netrc").chmod(0o600)
    bundle = makeconfig.write(str(tmp_path), "bundle.pem", Authority("evil").ca_pem)
    log = tmp_path / "keys.log"
    path = server.write_kubeconfig(tmp_path / "kubeconfig", "token", "a")
    with ConnectProxy(("127.0.0.1", server.port)) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        hostile = {
            "HOME": str(home),
            "NETRC": str(home / ".netrc"),
            "REQUESTS_CA_BUNDLE": bundle,
            "CURL_CA_BUNDLE": bundle,
            "SSL_CERT_FILE": bundle,
            "SSL_CERT_DIR": str(tmp_path),
            "SSLKEYLOGFILE": str(log),
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), url),
        }
        code = (
            "import os, sys\n"
            "from plugin.kube import client\n"
            "print(client.connect(sys.argv[1], os.environ).get_node('a')['metadata']['name'])\n"
        )
        command = [sys.executable, "-c", code, path]
        done = subprocess.run(
            command, env={**os.environ, **hostile}, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
        )
    assert (done.stdout, done.stderr) == ("a\n", "")
    assert (proxy.asked, log.exists(), server.requests[0].user.name) == ([], False, "a")


def test_the_hostile_bundle_does_not_vouch_for_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An authority named in REQUESTS_CA_BUNDLE cannot put a server in the API server's place."""
    evil = Authority("evil")
    bundle = makeconfig.write(str(tmp_path), "bundle.pem", evil.ca_pem)
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(variable, bundle)
    with ApiServer(authority=AUTHORITY, certificate=evil.server(*NAMES)) as server:
        assert "signed by an authority" in refusal(connect(server, tmp_path)).msg
    assert server.requests == []
