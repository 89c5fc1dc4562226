"""Turn what the network, TLS and HTTP layers raise into one short line."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import ssl

from plugin.errors import PLUGIN_FAILURE, TRY_AGAIN_LATER, Unreachable
from plugin.kube.answers import Transient, too_slow, unusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# X509_V_ERR_*, openssl/x509_vfy.h
_UNKNOWN_AUTHORITY = (2, 7, 18, 19, 20, 21)
_NOT_YET_VALID, _EXPIRED = 9, 10
_WRONG_NAME = (62, 64)

_WANTS_CERTIFICATE = "it wants a client certificate"
_REFUSES_CERTIFICATE = "it does not accept our client certificate"
_NO_TLS = "that is no TLS server"
_OLD_TLS = "it offers no TLS 1.2 or later"
_NETWORK = (
    errno.ECONNREFUSED,
    errno.ECONNABORTED,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.ETIMEDOUT,
    errno.EADDRNOTAVAIL,
)
# ssl.SSLError.reason: what the server said (ALERT), or what OpenSSL made of its bytes.
_TLS_REASONS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _WANTS_CERTIFICATE,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": f"it broke off the handshake; perhaps {_WANTS_CERTIFICATE}",
    "SSLV3_ALERT_BAD_CERTIFICATE": _REFUSES_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _REFUSES_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": _REFUSES_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that our client certificate has expired",
    "TLSV1_ALERT_PROTOCOL_VERSION": _OLD_TLS,
    "UNSUPPORTED_PROTOCOL": _OLD_TLS,
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
}


def explain(error: Exception, route: str, names: Callable[[], str] = lambda: "") -> Unreachable:
    """Return the error for this exception. route: the server and the way to it, in front of every message.

    names: called for a certificate with another name, returns the names that it has.
    """
    cause = _cause(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _untrusted(cause, route, names)
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        what = _TLS_REASONS.get(cause.reason or "", f"TLS failed ({cause.reason or 'no reason given'})")
        return unusable(route, what, "see whether server: in the kubeconfig names the right host and port")
    if isinstance(cause, socket.gaierror):
        return _unresolved(cause, route)
    if isinstance(cause, socket.timeout):  # TimeoutError's other name, but on Python 3.9 a class of its own
        return too_slow(route)
    if isinstance(cause, OSError) and str(cause).startswith("Tunnel connection failed"):
        return _no_tunnel(str(cause), route)
    if isinstance(cause, (ConnectionResetError, BrokenPipeError, http.client.IncompleteRead, ssl.SSLError)):
        return Transient(f"{route}: the connection was closed before the answer was complete")
    if isinstance(cause, OSError) and cause.errno in _NETWORK:
        return Transient(f"{route}: {os.strerror(cause.errno).lower()}")
    return unusable(route, f"no HTTP answer that makes sense ({type(cause or error).__name__})")


def _cause(error: BaseException) -> BaseException | None:
    """Return the exception of the standard library inside those of requests and urllib3."""
    each: BaseException | None = error
    while each:
        plain = isinstance(each, OSError) and type(each).__module__ in ("builtins", "socket", "ssl", "http.client")
        if plain or isinstance(each, http.client.HTTPException):
            break
        each = each.__cause__ or each.__context__
    return each


def _untrusted(error: ssl.SSLCertVerificationError, route: str, names: Callable[[], str]) -> Unreachable:
    code = error.verify_code
    if code in _UNKNOWN_AUTHORITY:
        what = "its certificate is signed by an authority that the kubeconfig does not name"
        return unusable(
            route, what, "see whether certificate-authority is this cluster's, and who else may answer there"
        )
    if code in (_EXPIRED, _NOT_YET_VALID):
        what = "its certificate has expired" if code == _EXPIRED else "its certificate is not valid yet"
        return unusable(route, what, "see whether this node's clock is right; renew the server's certificate")
    if code in _WRONG_NAME:
        has = names()
        what = "its certificate is for another name" + (f": {has}" if has else "")
        return unusable(route, what, "use such a name as server: in the kubeconfig, or as tls-server-name")
    return unusable(route, f"its certificate is not accepted: {error.verify_message}")


def _unresolved(error: socket.gaierror, route: str) -> Unreachable:
    what = f"{route}: its name cannot be resolved ({error.strerror})"
    details = "see /etc/resolv.conf; a node is better given an address or a name in /etc/hosts"
    return Transient(what, details) if error.errno == socket.EAI_AGAIN else Unreachable(what, details)


def _no_tunnel(text: str, route: str) -> Unreachable:
    status = text.partition(":")[2].strip()[:3]
    what = f"{route}: the proxy refuses to connect ({status})"
    if status.startswith("5"):
        return Transient(what)
    details = "it wants a user and password" if status == "407" else "if no proxy is needed, list the host in NO_PROXY"
    return Unreachable(what, details, TRY_AGAIN_LATER if status == "429" else PLUGIN_FAILURE)
