"""Faults of servers and of proxies before them: values for ApiServer.fault."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable

from tests.support.apiserver import Handler

Fault = Callable[[Handler], bool]


def first(*faults: Fault) -> Fault:
    """Return a fault that applies these, one for each of the first requests, and then none."""
    left = list(faults)
    return lambda handler: bool(left) and left.pop(0)(handler)


def status(code: int, **headers: str) -> Fault:
    """Answer with this status and a Status object; headers: Retry_After="1"."""

    def fault(handler: Handler) -> bool:
        handler.status(code, "Odd", f"made to fail with {code}", {k.replace("_", "-"): v for k, v in headers.items()})
        return True

    return fault


def body(content: bytes, code: int = 200, **headers: str) -> Fault:
    """Answer with this body."""

    def fault(handler: Handler) -> bool:
        handler.answer(code, content, {k.replace("_", "-"): v for k, v in headers.items()})
        return True

    return fault


def redirect(location: str) -> Fault:
    """Send the client elsewhere."""
    return body(b"", 302, Location=location)


def reset(handler: Handler) -> bool:
    """Break the connection without an answer, as a firewall or a crashed server does."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True
    return True


def hang_up(handler: Handler) -> bool:
    """Close the connection without an answer, as a restarting load balancer does."""
    handler.close_connection = True
    return True


def cut(handler: Handler) -> bool:
    """Close the connection in the middle of the body."""
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"kind": "Node", ')
    handler.close_connection = True
    return True


def cut_chunk(handler: Handler) -> bool:
    """The same with a chunked body."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{")
    handler.close_connection = True
    return True


def chunked(content: bytes) -> Fault:
    """Answer with a body in chunks."""

    def fault(handler: Handler) -> bool:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(content), 1000):
            part = content[start : start + 1000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        handler.wfile.write(b"0\r\n\r\n")
        return True

    return fault


def until_closed(content: bytes) -> Fault:
    """Answer with a body of unknown length."""

    def fault(handler: Handler) -> bool:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + content)
        return True

    return fault


def drip(seconds: float, head: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n") -> Fault:
    """Send an answer a byte at a time."""

    def fault(handler: Handler) -> bool:
        handler.close_connection = True
        with contextlib.suppress(OSError):
            handler.wfile.write(head)
            for _ in range(1000):
                handler.wfile.write(b" ")
                time.sleep(seconds)
        return True

    return fault


def flood(size: int) -> Fault:
    """Send a body of this many bytes."""

    def fault(handler: Handler) -> bool:
        handler.close_connection = True
        with contextlib.suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size >> 16):
                handler.wfile.write(b" " * (1 << 16))
        return True

    return fault
