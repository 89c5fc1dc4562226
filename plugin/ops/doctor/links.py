"""The kernel's network interfaces: their addresses, by rtnetlink, and the ports of a bridge."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Union

    Interface = Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface]

NET = "/sys/class/net"
# linux/rtnetlink.h, linux/if_addr.h, linux/netlink.h
_GETADDR, _NEWADDR, _DONE, _ERROR = 22, 20, 3, 2
_REQUEST_DUMP = 0x301
_ADDRESS, _LOCAL = 1, 2
_HEADER, _MESSAGE, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBBBI"), struct.Struct("=HH")


def addresses(name: str) -> list[Interface] | None:
    """Return the addresses of an interface, without link-local ones; None if there is no such interface."""
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        return None
    found = [each for its, each in _dump() if its == index]
    return [each for each in found if not each.is_link_local]


def ports(name: str) -> list[str]:
    """Return the names of the interfaces that are attached to a bridge."""
    try:
        return sorted(os.listdir(os.path.join(NET, name, "brif")))
    except OSError:
        return []


def _dump() -> Iterator[tuple[int, Interface]]:
    """Yield each address of this network namespace with the index of its interface."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.bind((0, 0))
        body = _MESSAGE.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        kernel.send(_HEADER.pack(_HEADER.size + len(body), _GETADDR, _REQUEST_DUMP, 1, 0) + body)
        while True:
            data = kernel.recv(1 << 16)
            while data:
                length, kind, *_rest = _HEADER.unpack_from(data)
                if kind in (_DONE, _ERROR):
                    return
                if kind == _NEWADDR:
                    yield _address(data[_HEADER.size : length])
                data = data[_aligned(length) :]


def _address(message: bytes) -> tuple[int, Interface]:
    _family, prefix, _flags, _scope, index = _MESSAGE.unpack_from(message)
    values, rest = {}, message[_MESSAGE.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        values[kind] = rest[_ATTRIBUTE.size : length]
        rest = rest[_aligned(length) :]
    packed = values.get(_LOCAL) or values[_ADDRESS]
    return index, ipaddress.ip_interface(f"{ipaddress.ip_address(packed)}/{prefix}")


def _aligned(length: int) -> int:
    return (length + 3) & ~3
