"""A host name is looked up once, in no more time than there is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from plugin.kube.lookup import resolved

FOUND = [
    (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::1", 0, 0, 0)),
    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0)),
]


class NameServer:
    """What the C library has to say: to one question for api.example, to no other."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.answers = threading.Event()

    def getaddrinfo(self, host: object, *_arguments: object, **_options: object) -> list[Any]:
        """As socket.getaddrinfo."""
        self.asked.append(host)
        if host == "hangs.example":
            self.answers.wait(30)
        if host != "api.example":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return FOUND


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    """A name server."""
    made = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.answers.set()


def test_one_question(names: NameServer) -> None:
    """Connecting uses the known addresses, with its port, and does not query a name server again."""
    with resolved("api.example", 5.0):
        found = [socket.getaddrinfo("api.example", 6443, 0, socket.SOCK_STREAM) for _ in range(2)]

    assert (
        found[0]
        == found[1]
        == [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::1", 6443, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 6443)),
        ]
    )
    assert names.asked == ["api.example"]


def test_others_are_asked_for(names: NameServer) -> None:
    """It is about one name, and for as long as that is connected to."""
    with resolved("api.example", 5.0), pytest.raises(socket.gaierror):
        socket.getaddrinfo("other.example", 443)
    socket.getaddrinfo("api.example", 443)

    assert names.asked == ["api.example", "other.example", "api.example"]


@pytest.mark.parametrize("host", ["192.0.2.1", "fd00::1", "::1"])
def test_addresses_are_no_names(names: NameServer, host: str) -> None:
    """An address needs no look-up."""
    with resolved(host, 5.0):
        assert names.asked == []


def test_name_that_nobody_has(names: NameServer) -> None:
    """What the name server says comes through."""
    with pytest.raises(socket.gaierror, match="unknown"), resolved("no.example", 5.0):
        raise AssertionError("unreachable")
    assert socket.getaddrinfo == names.getaddrinfo


def test_name_server_that_hangs(names: NameServer) -> None:
    """It is not waited for longer than there is time."""
    with pytest.raises(socket.gaierror, match="no name server answers in time"), resolved("hangs.example", 0.1):
        raise AssertionError("unreachable")
