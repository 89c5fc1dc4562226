"""A connection takes no more time than there is, and the next address of a host if one does not answer."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from plugin.kube.sockets import connect


class NameServer:
    """What the C library answers: addresses for api.example, nothing for any other name."""

    def __init__(self) -> None:
        self.queried: list[object] = []
        self.found: list[tuple[str, int]] = []
        self.answers = threading.Event()
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: str, port: int, **options: Any) -> list[Any]:
        """As socket.getaddrinfo."""
        self.queried.append(host)
        if host == "hangs.example":
            self.answers.wait(30)
        if host == "api.example":
            return [each for address, at in self.found for each in self._real(address, at, **options)]
        if host.endswith(".example"):
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return self._real(host, port, **options)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    """A name server."""
    made = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.answers.set()


@pytest.fixture
def listening() -> Iterator[int]:
    """The port of a server on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_addresses(family: socket.AddressFamily) -> None:
    """An IP address of either family is connected to."""
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        with connect(host, port, 5.0) as found:
            assert found.getpeername()[:2] == (host, port)


def test_next_address(names: NameServer, listening: int) -> None:
    """If an address refuses, the next one is used; the name server is queried once."""
    names.found = [("127.0.0.2", listening), ("127.0.0.1", listening)]
    with connect("api.example", 443, 5.0) as found:
        assert (found.getpeername(), names.queried) == (("127.0.0.1", listening), ["api.example"])


def test_family_that_the_kernel_does_not_have(
    names: NameServer, listening: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ipv6.disable=1, a name such as localhost still has an IPv6 address; the next one is used."""

    class Without(socket.socket):
        """A socket of a kernel without IPv6."""

        def __init__(self, family: int, *arguments: int) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            super().__init__(family, *arguments)

    monkeypatch.setattr(socket, "socket", Without)
    names.found = [("::1", listening), ("127.0.0.1", listening)]
    with connect("api.example", 443, 5.0) as found:
        assert found.getpeername() == ("127.0.0.1", listening)


def test_no_address_accepts(names: NameServer, listening: int) -> None:
    """The error is the last one; a name without any address is one, too."""
    names.found = [("127.0.0.2", listening)]
    with pytest.raises(ConnectionRefusedError):
        connect("api.example", 443, 5.0)
    names.found = []
    with pytest.raises(OSError, match="has no address"):
        connect("api.example", 443, 5.0)


@pytest.mark.usefixtures("names")
def test_unknown_name() -> None:
    """The error of the name server comes through."""
    with pytest.raises(socket.gaierror, match="unknown"):
        connect("no.example", 443, 5.0)


@pytest.mark.usefixtures("names")
def test_name_server_that_hangs() -> None:
    """It is not waited for longer than there is time."""
    with pytest.raises(socket.gaierror, match="no name server answers in time"):
        connect("hangs.example", 443, 0.1)
