"""Connect to a host, with a limit to the time that name servers and the host may take."""

from __future__ import annotations

import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ADDRESS_SECONDS = 4.0  # for one address; a name may have another one


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """Return a connection to the first address of this host that accepts one.

    seconds: for the name servers. Raises OSError, and ValueError for what is not a host name.
    """
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in _addresses(host, port, seconds):
        plain = None
        try:
            plain = socket.socket(family, kind, protocol)
            plain.settimeout(min(_ADDRESS_SECONDS, seconds))
            plain.connect(address)
            return plain
        except OSError as error:  # of socket(), if a name has an IPv6 address and this kernel has none
            failure = error
            if plain:
                plain.close()
    raise failure


def _addresses(host: str, port: int, seconds: float) -> list[Any]:
    """Return what getaddrinfo() returns. It waits up to 30 s for name servers, and no signal interrupts it."""
    if ":" in host or host.replace(".", "").isdigit():  # an address, which needs no name server
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    found: list[Any] = []
    failures: list[Exception] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as error:
            failures.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers in time")
    if failures:
        raise failures[0]
    return found
