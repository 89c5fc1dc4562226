"""plugin.kube.address: what the server key may hold, beyond what can be tried on a loopback server."""

from __future__ import annotations

import pytest

from plugin.kube.address import BadAddress, normalised


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("https://[::1]:6443", "https://[::1]:6443"),
        ("https://[FD00::1]", "https://[FD00::1]"),
        ("https://[::ffff:10.0.0.1]:443/p/", "https://[::ffff:10.0.0.1]:443/p"),
        ("https://[10.96.0.1]", "https://10.96.0.1"),
        ("https://[kubernetes.default.svc]:443", "https://kubernetes.default.svc:443"),
        ("https://x.hcp.eastus.azmk8s.io:443", "https://x.hcp.eastus.azmk8s.io:443"),
        ("https://kind-control-plane:6443", "https://kind-control-plane:6443"),
        ("https://host:", "https://host"),
        ("https://host?a=b", "https://host"),
        ("https://host/..", "https://host"),
        ("https://host/a:b@c", "https://host/a:b@c"),
        ("http://localhost:8080", "http://localhost:8080"),
    ],
)
def test_normalised(server: str, expected: str) -> None:
    """Addresses of every form in use come out as one that requests understands."""
    assert normalised(server) == expected


@pytest.mark.parametrize(
    ("server", "expected", "hint"),
    [
        ("fd00::1", "it does not begin with https://", "https://HOST:PORT"),
        ("https://fd00::1", "an IPv6 address needs brackets", "https://[::1]:6443"),
        ("https://fd00::1:6443/p", "an IPv6 address needs brackets", "https://[::1]:6443"),
        ("https://[fe80::1%eth0]:6443", "its IPv6 address is malformed or has a zone", "https://[fd00::1]:6443"),
        ("https://[::1", "its host or port is malformed", "https://HOST:PORT"),
        ("https://[::1]x:1", "its host or port is malformed", "https://HOST:PORT"),
        ("https://[]:1", "its host is missing or malformed", "https://HOST:PORT"),
        ("https://", "its host is missing or malformed", "https://HOST:PORT"),
        ("https:///path", "its host is missing or malformed", "https://HOST:PORT"),
        ("https://a\\b", "its host is missing or malformed", "https://HOST:PORT"),
        ("https://host:0", "its port is not between 1 and 65535", "https://HOST:PORT"),
        ("https://host:99999999999999999999", "its port is not between 1 and 65535", "https://HOST:PORT"),
        ("https://host\n", "it contains a space or control character", "https://HOST:PORT"),
        ("https://u:secret@host", "it contains a user name or password", "username and password"),
        ("ssh://u:secret@host", "its scheme is neither https nor http", "https://HOST:PORT"),
        ("https://host/%2", "its path has a % that does not begin an escape", "https://HOST:PORT"),
    ],
)
def test_refused(server: str, expected: str, hint: str) -> None:
    """What cannot be an address, or would be taken for another one, is refused with what to write."""
    with pytest.raises(BadAddress) as raised:
        normalised(server)
    assert (str(raised.value), "secret" in raised.value.hint) == (expected, False)
    assert hint in raised.value.hint
