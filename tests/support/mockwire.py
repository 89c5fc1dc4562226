"""plugin.kube.wire on top of the responses package: what is sent by http.client's interface is answered by its mock."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict

from plugin.kube import wire


class _Connection:
    """As much of http.client.HTTPConnection as a Wire uses."""

    sock = None

    def __init__(self, origin: str) -> None:
        self._request = requests.PreparedRequest()
        self._request.headers = HTTPHeaderDict()  # type: ignore[assignment]
        self._origin = origin

    def putrequest(self, method: str, target: str, **_options: bool) -> None:
        """The first line."""
        self._request.method, self._request.url = method, self._origin + target

    def putheader(self, name: str, value: str) -> None:
        """One more header; several may have the same name."""
        self._request.headers.add(name, value)  # type: ignore[attr-defined]

    def endheaders(self, body: bytes | None) -> None:
        """What is sent with them."""
        self._request.body = body

    def getresponse(self) -> Any:
        """What the mock answers."""
        return _Response(HTTPAdapter().send(self._request, stream=True))

    def close(self) -> None:
        """There is nothing to close."""


class _Response:
    """As much of http.client.HTTPResponse as a Wire uses."""

    length = None

    def __init__(self, response: requests.Response) -> None:
        self.status, self.headers = response.status_code, response.headers
        self.read1 = response.raw.read

    def __enter__(self) -> _Response:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass


def place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every Wire ask the mock."""

    def connect(self: wire.Wire, _seconds: float) -> Any:
        return _Connection(f"{self._server.scheme}://{self._server.netloc}")

    monkeypatch.setattr(wire.Wire, "_connect", connect)
    monkeypatch.setattr(wire, "_secured", lambda plain, *_: plain)
