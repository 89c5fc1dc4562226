"""One request to the API server, by http.client: a GET of a Node needs nothing of what requests adds."""

from __future__ import annotations

import http.client
import os
import ssl
import time
from urllib.parse import urlsplit

import plugin
from plugin.kube import failures, proxy, sockets, tls
from plugin.kube.answers import Answer, too_slow, unusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from plugin.kube.credentials import Credentials
    from plugin.kube.kubeconfig import Kubeconfig

_HEADERS = {
    "User-Agent": f"node-ipam/{plugin.__version__}",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
}
_CHUNK = 65536  # bytes
_NAMES_SECONDS = 2.0  # for the second connection, which reads the names in a certificate


class Wire:
    """The API server, the proxy to use and the credentials to send. Raises CniError if they cannot be used."""

    def __init__(self, config: Kubeconfig, credentials: Credentials, environ: Mapping[str, str]) -> None:
        self.proxy, self.route = proxy.way(config.server, config.proxy_url, environ)
        self._config = config
        self._server, self._near = urlsplit(config.server), urlsplit(self.proxy or config.server)
        self._is_secure = self._server.scheme == "https"
        self._context = tls.context(config, credentials)
        self._headers = headers(config, credentials)

    def request(self, path: str, ends: float, limit: int, body: bytes = b"") -> Answer:
        """GET this path, or POST the body there, and return the answer.

        ends: when to give up (time.monotonic()). limit: bytes of the answer.
        Raises Unreachable if there is no complete answer, Transient (a kind of it) if a retry may help.
        """
        route = f"the way to {self.route}" if self.proxy else self.route
        try:
            connection = self._connect(max(ends - time.monotonic(), 0.1))
            try:
                route = self.route
                if self._is_secure:
                    name = self._config.tls_server_name or (self._server.hostname or "").rstrip(".")
                    connection.sock = _secured(connection.sock, self._context, name)
                self._send(connection, path, body)
                with connection.getresponse() as response:
                    return Answer(response.status, response.headers, self._read(response, ends, limit))
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise failures.explain(error, route, self._names) from None

    def _connect(self, seconds: float) -> http.client.HTTPConnection:
        """Return a connection to the server, through the proxy if there is one; TLS is still to come."""
        host, port = self._near.hostname or "", self._near.port or proxy.PORTS[self._near.scheme]
        connection = http.client.HTTPConnection(host, port)
        if self.proxy and self._is_secure:
            server = self._server.hostname or ""
            connection.set_tunnel(server, self._server.port or proxy.PORTS["https"], proxy.authorization(self.proxy))
            if ":" in server:  # older Pythons forget these brackets
                connection._tunnel_host = f"[{server}]"  # type: ignore[attr-defined]
        opened: Any = sockets.connect(host, port, seconds)
        try:
            if self.proxy and self._near.scheme == "https":
                opened = _secured(opened, tls.proxy_context(self._config), host)
            connection._create_connection = lambda *_: opened  # type: ignore[attr-defined]
            connection.connect()
        except BaseException:  # until 3.11 an unclosed answer to CONNECT keeps it open
            if opened.fileno() >= 0:
                os.close(opened.detach())
            raise
        opened.settimeout(seconds)
        return connection

    def _send(self, connection: http.client.HTTPConnection, path: str, body: bytes) -> None:
        target, added = self._server.path + path, {"Host": self._server.netloc, **_HEADERS}
        if body:
            added.update({"Content-Type": "application/json", "Content-Length": str(len(body))})
        if self.proxy and not self._is_secure:
            target = f"http://{self._server.netloc}{target}"
            added.update(proxy.authorization(self.proxy))
        # Not request(): its headers are a dict, which cannot hold Impersonate-Group twice.
        connection.putrequest("POST" if body else "GET", target, skip_host=True, skip_accept_encoding=True)
        for name, value in [*added.items(), *self._headers]:
            connection.putheader(name, value)
        connection.endheaders(body or None)

    def _read(self, response: http.client.HTTPResponse, ends: float, limit: int) -> bytes:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise unusable(self.route, "its answer is compressed, which was not requested")
        body, whole = bytearray(), response.length  # None: until the connection is closed, or in chunks
        while whole is None or len(body) < whole:
            # read() would wait for all of a chunk, however slowly it comes.
            part = response.read1(_CHUNK if whole is None else min(_CHUNK, whole - len(body)))
            if not part:
                break
            body += part
            if response.status >= 300 and len(body) >= _CHUNK:
                return bytes(body)
            if len(body) > limit:
                raise unusable(self.route, f"its answer is longer than {limit >> 20} MiB")
            if time.monotonic() > ends:
                raise too_slow(self.route)
        if whole is not None and len(body) < whole:
            raise http.client.IncompleteRead(b"", whole - len(body))
        return bytes(body)

    def _names(self) -> str:
        """Return the names in the server's certificate if the rest of it is valid; empty if it cannot be read."""
        if self.proxy:
            return ""
        host, port = self._server.hostname or "", self._server.port or proxy.PORTS["https"]
        try:
            plain = sockets.connect(host, port, _NAMES_SECONDS)
            return ", ".join(tls.names(self._context, plain, self._config.tls_server_name or host))
        except (OSError, ValueError):
            return ""


def _secured(plain: Any, context: ssl.SSLContext, name: str) -> Any:
    """Return the socket with TLS on top. Raises OSError."""
    if isinstance(plain, ssl.SSLSocket):  # on which ssl cannot do that once more
        from urllib3.util.ssltransport import SSLTransport

        return SSLTransport(plain, context, server_hostname=name)
    return context.wrap_socket(plain, server_hostname=name)


def headers(config: Kubeconfig, credentials: Credentials) -> list[tuple[str, str]]:
    """Return the headers that say who sends the request; none for a http:// server."""
    if config.server.startswith("http:"):
        return []
    found = [*credentials.headers.items(), *config.impersonate]
    return [(name, value.encode().decode("latin-1")) for name, value in found]  # UTF-8 on the wire, as Go has it
