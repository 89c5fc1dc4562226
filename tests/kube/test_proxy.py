"""The proxy is the one client-go would take."""

from __future__ import annotations

import pytest

from plugin.errors import INVALID_CONFIG, CniError
from plugin.kube import proxy

P = "http://proxy:3128"
API = "https://api.example.org:6443"


@pytest.mark.parametrize(
    ("url", "proxy_url", "environ", "expected"),
    [
        (API, "", {}, ("", "")),
        (API, "", {"HTTPS_PROXY": P}, (P, "HTTPS_PROXY")),
        (API, "", {"https_proxy": P}, (P, "https_proxy")),
        (API, "", {"HTTPS_PROXY": P, "https_proxy": "http://other"}, (P, "HTTPS_PROXY")),
        (API, "", {"HTTPS_PROXY": "", "https_proxy": P}, (P, "https_proxy")),
        (API, "", {"HTTP_PROXY": P, "ALL_PROXY": P, "all_proxy": P}, ("", "")),
        ("http://api:8080", "", {"HTTP_PROXY": P}, (P, "HTTP_PROXY")),
        ("http://api:8080", "", {"HTTPS_PROXY": P}, ("", "")),
        (API, "", {"HTTPS_PROXY": "proxy:3128"}, (P, "HTTPS_PROXY")),
        (API, "", {"HTTPS_PROXY": "https://proxy"}, ("https://proxy", "HTTPS_PROXY")),
        (API, "", {"HTTPS_PROXY": "u:p@proxy:3128"}, ("http://u:p@proxy:3128", "HTTPS_PROXY")),
        (API, "http://config:1", {"HTTPS_PROXY": P, "NO_PROXY": "*"}, ("http://config:1", "proxy-url")),
        ("https://127.0.0.1:6443", "http://config:1", {}, ("http://config:1", "proxy-url")),
    ],
)
def test_choose(url: str, proxy_url: str, environ: dict[str, str], expected: tuple[str, str]) -> None:
    """proxy-url wins over the environment, capital letters over small ones, and only this scheme's variable counts."""
    assert proxy.choose(url, proxy_url, environ) == expected


@pytest.mark.parametrize(
    ("host", "no_proxy", "used"),
    [
        ("api.example.org:6443", "", True),
        ("localhost:6443", "", False),
        ("127.0.0.1:6443", "", False),
        ("127.9.9.9:6443", "", False),
        ("[::1]:6443", "", False),
        ("[::ffff:127.0.0.1]:6443", "", False),
        ("api.example.org:6443", "*", False),
        ("api.example.org:6443", "a, * ,b", False),
        ("api.example.org:6443", "example.org", False),
        ("API.Example.org:6443", "example.ORG", False),
        ("example.org:6443", "example.org", False),
        ("anexample.org:6443", "example.org", True),
        ("example.org:6443", ".example.org", True),
        ("api.example.org:6443", ".example.org", False),
        ("api.example.org:6443", "*.example.org", False),
        ("example.org:6443", "*.example.org", True),
        ("api.example.org:6443", "api.example.org:6443", False),
        ("api.example.org:6443", "api.example.org:443", True),
        ("api.example.org", "api.example.org:443", False),
        ("api.example.org:6443", ":6443", True),
        ("api.example.org:6443", ",,", True),
        ("kubernetes:6443", "kubernetes", False),
        ("kubernetes.default:6443", "kubernetes", True),
        ("10.96.0.1:443", "10.96.0.1", False),
        ("10.96.0.1:443", "10.96.0.1:443", False),
        ("10.96.0.1:443", "10.96.0.1:6443", True),
        ("10.96.0.1:443", "10.96.0.0/12", False),
        ("10.112.0.1:443", "10.96.0.0/12", True),
        ("10.96.0.1:443", "10.96.0.99/12", False),
        ("10.96.0.1:443", "0.0.0.0/0", False),
        ("10.96.0.1:443", "10.96.0.0/33", True),
        ("10.96.0.1:443", "10.96.0.0/x", True),
        ("10.96.0.1:443", "10.96.0", True),
        ("10.96.0.1:443", "::/0", True),
        ("[fd00::1]:443", "fd00::/8", False),
        ("[fd00::1]:443", "fe80::/10", True),
        ("[fd00::1]:443", "fd00::1", False),
        ("[fd00::1]:443", "FD00:0::1", False),
        ("[fd00::1]:443", "[fd00::1]:443", False),
        ("[fd00::1]:443", "[fd00::1]:6443", True),
        ("[fd00::1]:443", "[fd00::1]", True),
        ("[fd00::1]:443", "0.0.0.0/0", True),
        ("[::ffff:10.0.0.1]:443", "10.0.0.0/8", False),
        ("api.example.org:443", "10.0.0.0/8", True),
    ],
)
def test_no_proxy(host: str, no_proxy: str, used: bool) -> None:
    """NO_PROXY takes *, domains, addresses with and without ports, and CIDRs; loopback never goes through a proxy."""
    assert proxy.choose(f"https://{host}", "", {"HTTPS_PROXY": P, "NO_PROXY": no_proxy}) == (
        (P, "HTTPS_PROXY") if used else ("", "")
    )


def test_no_proxy_in_small_letters() -> None:
    """no_proxy counts when NO_PROXY is not there."""
    assert proxy.choose(API, "", {"HTTPS_PROXY": P, "no_proxy": "api.example.org"}) == ("", "")


@pytest.mark.parametrize(
    ("proxy_url", "environ", "message"),
    [
        ("socks5://proxy:1080", {}, "proxy-url: socks5 proxies are not supported"),
        ("", {"HTTPS_PROXY": "socks5h://proxy:1080"}, "HTTPS_PROXY: socks5h proxies are not supported"),
        ("ftp://proxy", {}, "proxy-url: ftp proxies are not supported"),
        ("http://", {}, "proxy-url: not the URL of a proxy"),
        ("", {"https_proxy": "http://user:secret@proxy:port"}, "https_proxy: not the URL of a proxy"),
        ("http://[secret", {}, "proxy-url: not the URL of a proxy"),
        ("http://user:secret@pro xy:3128", {}, "proxy-url: not the URL of a proxy"),
        (" http://proxy:3128", {}, "proxy-url: not the URL of a proxy"),
        ("http://user:sec\tret@proxy:3128", {}, "proxy-url: not the URL of a proxy"),
        ("http://proxy:3128\n", {}, "proxy-url: not the URL of a proxy"),
        ("//proxy:3128", {}, "proxy-url: not the URL of a proxy"),
    ],
)
def test_unusable(proxy_url: str, environ: dict[str, str], message: str) -> None:
    """A proxy that cannot be used is an error that names where it was set, and not its user or password."""
    with pytest.raises(CniError) as error:
        proxy.choose(API, proxy_url, environ)
    assert (error.value.code, error.value.msg) == (INVALID_CONFIG, message)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://proxy:3128", "http://proxy:3128"),
        ("http://user:secret@proxy:3128/path?x=secret", "http://proxy:3128"),
        ("https://u:p@d@[fd00::1]:1", "https://[fd00::1]:1"),
    ],
)
def test_shown(url: str, expected: str) -> None:
    """Messages show the proxy without user and password."""
    assert proxy.shown(url) == expected
