"""The session: what it sends and to whom, and what becomes of answers."""

from __future__ import annotations

import json
import ssl
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plugin.errors import CniError, Forbidden, Unreachable
from plugin.kube import session as sessions
from plugin.kube.answers import Expired, Transient, Unauthorized
from plugin.kube.session import Conflict, Missing, Session
from tests.support import makeconfig
from tests.support.apiserver import ApiServer, Handler, make_node, rbac_nothing
from tests.support.asking import INSECURE, cluster, write_kubeconfig
from tests.support.connectproxy import ConnectProxy
from tests.support.pki import Authority

A = "/api/v1/nodes/a"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """With one Node."""
    with ApiServer() as running:
        running.add(make_node("a"))
        yield running


@pytest.fixture
def session(server: ApiServer, tmp_path: Path) -> Iterator[Session]:
    """With a token in a file."""
    made = sessions.connect(server.write_kubeconfig(tmp_path / "config", "token-file"), {})
    yield made
    made.close()


def test_connection_is_kept(server: ApiServer, session: Session) -> None:
    """Many requests, one TLS handshake."""
    for _ in range(5):
        session.get(A)
    assert (server.connections, server.count()) == (1, 5)


def test_patch(server: ApiServer, session: Session) -> None:
    """With the version that was read; its answer is the metadata alone."""
    version = session.get(A)["metadata"]["resourceVersion"]
    change = {"metadata": {"resourceVersion": version, "annotations": {"x": "1"}}}
    found = session.patch(A, change)
    assert (found["kind"], found["metadata"]["annotations"]["x"]) == ("PartialObjectMetadata", "1")
    assert server.requests[-1].headers["Content-Type"] == "application/merge-patch+json"
    with pytest.raises(Conflict):
        session.patch(A, change)
    with pytest.raises(Missing):
        session.patch("/api/v1/nodes/b", change)


def answering(status: int, body: bytes = b"{}", headers: dict[str, str] | None = None) -> Callable[[Handler], bool]:
    """A fault that answers so."""

    def fault(handler: Handler) -> bool:
        handler.answer(status, body, headers)
        return True

    return fault


def test_no_redirect_no_cookie_no_netrc(
    server: ApiServer, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What requests.Session does by itself is not done."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login u password p\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    server.fault = answering(302, b"{}", {"Location": f"{server.url}{A}", "Set-Cookie": "a=b; Path=/"})
    with pytest.raises(Unreachable, match="it redirects to"):
        session.get(A)
    server.fault = None
    session.get(A)
    assert server.count() == 2
    assert not [asked for asked in server.requests if "Cookie" in asked.headers]
    assert all(asked.headers["Authorization"].startswith("Bearer ") for asked in server.requests)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_only_the_authority_of_the_kubeconfig(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """No variable makes another one trusted."""
    config = server.kubeconfig()
    other = Authority().ca_pem
    config["clusters"][0]["cluster"]["certificate-authority-data"] = makeconfig.base64_text(other)
    path = makeconfig.write(str(tmp_path), "config", json.dumps(config).encode())
    monkeypatch.setenv(variable, makeconfig.write(str(tmp_path), "ca.pem", server.authority.ca_pem))
    with pytest.raises(Unreachable, match="signed by an authority that the kubeconfig does not name"):
        sessions.connect(path, {}).get(A)
    assert server.requests == []


def test_name_of_the_certificate(tmp_path: Path) -> None:
    """tls-server-name is the name that the server's certificate must have."""
    authority = Authority()
    with ApiServer(authority=authority, certificate=authority.server("kubernetes")) as server:
        server.add(make_node("a"))
        named = write_kubeconfig(server, tmp_path, cluster(tls_server_name="kubernetes"))
        assert sessions.connect(named, {}).get(A)["kind"] == "Node"
        with pytest.raises(Unreachable, match="its certificate is for another name"):
            sessions.connect(write_kubeconfig(server, tmp_path), {}).get(A)


def test_insecure(server: ApiServer, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """insecure-skip-tls-verify accepts any certificate, and requests does not warn of what was configured."""
    with warnings.catch_warnings():
        config = write_kubeconfig(server, tmp_path, INSECURE, cluster(tls_server_name="example.org"))
        assert sessions.connect(config, {}).get(A)["kind"] == "Node"
    assert list(recwarn) == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy(scheme: str, server: ApiServer, tmp_path: Path) -> None:
    """Through CONNECT: the proxy never sees the token, and must be trusted itself if it speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = server.authority.server("127.0.0.1")
    context.load_cert_chain(makeconfig.write(str(tmp_path), "proxy.pem", pair.certificate + pair.key))
    with ConnectProxy(("127.0.0.1", server.port), context=context if scheme == "https" else None) as proxy:
        through = cluster(server="https://kubernetes:6443", proxy_url=f"{scheme}://127.0.0.1:{proxy.port}")
        session = sessions.connect(write_kubeconfig(server, tmp_path, through), {})
        assert session.get(A)["kind"] == "Node"
        session.close()
    assert (proxy.asked, b"Bearer" in proxy.heads[0]) == (["kubernetes:6443"], False)


def test_too_long(server: ApiServer, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer or an event without end is an error before the memory is full."""
    monkeypatch.setattr(sessions, "_LIMIT", 3 << 20)
    server.fault = answering(200, b" " * (3 << 20) + b"{}")
    with pytest.raises(Unreachable, match="its answer is longer than 3 MiB"):
        session.get(A)
    with pytest.raises(Unreachable, match="an event is longer than 3 MiB"):
        list(session.watch("/api/v1/nodes?watch=1&resourceVersion=1", sessions.JSON, 10))


def test_credentials_are_read_again(server: ApiServer, session: Session, tmp_path: Path) -> None:
    """After a 401, once: a pod's token is replaced every hour."""
    session.get(A)
    server.users.clear()
    with pytest.raises(Unauthorized) as raised:
        session.get(A)
    assert raised.value.details.startswith("renew the credentials in this kubeconfig\n")
    (tmp_path / "token").write_text(server.token())
    assert session.get(A)["kind"] == "Node"
    assert server.requests[-1].user.name == "node-ipam"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (410, b'{"kind": "Status", "metadata": {}}', Expired),
        (500, b"", Transient),
        (404, b"404 page not found", Unreachable),
        (200, b"<html>", Unreachable),
        (200, b"[]", Unreachable),
        (409, b"<html>", Unreachable),
    ],
)
def test_answers(server: ApiServer, session: Session, status: int, body: bytes, error: type[CniError]) -> None:
    """What a write meets; it is not sent again."""
    server.fault = answering(status, body)
    with pytest.raises(error):
        session.patch(A, {})
    assert server.count("PATCH") == 1


def test_get_is_sent_again(server: ApiServer, session: Session) -> None:
    """While the server is overloaded."""
    server.fault = lambda handler: server.count() < 3 and answering(503)(handler)
    assert session.get(A)["kind"] == "Node"
    assert server.count() == 3


def test_forbidden(server: ApiServer, session: Session) -> None:
    """The error names the kubeconfig."""
    server.rule = rbac_nothing
    with pytest.raises(Forbidden, match="cannot get resource") as caught:
        session.get(A)
    assert "config (--kubeconfig)" in caught.value.details


def test_watch(server: ApiServer, session: Session) -> None:
    """Events come one by one, in chunks of any size, until the server ends it."""
    version = session.get("/api/v1/nodes?limit=500")["metadata"]["resourceVersion"]
    for name in ("b", "c"):
        server.add(make_node(name))
    server.remove("b")
    path = f"/api/v1/nodes?watch=1&resourceVersion={version}&timeoutSeconds=1"
    found = [(e["type"], e["object"]["metadata"]["name"]) for e in session.watch(path, sessions.JSON, 10)]
    assert found == [("ADDED", "b"), ("ADDED", "c"), ("DELETED", "b")]


def test_watch_with_a_token_that_was_replaced(server: ApiServer, session: Session, tmp_path: Path) -> None:
    """A watch fails with a 401. The session reads the credentials again for its next request, another() has them."""
    version = session.get("/api/v1/nodes?limit=500")["metadata"]["resourceVersion"]
    server.users.clear()
    (tmp_path / "token").write_text(server.token())
    server.add(make_node("b"))
    path = f"/api/v1/nodes?watch=1&resourceVersion={version}&timeoutSeconds=1"
    with pytest.raises(Unauthorized):
        list(session.watch(path, sessions.JSON, 10))
    session.get("/api/v1/nodes/b")
    assert [each["type"] for each in session.another().watch(path, sessions.JSON, 10)] == ["ADDED"]


def test_watch_that_breaks(server: ApiServer, session: Session) -> None:
    """Half an event, silence, or no JSON: an error, not an event."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    def send(data: bytes) -> None:
        def fault(handler: Handler) -> bool:
            handler.wfile.write(head + data)
            handler.close_connection = True
            return True

        server.fault = fault

    for data in (b"8\r\n" + b'{"type":\r\n', b"2\r\n{\n\r\n0\r\n\r\n"):
        send(data)
        with pytest.raises(Unreachable):
            list(session.watch("/api/v1/nodes?watch=1&resourceVersion=1", sessions.JSON, 10))
    server.fault = None
    with pytest.raises(Transient, match="no answer in time"):
        list(session.watch(f"/api/v1/nodes?watch=1&resourceVersion={server.version}", sessions.JSON, 0.2))
