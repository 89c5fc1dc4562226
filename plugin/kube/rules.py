"""Validate the entries that a context selects, as client-go does, in its order and words."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# https://pkg.go.dev/golang.org/x/net/http/httpguts#ValidHeaderFieldValue
_NO_HEADER = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_NAME_SAFE = "!#$&'*+^`|"  # what a header's name may have beside letters, digits and _.-~; not %, which escapes
EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


def user_faults(name: str, user: dict[str, Any]) -> list[str]:
    """Return what client-go's validateAuthInfo (tools/clientcmd/validation.go) and its transport would refuse."""
    faults = _certificate_faults(name, user)
    if "exec" in user:
        faults += _exec_faults(name, user)
    if user.get("token") and (user.get("username") or user.get("password")):
        faults.append(
            f"more than one authentication method found for {name}; found [token basicAuth], only one is allowed"
        )
    elif user.get("tokenFile") and user.get("username"):
        faults.append("username/password or bearer token may be set, but not both")
    if not user.get("as") and (user.get("as-uid") or user.get("as-groups") or user.get("as-user-extra")):
        faults.append(f"requesting uid, groups or user-extra for {name} without impersonating a user")
    if "auth-provider" in user and "exec" not in user:
        faults.append(f"auth-provider of user {name} is not supported; use exec, a token or a certificate")
    return faults


def _certificate_faults(name: str, user: dict[str, Any]) -> list[str]:
    """Return the faults of certificate and key. A key without a certificate is ignored."""
    if not user.get("client-certificate") and not user.get("client-certificate-data"):
        return []
    faults = _both(name, user, "client-certificate", "client-cert") + _both(name, user, "client-key", "client-key")
    if not user.get("client-key") and not user.get("client-key-data"):
        use = f"for {name} to use the clientCert authentication method."
        faults.append(f"client-key-data or client-key must be specified {use}")
    return faults


def _both(name: str, entry: dict[str, Any], key: str, shown: str) -> list[str]:
    """Return the fault of an entry that has this key both for a file and for data."""
    if not entry.get(key) or not entry.get(f"{key}-data"):
        return []
    return [f"{shown}-data and {shown} are both specified for {name}. {shown}-data will override."]


def _exec_faults(name: str, user: dict[str, Any]) -> list[str]:
    plugin, faults = user["exec"], []
    if "auth-provider" in user:
        faults.append(f"authProvider cannot be provided in combination with an exec plugin for {name}")
    for key in ("command", "apiVersion"):
        if not plugin.get(key):
            faults.append(f"{key} must be specified for {name} to use exec authentication plugin")
    if not all(item.get("name") for item in plugin.get("env", [])):
        faults.append(f"env variable name must be specified for {name} to use exec authentication plugin")
    version, mode = plugin.get("apiVersion", ""), plugin.get("interactiveMode", "")
    if not mode and version != EXEC_VERSIONS[1]:
        faults.append(f"interactiveMode must be specified for {name} to use exec authentication plugin")
    elif mode not in ("", "Never", "IfAvailable", "Always"):
        faults.append(f'invalid interactiveMode for {name}: "{mode}"')
    if version and version not in EXEC_VERSIONS:
        faults.append(f'exec plugin: invalid apiVersion "{version}"')
    return faults


def cluster_faults(name: str, cluster: dict[str, Any]) -> list[str]:
    """Return what client-go's validateClusterInfo would refuse; the address of the server is checked elsewhere."""
    faults = []
    if not cluster.get("server"):
        faults.append(f'no server found for cluster "{name}"')
    if cluster.get("proxy-url"):
        from plugin.kube import proxy

        if why := proxy.fault(cluster["proxy-url"]):
            faults.append(f"invalid 'proxy-url' for cluster \"{name}\": {why}")
    faults += _both(name, cluster, "certificate-authority", "certificate-authority")
    has_authority = cluster.get("certificate-authority") or cluster.get("certificate-authority-data")
    if cluster.get("insecure-skip-tls-verify") and has_authority:
        faults.append("specifying a root certificates file with the insecure flag is not allowed")
    return faults


def header_value(name: str, text: str) -> str:
    """Return the trimmed text, as net/http sends it. Raises ValueError, without the text: it may be a token."""
    if _NO_HEADER.search(text):
        raise ValueError(f'net/http: invalid header field value for "{name}"')
    return text.strip(" \t")


def impersonation(user: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the impersonation headers, in client-go's order. Raises ValueError.

    https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
    """
    if not user.get("as"):
        return []
    headers = [("Impersonate-User", user["as"])]
    if user.get("as-uid"):
        headers.append(("Impersonate-Uid", user["as-uid"]))
    headers += [("Impersonate-Group", group) for group in user.get("as-groups", [])]
    for key, values in user.get("as-user-extra", {}).items():
        from urllib.parse import quote

        name = f"Impersonate-Extra-{quote(key, safe=_NAME_SAFE)}"
        headers += [(name, value) for value in values]
    return [(name, header_value(name, value)) for name, value in headers]
