"""Run exec credential plugins: programs that print a token or a certificate.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import base64
import json
import os
import re
import time

from plugin import deadline, process, stdout
from plugin.config import trust
from plugin.errors import PLUGIN_FAILURE, CniError, Unreachable
from plugin.kube import answers, document, pem, redaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from plugin.kube.kubeconfig import Kubeconfig

    Printed = tuple[str, bytes, bytes, float | None]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # if the runtime has none
_SECONDS = 10.0  # for one run; the deadline over everything may leave less
_SHARE = 0.9  # of the time left: the rest is for the error message
_KIND = "ExecCredential"
_EXTENSION = "client.authentication.k8s.io/exec"
_WORD = re.compile(r"[\w.~+/=-]{16,}")
_LONGEST_STDERR = 16384  # bytes
_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.\d+)?([Zz]|[+-]\d\d:\d\d)")

_printed: dict[str, Printed] = {}


def credential(config: Kubeconfig, environ: Mapping[str, str], refresh: bool = False) -> Printed:
    """Return what the plugin of the user entry prints: token, certificate and key in PEM, and when these expire.

    It runs once in this process until they expire. refresh: run it again.
    Raises Unreachable if it fails or takes too long, CniError if it is missing or its answer is wrong. No message shows
    what it printed.
    """
    plugin: dict[str, Any] = config.user["exec"]
    if plugin.get("interactiveMode") == "Always":
        raise _refused("exec plugin cannot support interactive mode: standard input is not a terminal", config)
    info = _info(config)
    key = json.dumps([plugin, info])
    known = _printed.get(key)
    if refresh or not known or (known[3] is not None and known[3] <= time.time()):
        messages: list[bytes] = []
        try:
            _printed[key] = known = _decoded(config, _run(config, environ, info, messages))
        finally:
            stdout.write_stderr(redaction.redact(b"".join(messages).decode(errors="replace")).encode())
    return known


def _info(config: Kubeconfig) -> str:
    """KUBERNETES_EXEC_INFO, https://kubernetes.io/docs/reference/config-api/client-authentication.v1/."""
    plugin, cluster = config.user["exec"], config.cluster
    spec: dict[str, object] = {}
    if plugin.get("provideClusterInfo"):
        about: dict[str, object] = {
            "server": config.server,
            "tls-server-name": config.tls_server_name,
            "insecure-skip-tls-verify": config.insecure,
            "certificate-authority-data": base64.b64encode(config.ca).decode(),
            "proxy-url": config.proxy_url,
            "disable-compression": cluster.get("disable-compression"),
            "config": next(
                (each.get("extension") for each in cluster.get("extensions", []) if each.get("name") == _EXTENSION),
                None,
            ),
        }
        spec["cluster"] = {key: value for key, value in about.items() if value}
    spec["interactive"] = False
    info = {"kind": _KIND, "apiVersion": plugin["apiVersion"], "spec": spec}
    return json.dumps(info, separators=(",", ":")) + "\n"


def _run(config: Kubeconfig, environ: Mapping[str, str], info: str, messages: list[bytes]) -> bytes:
    """Return the plugin's stdout, and append its stderr to messages. Its stdin is empty: ours is the CNI request."""
    plugin = config.user["exec"]
    command: str = plugin["command"]
    env = {"PATH": _PATH, **environ}
    path = _found(command, env["PATH"])
    if not path:
        error = _refused(f"exec: executable {command} not found", config)
        error.details += f"; it must be installed on the node. {answers.one_line(plugin.get('installHint'))}".rstrip()
        raise error
    env.update({each["name"]: each.get("value", "") for each in plugin.get("env", [])}, KUBERNETES_EXEC_INFO=info)
    seconds = min(_SECONDS, deadline.left() * _SHARE)
    try:
        trust.check(path)
        with deadline.within(seconds):
            arguments = [command, *plugin.get("args", [])]
            status, out = process.run(
                path, arguments, env, b"", True, lambda file: messages.append(os.pread(file, _LONGEST_STDERR, 0))
            )
    except deadline.DeadlineExceeded:
        raise _failed(f"exec: executable {command} did not answer in {seconds:.1f} s", config) from None
    except OSError as error:
        raise _refused(f"exec: fork/exec {path}: {os.strerror(error.errno or 0).lower()}", config) from None
    except ValueError:  # such as = in the name of a variable
        raise _refused(f"exec: fork/exec {path}: malformed args or env", config) from None
    if status:
        _register_words(out)
        how = f"failed with exit code {status}" if status > 0 else f"was ended by signal {-status}"
        raise _failed(f"exec: executable {command} {how}", config)
    return out


def _found(command: str, path: str) -> str:
    """Return the path of the command, "" if there is none. The current directory is never searched."""
    if "/" in command:
        return command if os.path.exists(command) else ""
    for directory in path.split(":"):
        candidate = f"{directory}/{command}"
        if directory.startswith("/") and os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return ""


def _decoded(config: Kubeconfig, out: bytes) -> Printed:
    try:
        answer = document.decode(out)
    except document.Undecodable as error:
        _register_words(out)
        raise _refused(f"decoding stdout: {error}", config) from None
    if not isinstance(answer, dict) or answer.get("kind") != _KIND:
        _register_words(out)
        raise _refused(f"decoding stdout: not an {_KIND}", config)
    status = answer.get("status")
    status = status if isinstance(status, dict) else {}
    for secret in status.values():
        if isinstance(secret, str):
            redaction.register(secret)
    wanted, version = config.user["exec"]["apiVersion"], answer.get("apiVersion")
    if version != wanted:
        returned = f"plugin returned version {answers.one_line(str(version))}"
        raise _refused(f"exec plugin is configured to use API version {wanted}, {returned}", config)
    token = _text(status, "token", config)
    certificate, key = _text(status, "clientCertificateData", config), _text(status, "clientKeyData", config)
    if not token and not certificate and not key:
        raise _refused("exec plugin didn't return a token or cert/key pair", config)
    if bool(certificate) != bool(key):
        raise _refused("exec plugin returned only certificate or key, not both", config)
    pair = certificate.encode(), key.encode()
    if certificate and not (pem.body(pair[0], "CERTIFICATE") and pem.body(pair[1], "PRIVATE KEY")):
        raise _refused("failed parsing client key/certificate: failed to find any PEM data", config)
    return token, *pair, _epoch(status.get("expirationTimestamp"))


def _register_words(out: bytes) -> None:
    """Register what may be a token in an answer that is not usable: stderr may have it, too."""
    for word in _WORD.findall(out.decode(errors="replace")):
        if "k8s.io/" not in word:
            redaction.register(word)


def _text(status: dict[str, object], name: str, config: Kubeconfig) -> str:
    value = status.get(name) or ""
    if not isinstance(value, str) or not value.isascii():
        raise _refused(f"decoding stdout: {name} is not a string, or none of ASCII", config)
    return value


def _epoch(text: object) -> float | None:
    """Return an RFC 3339 time in seconds since the epoch; None for anything else."""
    from datetime import datetime

    match = _RFC_3339.fullmatch(str(text))
    if not match:  # fromisoformat() takes other forms, too, since Python 3.11
        return None
    day, hours, zone = match.groups()
    try:
        return datetime.fromisoformat(f"{day}T{hours}{'+00:00' if zone in 'Zz' else zone}").timestamp()
    except ValueError:  # a 13th month
        return None


def _refused(msg: str, config: Kubeconfig) -> CniError:
    return CniError(PLUGIN_FAILURE, f"getting credentials: {msg}", _where(config))


def _failed(msg: str, config: Kubeconfig) -> Unreachable:
    return Unreachable(f"getting credentials: {msg}", f"{_where(config)}; see its messages on stderr")


def _where(config: Kubeconfig) -> str:
    return f'the credential plugin is that of user "{config.user_name}" in {config.path}'
