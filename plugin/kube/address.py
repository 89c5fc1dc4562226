"""Normalise the server address of a kubeconfig."""

from __future__ import annotations

import os
import re

_AUTHORITY = re.compile(
    r"(?: \[ (?P<bracketed> [^\[\]]* ) \] | (?P<plain> [^\[\]:]* ) ) (?: : (?P<port> [0-9]* ) )?", re.VERBOSE
)
_HOST = re.compile(r"[\w.~-]+")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+")
# What Go leaves as it is in a path, https://pkg.go.dev/net/url#URL.EscapedPath
_PATH_SAFE = "/$&+,:;=@~"


class BadAddress(ValueError):
    """msg: what is wrong, hint: what to write. Neither quotes what may be a password."""

    def __init__(self, msg: str, hint: str = "write https://HOST:PORT") -> None:
        super().__init__(msg)
        self.hint = hint


def normalised(server: str) -> str:
    """Return SCHEME://HOST[:PORT][/PATH], without user, query, fragment and final slash. Raises BadAddress.

    Brackets round an IPv4 address or a name are removed: Multus before 4.2.3 and Calico before 3.32 write them.
    """
    if any(character <= " " or character == "\x7f" for character in server):
        raise BadAddress("it contains a space or control character")
    scheme, found, rest = server.partition("://")
    # kubectl reads HOST:PORT as http://, and then sends no credentials, which is never wanted.
    if not found:
        raise BadAddress("it does not begin with https://")
    if scheme.lower() not in ("http", "https"):
        raise BadAddress("its scheme is neither https nor http")
    rest = rest.partition("#")[0].partition("?")[0]
    authority, _, path = rest.partition("/")
    if "@" in authority:
        raise BadAddress(
            "it contains a user name or password", "credentials belong into the user entry, as username and password"
        )
    return f"{scheme.lower()}://{_host_and_port(authority)}{_clean(path)}"


def _host_and_port(authority: str) -> str:
    if authority.count(":") > 1 and "[" not in authority:
        raise BadAddress("an IPv6 address needs brackets", "write https://[::1]:6443")
    match = _AUTHORITY.fullmatch(authority)
    if not match:
        raise BadAddress("its host or port is malformed")
    host = match["plain"] if match["bracketed"] is None else match["bracketed"]
    if ":" in host:
        if not _IPV6.fullmatch(host):
            raise BadAddress("its IPv6 address is malformed or has a zone", "write https://[fd00::1]:6443")
        host = f"[{host}]"
    elif not _HOST.fullmatch(host):
        raise BadAddress("its host is missing or malformed")
    port = match["port"]
    if port and not 0 < int(port[:6]) < 65536:
        raise BadAddress("its port is not between 1 and 65535")
    return f"{host}:{port}" if port else host


def _clean(path: str) -> str:
    """Return the path without empty, . and .. segments and without needless percent-encoding."""
    from urllib.parse import quote, unquote

    if re.search("%(?![0-9A-Fa-f]{2})", path):
        raise BadAddress("its path has a % that does not begin an escape")
    return quote(os.path.normpath("/" + unquote(path).lstrip("/")), safe=_PATH_SAFE).rstrip("/")
