"""Look up a host name once, within the deadline."""

from __future__ import annotations

import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class resolved:
    """In a with statement: the addresses of the host are known, and connecting needs no query.

    Raises OSError when they cannot be had, or not in this time; ValueError for what is no host name.
    """

    def __init__(self, host: str, seconds: float) -> None:
        self._host = host
        self._seconds = seconds
        self._original = socket.getaddrinfo
        self._found: list[Any] = []

    def __enter__(self) -> None:
        """Look up in a thread: the C library waits up to 30 s for name servers, and no signal interrupts it."""
        if ":" in self._host or self._host.replace(".", "").isdigit():
            return
        failed: list[Exception] = []

        def look() -> None:
            try:
                self._found = self._original(self._host, None, type=socket.SOCK_STREAM)
            except (OSError, ValueError) as error:
                failed.append(error)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        thread.join(self._seconds)
        if thread.is_alive():
            raise socket.gaierror(socket.EAI_AGAIN, "no name server answers in time")
        if failed:
            raise failed[0]
        socket.getaddrinfo = self._known  # urllib3 would look up again, without a deadline

    def __exit__(self, *_exc: object) -> None:
        socket.getaddrinfo = self._original

    def _known(self, host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host != self._host:
            return self._original(host, port, *arguments, **options)
        return [(*entry, (address[0], port, *address[2:])) for *entry, address in self._found]
