"""Look a host name up, for no longer than there is time."""

from __future__ import annotations

import socket
import threading


def look_up(host: str, seconds: float) -> None:
    """Return when the name can be resolved. Raises OSError when it cannot, or not in this time; ValueError for no name.

    In a thread, because the C library waits up to half a minute for name servers that are away, and no signal gets
    through to it. The addresses are thrown away: connecting looks them up again, at once now that the way is known.
    """
    if ":" in host or host.replace(".", "").isdigit():
        return
    failed: list[Exception] = []

    def look() -> None:
        try:
            socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, ValueError) as error:
            failed.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers in time")
    if failed:
        raise failed[0]
