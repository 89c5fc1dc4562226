"""Ready-made certificates for the demo, which must run without cryptography. They expire in 2120.

The key of the authority was never kept, so nothing else can be signed with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from tests.support.signer import Pair

_HERE = os.path.dirname(os.path.abspath(__file__))
NODE = "vm-002"
_USER = f"system:node:{NODE}"


class DemoAuthority:
    """A certificate authority with two certificates: of a server on loopback and of the kubelet of NODE."""

    def __init__(self) -> None:
        self.ca_pem = _read("ca.pem")

    def server(self, *_names: str) -> Pair:
        """Return the certificate for 127.0.0.1, ::1 and localhost."""
        return _pair("server.pem")

    def client(self, user: str, _groups: Iterable[str] = ()) -> Pair:
        """Return the kubelet's certificate. Raises ValueError for another user."""
        if user != _USER:
            raise ValueError(f"there is a certificate for {_USER} only")
        return _pair(f"kubelet-{NODE}.pem")


def _pair(name: str) -> Pair:
    certificate, begin, key = _read(name).partition(b"-----BEGIN PRIVATE KEY-----")
    return Pair(certificate, begin + key)


def _read(name: str) -> bytes:
    with open(os.path.join(_HERE, name), "rb") as file:
        return file.read()
