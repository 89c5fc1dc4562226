"""Read the credentials for the API server: a certificate, token, password, or the answer of an exec plugin."""

from __future__ import annotations

import base64
import json
import time

from plugin.errors import CniError
from plugin.facts import CERTIFICATE_NAME, TOKEN_CLAIM
from plugin.kube import files, pem, places, redaction, rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugin.kube.kubeconfig import Kubeconfig

# https://kubernetes.io/docs/reference/access-authn-authz/node/
_NODE_USER, _NODE_GROUP = "system:node:", "system:nodes"
_YEAR_10000 = 253402300800


class Credentials:
    """The credentials to send.

    kind: for messages: "client certificate", "token", "token file", "basic auth", "exec plugin NAME", "anonymous",
    or two of them with " and ". source: the file it came from. headers: at most Authorization.
    certificate, key: PEM, b"" if there is none. expires: epoch seconds, if an exec plugin gave them.
    """

    def __init__(
        self, kind: str, source: str, headers: dict[str, str] | None = None, certificate: bytes = b"", key: bytes = b""
    ) -> None:
        self.kind = kind
        self.source = source
        self.headers = headers or {}
        self.certificate = certificate
        self.key = key
        self.expires: float | None = None


def load(config: Kubeconfig, environ: Mapping[str, str], *, refresh: bool = False) -> Credentials:
    """Read what the user entry names, or run its exec plugin; none for an http:// server. Register the secrets.

    refresh: run an exec plugin again, because the server refused (401) its last answer.
    Half-written files are read again for up to a second.
    Raises CniError, and Unreachable if an exec plugin fails or takes too long.
    """
    if config.server.startswith("http://"):
        return Credentials("anonymous", config.path)
    user = config.user
    # As in client-go, static credentials take precedence over exec, even an empty token file.
    named = ("token", "tokenFile", "username", "client-certificate", "client-certificate-data")
    if "exec" in user and not any(user.get(key) for key in named):
        found = _from_plugin(config, environ, refresh)
    else:
        found = files.settled(lambda: _written(config))
    redaction.register(pem.body(found.key, "PRIVATE KEY").decode("latin-1"), is_base64=True)
    return found


def _from_plugin(config: Kubeconfig, environ: Mapping[str, str], refresh: bool) -> Credentials:
    from plugin.kube import exec_plugin

    token, certificate, key, expires = exec_plugin.credential(config, environ, refresh)
    name = config.user["exec"]["command"].rpartition("/")[2]
    found = Credentials(f"exec plugin {name}", config.path, {}, certificate, key)
    found.expires = expires
    if token:
        _authorize(found, f"Bearer {token}")
    return found


def _written(config: Kubeconfig) -> Credentials:
    kinds, found = [], Credentials("anonymous", config.path)
    if config.user.get("client-certificate") or config.user.get("client-certificate-data"):
        found.certificate, found.key = _pair(config)
        found.source = config.user.get("client-certificate") or config.path
        _renew(found)
        kinds.append("client certificate")
    kind, token = _token(config)
    if token:
        redaction.register(token)
        _authorize(found, f"Bearer {token}")
        found.source = config.user["tokenFile"] if kind == "token file" else found.source
        kinds.append(kind)
    if config.user.get("username"):
        password: str = config.user.get("password", "")
        pair = base64.b64encode(f"{config.user['username']}:{password}".encode()).decode()
        redaction.register(password)
        redaction.register(pair)
        _authorize(found, f"Basic {pair}")
        kinds.append("basic auth")
    found.kind = " and ".join(kinds) or found.kind
    return found


def _authorize(credentials: Credentials, value: str) -> None:
    try:
        credentials.headers["Authorization"] = rules.header_value("Authorization", value)
    except ValueError as error:
        hint = "the token has a line break or control character in it (token: | keeps the one at its end)"
        raise files.Unsettled(f"{credentials.source}: {error}", hint) from None


def _pair(config: Kubeconfig) -> tuple[bytes, bytes]:
    """Return certificate and key. One file is read once: the kubelet may replace it at any time."""
    user, name = config.user, config.user_name
    cert_path, key_path = user.get("client-certificate"), user.get("client-key")
    certificate: bytes = user.get("client-certificate-data", b"")
    key: bytes = user.get("client-key-data", b"")
    if cert_path:
        certificate = files.referenced(cert_path, "client-cert", name)
    if key_path:
        key = certificate if key_path == cert_path else files.referenced(key_path, "client-key", name)
    for text, label, what, path in (
        (certificate, "CERTIFICATE", "certificate", cert_path),
        (key, "PRIVATE KEY", "key", key_path),
    ):
        if not pem.body(text, label):
            where = f"client-{what}{'' if path else '-data'} of user {name} in {config.path}"
            raise files.Unsettled(f"tls: failed to find any PEM data in {what} input: {path or where}", f"see {where}")
    return certificate, key


def _renew(found: Credentials) -> None:
    """Take the kubelet's current certificate in place of one of the same node that has expired.

    Before 1.17, kubeadm wrote the first certificate into kubelet.conf, where it is not renewed.
    """
    name, ends = _kubelet(found.certificate)
    if not name or ends > time.time():
        return
    for path in places.CURRENT_CERTIFICATES:
        try:
            text = files.read(places.ROOT + path)
        except (OSError, ValueError):
            continue
        current_name, current_ends = _kubelet(text)
        if current_name == name and current_ends > time.time() and pem.body(text, "PRIVATE KEY"):
            found.certificate = found.key = text
            found.source = places.ROOT + path
            return


def _token(config: Kubeconfig) -> tuple[str, str]:
    """Return the kind of the token, and the token. A readable, non-empty file precedes the inline token."""
    inline: str = config.user.get("token", "")
    path: str = config.user.get("tokenFile", "")
    if not path:
        return "token", inline
    where = f"see user {config.user_name} in {config.path}"
    try:
        from_file = files.referenced(path, "tokenFile", config.user_name).decode().strip()
    except UnicodeDecodeError:
        raise files.Unsettled(f"token file {path} is not text", where) from None
    except CniError:
        if not inline:
            raise
        from_file = ""
    if not from_file and not inline:
        raise files.Unsettled(f'read empty token from file "{path}"', where)
    return ("token file", from_file) if from_file else ("token", inline)


def node_name(credentials: Credentials) -> tuple[str, str] | None:
    """Return (CERTIFICATE_NAME or TOKEN_CLAIM, name of the node) if the credential names its node. Never raises."""
    name, _ = _kubelet(credentials.certificate)
    if name:
        return CERTIFICATE_NAME, name
    # https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#schema-for-service-account-private-claims
    claim = _claim(credentials, "kubernetes.io", "node", "name")
    return (TOKEN_CLAIM, claim) if isinstance(claim, str) and claim else None


def may_be_kubelets(credentials: Credentials) -> bool:
    """Return whether the API server may take this for a kubelet's, though nothing in it says so.

    A certificate and a service account's token name their user.
    """
    is_named = bool(credentials.certificate) or any(key.startswith("kubernetes.io") for key in _claims(credentials))
    return bool(credentials.headers) and not is_named


def node_of_user(name: object, groups: object) -> str:
    """Return the name of the node whose kubelet this user is; "" for any other."""
    if not isinstance(name, str) or not name.startswith(_NODE_USER):
        return ""
    return name[len(_NODE_USER) :] if isinstance(groups, list) and _NODE_GROUP in groups else ""


def _kubelet(certificate: bytes) -> tuple[str, float]:
    """Return the node whose kubelet's certificate this is, "" for any other, and when it expires (epoch seconds)."""
    try:
        return node_of_user(*pem.subject(certificate)), pem.not_after(certificate)
    except ValueError:
        return "", 0.0


def pod(credentials: Credentials) -> str:
    """Return NAMESPACE/NAME of the pod that a token is bound to; empty if it is bound to none. Never raises."""
    name = _claim(credentials, "kubernetes.io", "pod", "name")
    return f"{_claim(credentials, 'kubernetes.io', 'namespace')}/{name}" if isinstance(name, str) else ""


def expiry(credentials: Credentials) -> float | None:
    """Return when the credential expires, in seconds since the epoch; None if it does not say. Never raises."""
    ends = [credentials.expires, _claim(credentials, "exp")]
    try:
        ends.append(pem.not_after(credentials.certificate))
    except ValueError:
        pass
    known = [float(end) for end in ends if isinstance(end, (int, float)) and 0 < end < _YEAR_10000]
    return min(known, default=None)


def _claim(credentials: Credentials, *names: str) -> object:
    """Return a claim inside of others; None if there is none."""
    found: object = _claims(credentials)
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _claims(credentials: Credentials) -> dict[str, object]:
    """Return the claims of a JSON web token, {} for any other token. They are not verified: the server does that."""
    token = credentials.headers.get("Authorization", "").partition("Bearer ")[2]
    parts = token.split(".")
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "==") if len(parts) == 3 else b"{}"
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
