"""A proxy that knows CONNECT, and brings every connection to one port of this machine, whatever host was asked for."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import ssl
import threading


class ConnectProxy:
    """A context manager. asked: the hosts it was asked to connect to. credentials: "user:password" it insists on.

    context: speak TLS with the clients. answer: refuse everybody with this status line instead.
    """

    def __init__(
        self, target: tuple[str, int], credentials: str = "", context: ssl.SSLContext | None = None, answer: str = ""
    ) -> None:
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self._target = target
        self._context = context
        self._answer = answer
        self._wanted = b"Proxy-Authorization: Basic " + base64.b64encode(credentials.encode()) if credentials else b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> ConnectProxy:
        self._acceptor.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()  # before its descriptor becomes another socket's
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            client.settimeout(30)
            if self._context:
                client = self._context.wrap_socket(client, server_side=True)
            with client:
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            part = client.recv(4096)
            if not part:
                return
            head += part
        self.heads.append(head)
        self.asked.append(head.split()[1].decode())
        answer = self._answer or ("" if self._wanted in head else "407 Proxy Authentication Required")
        if answer:
            client.sendall(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            return
        with socket.create_connection(self._target) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _relay(client, server)


def _relay(client: socket.socket, server: socket.socket) -> None:
    """Bytes both ways until one side ends."""
    while True:
        pending = isinstance(client, ssl.SSLSocket) and client.pending() > 0
        readable = [client] if pending else select.select([client, server], [], [], 30)[0]
        for source in readable:
            data = source.recv(65536)
            if not data:
                return
            (server if source is client else client).sendall(data)
