"""The client through real proxies, good and bad."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugin.errors import INVALID_CONFIG, PLUGIN_FAILURE, TRY_AGAIN_LATER, Unreachable
from tests.support import makeconfig
from tests.support.apiserver import ApiServer, make_node
from tests.support.asking import AUTHORITY, INSECURE, ROOTS, Change, cluster, connect, refusal, trusting
from tests.support.connectproxy import ConnectProxy
from tests.support.pki import Authority


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """An API server with the Node a."""
    with ApiServer(authority=AUTHORITY) as running:
        running.add(make_node("a"))
        yield running


@pytest.mark.parametrize("userinfo", ["", "user:p%40ss@"], ids=["open", "password"])
@pytest.mark.parametrize("where", ["proxy-url", "HTTPS_PROXY"])
def test_proxy(server: ApiServer, tmp_path: Path, userinfo: str, where: str) -> None:
    """Through CONNECT, the certificate being the server's; the name is resolved by the proxy, which sees no token."""
    with ConnectProxy(("127.0.0.1", server.port), credentials="user:p@ss" if userinfo else "") as proxy:
        url = f"http://{userinfo}127.0.0.1:{proxy.port}"
        through = cluster(server="https://kubernetes:6443", **({"proxy_url": url} if where == "proxy-url" else {}))
        environ = {} if where == "proxy-url" else {where: url}
        made = connect(server, tmp_path, through, **environ)
        assert made.get_node("a")["metadata"]["name"] == "a"
    assert (proxy.asked, b"Bearer" in proxy.heads[0]) == (["kubernetes:6443"], False)


def test_proxy_to_an_ipv6_address(server: ApiServer, tmp_path: Path) -> None:
    """An IPv6 address has brackets in CONNECT, on every Python."""
    with ConnectProxy(("127.0.0.1", server.port)) as proxy:
        through = cluster(server="https://[::1]:6443", proxy_url=f"http://127.0.0.1:{proxy.port}")
        assert connect(server, tmp_path, through).get_node("a")["metadata"]["name"] == "a"
    assert proxy.asked == ["[::1]:6443"]


def test_proxy_without_tls(server: ApiServer, tmp_path: Path) -> None:
    """For a http:// server the proxy gets the request itself, with its own password and without our token."""
    with ConnectProxy(("127.0.0.1", 1), answer="404 Not Found") as proxy:
        through = cluster(server="http://kubernetes:8080", proxy_url=f"http://user:p%40ss@127.0.0.1:{proxy.port}")
        error = refusal(connect(server, tmp_path, through))
    lines = proxy.heads[0].decode().splitlines()
    assert lines[0] == "GET http://kubernetes:8080/api/v1/nodes/a?resourceVersion=0 HTTP/1.1"
    assert f"Proxy-Authorization: Basic {makeconfig.base64_text(b'user:p@ss')}" in lines
    assert [line for line in lines if line.startswith("Authorization")] == []
    assert error.msg.endswith("it answers 404")


def test_proxy_with_client_certificate_and_server_name(server: ApiServer, tmp_path: Path) -> None:
    """What is behind the proxy gets our certificate, and must be who it should be."""
    with ConnectProxy(("127.0.0.1", server.port)) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        named = cluster(server="https://lb.example.org", proxy_url=url, tls_server_name="kubernetes")
        assert connect(server, tmp_path, named, kind="kubelet").get_node("a")["metadata"]["name"] == "a"
        error = refusal(connect(server, tmp_path, cluster(server="https://lb.example.org", proxy_url=url)))
    assert server.requests[0].user.name == "system:node:a"
    route = f"API server https://lb.example.org through proxy {url} (proxy-url)"
    assert error.msg == f"{route}: its certificate is for another name"


@pytest.mark.parametrize(
    ("issuer", "change", "trusted"),
    [
        (AUTHORITY, cluster(), True),
        (ROOTS, cluster(), True),
        (Authority("other"), cluster(), False),
        (Authority("other"), INSECURE, True),
    ],
    ids=["cluster", "system", "other", "insecure"],
)
def test_https_proxy(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, issuer: Authority, change: Change, trusted: bool
) -> None:
    """A proxy that speaks TLS: kubectl trusts it as it does the server; here the system's authorities count too."""
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", makeconfig.write(str(tmp_path), "roots.pem", ROOTS.ca_pem))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(makeconfig.write(str(tmp_path), "proxy.pem", b"".join(issuer.server("127.0.0.1"))))
    with ConnectProxy(("127.0.0.1", server.port), context=context) as proxy:
        url = f"https://127.0.0.1:{proxy.port}"
        made = connect(server, tmp_path, cluster(server="https://kubernetes:6443", proxy_url=url), change)
        if trusted:
            assert made.get_node("a")["metadata"]["name"] == "a"
        else:
            assert refusal(made).msg == (
                f"the way to API server https://kubernetes:6443 through proxy {url} (proxy-url): "
                "its certificate is signed by an authority that the kubeconfig does not name"
            )
    assert (len(proxy.asked), (tmp_path / "keys.log").exists()) == (int(trusted), False)


def test_system_s_authorities_vouch_for_the_proxy_alone(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind an https:// proxy the server is still verified by the cluster's authority and no other."""
    monkeypatch.setenv("SSL_CERT_FILE", makeconfig.write(str(tmp_path), "roots.pem", AUTHORITY.ca_pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(makeconfig.write(str(tmp_path), "proxy.pem", b"".join(AUTHORITY.server("127.0.0.1"))))
    with ConnectProxy(("127.0.0.1", server.port), context=context) as proxy:
        through = cluster(server="https://kubernetes", proxy_url=f"https://127.0.0.1:{proxy.port}")
        error = refusal(connect(server, tmp_path, through, trusting(ROOTS.ca_pem)))
    assert (error.msg.startswith("API server https://kubernetes"), server.requests) == (True, [])


def test_proxy_is_not_passed_by(server: ApiServer, tmp_path: Path) -> None:
    """No connection goes past the proxy, not even for a better message."""
    with ConnectProxy(("127.0.0.1", server.port)) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        error = refusal(connect(server, tmp_path, cluster(proxy_url=url, tls_server_name="example.org")))
    assert (error.msg.rpartition(": ")[2], server.connections) == ("its certificate is for another name", 1)


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        ("", PLUGIN_FAILURE, "the proxy refuses to connect (407)"),
        ("403 Forbidden", PLUGIN_FAILURE, "the proxy refuses to connect (403)"),
        ("503 Service Unavailable", TRY_AGAIN_LATER, "the proxy refuses to connect (503)"),
    ],
)
def test_proxy_refuses(tmp_path: Path, server: ApiServer, answer: str, code: int, says: str) -> None:
    """The error names the proxy and the setting it comes from, but not its password."""
    with ConnectProxy(("127.0.0.1", 1), credentials="user:right", answer=answer) as proxy:
        url = f"http://user:wrong@127.0.0.1:{proxy.port}"
        error = refusal(connect(server, tmp_path, cluster(server="https://kubernetes"), HTTPS_PROXY=url), 1)
    assert isinstance(error, Unreachable)
    assert (error.code, error.msg.rpartition(": ")[2]) == (code, says)
    assert f"https://kubernetes through proxy http://127.0.0.1:{proxy.port} (HTTPS_PROXY)" in error.msg
    assert "wrong" not in error.msg + error.details


def test_proxy_is_away(server: ApiServer, tmp_path: Path) -> None:
    """A proxy that refuses the connection is not taken for the server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    error = refusal(connect(server, tmp_path, cluster(proxy_url=url)), 1)
    assert (error.code, error.msg) == (
        TRY_AGAIN_LATER,
        f"the way to API server {server.url} through proxy {url} (proxy-url): connection refused",
    )


def test_socks_proxy(server: ApiServer, tmp_path: Path) -> None:
    """A proxy of an unsupported kind is refused with a reason."""
    environ = {"HTTPS_PROXY": "socks5://127.0.0.1:1080"}
    error = refusal(connect(server, tmp_path, cluster(server="https://kubernetes"), **environ))
    assert (error.code, error.msg) == (INVALID_CONFIG, "HTTPS_PROXY: socks5 proxies are not supported")
