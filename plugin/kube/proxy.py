"""Choose the proxy for a request as client-go does: proxy-url, else the environment variables as Go reads them."""

from __future__ import annotations

import socket
from base64 import b64encode
from urllib.parse import unquote, urlsplit

from plugin.errors import INVALID_CONFIG, CniError
from plugin.kube import redaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

PORTS = {"https": 443, "http": 80}
_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, IPv4 inside IPv6


def choose(url: str, proxy_url: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the proxy's URL and its origin, a kubeconfig key or a variable; ("", "") for a direct connection.

    The kubeconfig's proxy_url applies to every host. The variables do not apply to loopback addresses and to hosts in
    NO_PROXY (golang.org/x/net/http/httpproxy). Raises CniError for a proxy that cannot be used.
    """
    if proxy_url:
        return _checked(proxy_url, "proxy-url"), "proxy-url"
    target = urlsplit(url)
    variable = f"{target.scheme}_proxy"
    variable = variable.upper() if environ.get(variable.upper()) else variable
    value = environ.get(variable, "")
    if not value or not _applies(target, environ.get("NO_PROXY") or environ.get("no_proxy") or ""):
        return "", ""
    return _checked(value if "://" in value else f"http://{value}", variable), variable


def way(server: str, proxy_url: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the proxy's URL, "" for none, and for messages the server and the way to it. Raises CniError."""
    proxy, origin = choose(server, proxy_url, environ)
    return proxy, f"API server {server}" + (f" through proxy {shown(proxy)} ({origin})" if proxy else "")


def authorization(proxy: str) -> dict[str, str]:
    """Return the header for a proxy whose URL has a user in it."""
    parts = urlsplit(proxy)
    return {} if parts.username is None else {"Proxy-Authorization": f"Basic {_pair(parts)}"}


def shown(proxy: str) -> str:
    """Return the proxy's URL without user and password, for messages."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def fault(proxy: str) -> str:
    """Return why this is not the URL of a proxy that can be used, without the URL; "" if it is one."""
    try:
        parts = urlsplit(proxy)  # which drops blanks around it, tabs and line breaks: Go refuses them
        if parts.scheme and parts.hostname and (parts.port or 1) > 0 and proxy.isprintable() and " " not in proxy:
            return "" if parts.scheme in PORTS else f"{parts.scheme} proxies are not supported"
    except ValueError:
        pass
    return "not the URL of a proxy"


def _checked(proxy: str, origin: str) -> str:
    """Return this proxy's URL. Register its password (without one, the user): messages may repeat it."""
    if why := fault(proxy):
        details = "write http://HOST:PORT, or list the API server's host in NO_PROXY"
        raise CniError(INVALID_CONFIG, f"{origin}: {why}", details)
    parts = urlsplit(proxy)
    if parts.username:
        secret = parts.password or parts.username  # some proxies take a token for a user without a password
        for each in (secret, unquote(secret), _pair(parts)):
            redaction.register(each)
    return proxy


def _pair(parts: SplitResult) -> str:
    """Return user and password in base64."""
    return b64encode(f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()).decode()


def _applies(target: SplitResult, no_proxy: str) -> bool:
    host = (target.hostname or "").lower()
    port = str(target.port or PORTS[target.scheme])
    address = _packed(host)
    if host == "localhost" or _is_loopback(address):
        return False
    return not any(_listed(entry.strip().lower(), host, port, address) for entry in no_proxy.split(","))


def _listed(entry: str, host: str, port: str, address: bytes) -> bool:
    """Return whether an entry of NO_PROXY matches: *, a CIDR, or an address or domain with or without a port."""
    if entry == "*":
        return True
    network, slash, length = entry.partition("/")
    if slash and _packed(network):
        return _in_network(address, _packed(network), length)
    name, listed_port = _split_port(entry)
    if listed_port not in ("", port):
        return False
    if _packed(name):
        return _packed(name) == address
    # example.org: it and what is below; .example.org and *.example.org: only what is below
    name = name[1:] if name.startswith("*.") else name
    return bool(name) and (host.endswith(name if name.startswith(".") else f".{name}") or host == name)


def _split_port(entry: str) -> tuple[str, str]:
    """Split host:port or [address]:port. Anything else is a host; an address in brackets alone matches nothing."""
    name, colon, port = entry.rpartition(":")
    if colon and name.startswith("[") and name.endswith("]"):
        return name[1:-1], port
    return (name, port) if colon and ":" not in name else (entry, "")


def _packed(text: str) -> bytes:
    """Return an IP address as 4 or 16 bytes; b"" for anything else."""
    try:
        packed = socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        return b""
    return packed[len(_MAPPED) :] if packed.startswith(_MAPPED) else packed


def _is_loopback(address: bytes) -> bool:
    return (len(address) == 4 and address[0] == 127) or address == bytes(15) + b"\x01"


def _in_network(address: bytes, network: bytes, length: str) -> bool:
    bits = len(network) * 8
    if len(address) != len(network) or not length.isascii() or not length.isdigit() or int(length) > bits:
        return False
    shift = bits - int(length)
    return int.from_bytes(address, "big") >> shift == int.from_bytes(network, "big") >> shift
