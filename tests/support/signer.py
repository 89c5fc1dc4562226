"""The certificate authority of a test API server: tests.support.pki makes one, tests.support.demo_pki is ready-made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol


class Pair(NamedTuple):
    """A certificate (PEM, intermediates after it) and its key (PEM)."""

    certificate: bytes
    key: bytes


class Signer(Protocol):
    """A certificate authority; ca_pem is its own certificate."""

    @property
    def ca_pem(self) -> bytes:
        """The certificate to trust (PEM)."""

    def server(self, *names: str) -> Pair:
        """Return a server certificate for these DNS names and IP addresses."""

    def client(self, user: str, groups: Iterable[str] = ()) -> Pair:
        """Return a client certificate for this user."""
