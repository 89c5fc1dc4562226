"""The network interfaces of this network namespace, by rtnetlink: addresses, and the ports of a bridge."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from typing import Union

Interface = Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface]

# linux/netlink.h, linux/rtnetlink.h
_DONE, _ERROR = 3, 2
_GET_LINKS, _GET_ADDRESSES = 18, 22
_REQUEST_DUMP = 0x301
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
# linux/if_link.h: IFLA_IFNAME, IFLA_MASTER; linux/if_addr.h: IFA_ADDRESS, IFA_LOCAL
_LINK = struct.Struct("=BxHiII")
_NAME, _MASTER = 3, 10
_ADDRESS = struct.Struct("=BBBBI")
_PEER, _LOCAL = 1, 2


def addresses(name: str) -> list[Interface] | None:
    """Return the addresses of an interface, without link-local ones; None if there is no such interface."""
    index = _index(name)
    if not index:
        return None
    found = []
    for message in _dump(_GET_ADDRESSES):
        _family, prefix, _flags, _scope, its = _ADDRESS.unpack_from(message)
        values = _attributes(message[_ADDRESS.size :])
        packed = values.get(_LOCAL) or values.get(_PEER)
        if its == index and packed:
            found.append(ipaddress.ip_interface(f"{ipaddress.ip_address(packed)}/{prefix}"))
    return [each for each in found if not each.is_link_local]


def ports(name: str) -> list[str]:
    """Return the names of the interfaces that are attached to a bridge."""
    master = struct.pack("=I", _index(name))
    links = [_attributes(message[_LINK.size :]) for message in _dump(_GET_LINKS)]
    attached = [each for each in links if each.get(_MASTER) == master]
    return sorted(each[_NAME].rstrip(b"\0").decode() for each in attached)


def _index(name: str) -> int:
    """Return the number of an interface; 0 if there is none of this name."""
    try:
        return socket.if_nametoindex(name)
    except (OSError, ValueError):  # ValueError: no interface can have that name
        return 0


def _dump(kind: int) -> Iterator[bytes]:
    """Yield the body of each message that answers a dump request."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.bind((0, 0))
        body = bytes(_LINK.size)
        kernel.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST_DUMP, 1, 0) + body)
        while True:
            data = kernel.recv(1 << 16)
            while data:
                length, answer, *_rest = _HEADER.unpack_from(data)
                if answer in (_DONE, _ERROR):
                    return
                yield data[_HEADER.size : length]
                data = data[_aligned(length) :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        found[kind] = data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3
