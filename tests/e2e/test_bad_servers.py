"""The client against broken servers and networks: what it retries, and what its errors say."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plugin import deadline
from plugin.errors import PLUGIN_FAILURE, TRY_AGAIN_LATER, Unreachable
from plugin.kube import access, client
from plugin.kube.credentials import Credentials
from plugin.kube.wire import Wire
from tests.support import faults, makeconfig
from tests.support.apiserver import ApiServer, make_node
from tests.support.asking import AUTHORITY, Kubeconfig, cluster, connect, refusal


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """An API server with the Node a."""
    with ApiServer(authority=AUTHORITY) as running:
        running.add(make_node("a"))
        yield running


@pytest.mark.parametrize(
    "trouble",
    [
        faults.status(429, Retry_After="0"),
        faults.status(500),
        faults.status(503),
        faults.reset,
        faults.hang_up,
        faults.cut,
    ],
    ids=["429", "500", "503", "reset", "hang-up", "cut"],
)
def test_passing_trouble(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: faults.Fault
) -> None:
    """The client retries a server that recovers."""
    monkeypatch.setattr(access, "pause", lambda *_: 0.0)
    server.fault = faults.first(trouble, trouble)
    assert connect(server, tmp_path).get_node("a")["metadata"]["name"] == "a"
    assert server.count() == 3


def test_server_comes_back(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client retries a server that refuses connections while it restarts."""

    def pause(*_arguments: float) -> float:
        server.start()
        return 0.0

    monkeypatch.setattr(access, "pause", pause)
    made = connect(server, tmp_path)
    server.stop()
    assert made.get_node("a")["metadata"]["name"] == "a"


@pytest.mark.parametrize("framing", [faults.chunked, faults.until_closed])
def test_framing(server: ApiServer, tmp_path: Path, framing: Callable[[bytes], faults.Fault]) -> None:
    """Proxies frame bodies in other ways."""
    server.fault = framing(json.dumps(server.stored("a")).encode())
    assert connect(server, tmp_path).get_node("a")["metadata"]["name"] == "a"


SLOW = "no answer in time"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n"
BROKEN = "the connection was closed before the answer was complete"


@pytest.mark.parametrize(
    ("trouble", "code", "says"),
    [
        (faults.status(503), TRY_AGAIN_LATER, "it answers 503: made to fail with 503"),
        (faults.reset, TRY_AGAIN_LATER, BROKEN),
        (faults.hang_up, TRY_AGAIN_LATER, BROKEN),
        (faults.cut, TRY_AGAIN_LATER, BROKEN),
        (faults.cut_chunk, TRY_AGAIN_LATER, BROKEN),
        (faults.drip(0.01), TRY_AGAIN_LATER, SLOW),
        (faults.drip(0.01, b""), TRY_AGAIN_LATER, SLOW),
        (faults.drip(0.01, b"HTTP/1.1 200 OK\r\nX: "), TRY_AGAIN_LATER, SLOW),
        (faults.flood(100 << 20), PLUGIN_FAILURE, "its answer is longer than 8 MiB"),
        (faults.redirect("https://evil.example.org/"), PLUGIN_FAILURE, "it redirects to https://evil.example.org"),
        (faults.body(b"<html>Log in</html>"), PLUGIN_FAILURE, "its answer is not the Node asked for"),
    ],
    ids=["503", "reset", "hang-up", "cut", "cut-chunk", "drip", "drip-line", "drip-head", "flood", "redirect", "html"],
)
def test_lasting_trouble(server: ApiServer, tmp_path: Path, trouble: faults.Fault, code: int, says: str) -> None:
    """A server that stays broken is reported as unreachable before the deadline."""
    server.fault = trouble
    error = refusal(connect(server, tmp_path), 1 if code == TRY_AGAIN_LATER else 15)
    assert isinstance(error, Unreachable)
    assert (error.code, error.msg) == (code, f"API server {server.url}: {says}")


def test_redirect_is_not_followed(server: ApiServer, tmp_path: Path) -> None:
    """The token is not sent to the target of a redirect."""
    with ApiServer(authority=AUTHORITY) as other:
        server.fault = faults.redirect(f"{other.url}/api/v1/nodes/a")
        refusal(connect(server, tmp_path))
        assert other.requests == []


def test_flood_in_an_error_is_cut_off(server: ApiServer, tmp_path: Path) -> None:
    """The client reads only the beginning of an error's body."""
    server.fault = faults.body(b" " * (20 << 20), 302, Location="https://evil.example.org")
    assert refusal(connect(server, tmp_path)).msg.endswith("it redirects to https://evil.example.org")


def test_refused(server: ApiServer, tmp_path: Path) -> None:
    """Nothing listens on the port."""
    made = connect(server, tmp_path)
    server.stop()
    error = refusal(made, 1)
    assert (error.code, error.msg) == (TRY_AGAIN_LATER, f"API server {server.url}: connection refused")


def test_nobody_answers(server: ApiServer, tmp_path: Path) -> None:
    """A server that accepts connections and then is silent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        error = refusal(connect(server, tmp_path, cluster(server=url)), 2)
    assert (error.code, error.msg) == (TRY_AGAIN_LATER, f"API server {url}: {SLOW}")


@pytest.mark.parametrize("number", [socket.EAI_NONAME, socket.EAI_AGAIN], ids=["none", "later"])
def test_name_that_cannot_be_resolved(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A name that does not exist fails; broken name servers are queried again."""
    asked: list[object] = []

    def look(host: str, *_args: object, **_options: object) -> None:
        asked.append(host)
        raise socket.gaierror(number, "made to fail")

    monkeypatch.setattr(socket, "getaddrinfo", look)
    monkeypatch.setattr(access, "pause", lambda *_: 0.1)
    error = refusal(connect(server, tmp_path, cluster(server="https://api.example.org")), 1)
    says = "API server https://api.example.org: its name cannot be resolved (made to fail)"
    assert (error.code, error.msg) == (TRY_AGAIN_LATER, says)
    assert (len(asked) == 1) == (number == socket.EAI_NONAME)


def test_name_servers_that_do_not_answer(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The C library waits for them without heeding signals, so another thread has to, and is left alone with it."""
    waiting: list[threading.Thread] = []
    release = threading.Event()

    def look(*_args: object, **_options: object) -> list[object]:
        waiting.append(threading.current_thread())
        release.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look)
    error = refusal(connect(server, tmp_path, cluster(server="https://api.example.org")), 1)
    release.set()
    says = "API server https://api.example.org: its name cannot be resolved (no name server answers in time)"
    assert (error.code, error.msg) == (TRY_AGAIN_LATER, says)
    assert [(thread is threading.main_thread(), thread.daemon) for thread in waiting] == [(False, True)]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", "that is no TLS server"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "that is no TLS server"),
    ],
)
def test_no_tls_server(server: ApiServer, tmp_path: Path, reply: bytes, says: str) -> None:
    """Another kind of server at that port."""
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def serve() -> None:
            with plain.accept()[0] as connection:
                connection.recv(9999)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"https://127.0.0.1:{plain.getsockname()[1]}"
        error = refusal(connect(server, tmp_path, cluster(server=url)), 2)
        thread.join()
    assert (error.code, error.msg) == (PLUGIN_FAILURE, f"API server {url}: {says}")


def test_no_http_server(server: ApiServer, tmp_path: Path) -> None:
    """TLS, but then no HTTP."""
    server.fault = lambda handler: bool(handler.wfile.write(b"hello\r\n\r\n"))
    assert refusal(connect(server, tmp_path)).msg.startswith(
        f"API server {server.url}: no HTTP answer that makes sense"
    )


def test_time_is_bounded_without_a_deadline(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller without a deadline gets one."""
    monkeypatch.setattr(deadline, "TOTAL", 0.3)
    server.fault = faults.drip(0.01, b"")
    started = time.monotonic()
    with pytest.raises(Unreachable, match="no answer in time"):
        connect(server, tmp_path).get_node("a")
    assert (deadline.left(), time.monotonic() - started < 60) == (float("inf"), True)


def test_no_credentials_over_plain_http(server: ApiServer, tmp_path: Path) -> None:
    """http:// works as with kubectl, but no token is sent."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def serve() -> None:
            with plain.accept()[0] as connection:
                heard.append(connection.recv(9999))
                body = json.dumps(make_node("a")).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        thread = threading.Thread(target=serve)
        thread.start()
        made = wire(f"http://127.0.0.1:{plain.getsockname()[1]}", server.kubeconfig(), {"Authorization": "x"}, tmp_path)
        assert made.request("/", time.monotonic() + 10, 1 << 20).status == 200
        thread.join()
    assert (b"uthorization" in heard[0], heard[0].split(b"\r\n")[0]) == (
        False,
        b"GET / HTTP/1.1",
    )


# The wire alone: no alarm to help it, no kubeconfig reader to protect it


def wire(url: str, kubeconfig: Kubeconfig, headers: dict[str, str], tmp_path: Path) -> Wire:
    """A wire to this server, showing these headers."""
    path = makeconfig.write(str(tmp_path), "kubeconfig", json.dumps(kubeconfig).encode())
    config = client.connect(path, {}).config
    config.server = url
    return Wire(config, Credentials("token", path, headers), {})


@pytest.mark.parametrize("trouble", [faults.drip(0.01), faults.drip(0.01, CHUNKED)], ids=["length", "chunked"])
def test_dripping_body_has_an_end(server: ApiServer, tmp_path: Path, trouble: faults.Fault) -> None:
    """A server that sends a byte at a time does not extend the deadline."""
    server.fault = trouble
    with pytest.raises(Unreachable, match=SLOW):
        wire(server.url, server.kubeconfig(), {}, tmp_path).request("/", time.monotonic() + 0.3, 9999)
