"""Interpret the answers of the API server: an object, a refusal, or an unusable answer."""

from __future__ import annotations

import json

from plugin.errors import PLUGIN_FAILURE, CniError, Forbidden, NodeMissing, Refusal, Unreachable
from plugin.facts import member
from plugin.kube.redaction import redact

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message
    from typing import Any

_TEXT_LIMIT = 400  # characters of a server's message
_NO_API_SERVER = "see whether server: in the kubeconfig is an API server, with the right path"
_MISSING = "see kubectl get nodes: the kubelet registers the Node, and nodeName or $NODE_NAME may name another"
_ROLE = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: node-ipam}
rules:
- {apiGroups: [""], resources: [nodes], verbs: [%s]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: node-ipam}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: node-ipam}
subjects:
- %s
"""


class Unauthorized(Refusal):
    """The API server refuses the credentials (401)."""


class Expired(CniError):
    """The continue token of a list has expired (410)."""


class Transient(Unreachable):
    """No usable answer, but a retry may get one. retry_after: the seconds in Retry-After, if any."""

    def __init__(self, msg: str, details: str = "", retry_after: float | None = None, *, late: bool = False) -> None:
        super().__init__(msg, details, late=late)
        self.retry_after = retry_after


def unusable(route: str, what: str, details: str = "") -> Unreachable:
    """Return the error for an answer that is not one of an API server; a retry would not help."""
    return Unreachable(f"{route}: {what}", details, PLUGIN_FAILURE)


def too_slow(route: str) -> Transient:
    """Return the error for an answer that is missing or incomplete at the deadline."""
    details = "a firewall may drop packets, or the server is overloaded"
    return Transient(f"{route}: no answer in time", details, late=True)


class Answer:
    """An HTTP response: status, headers (any case), body."""

    def __init__(self, status: int, headers: Mapping[str, str] | Message, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def checked(answer: Answer, kind: str, name: str, route: str, expected: int = 200) -> dict[str, Any]:
    """Return the object in the answer, of this kind and name; without a name, a list. route: the server, for messages.

    expected: the status of a success; 201 for a POST.
    Raises refused() for a refusal, and Unreachable for another object.
    """
    if answer.status != expected:
        raise refused(answer, name, route)
    value = _decoded(answer)
    metadata = value.get("metadata")
    if value.get("kind") != kind or not isinstance(metadata, dict) or metadata.get("name", "") != name:
        raise unusable(route, f"its answer is not the {kind} asked for", _NO_API_SERVER)
    return value


def trimmed(node: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a Node that are used, without our secrets."""
    metadata, spec, status = member(node, "metadata"), member(node, "spec"), member(node, "status")
    return {
        "metadata": redacted({key: metadata[key] for key in ("name", "uid", "annotations") if key in metadata}),
        "spec": redacted({key: spec[key] for key in ("podCIDR", "podCIDRs") if key in spec}),
        "status": {"nodeInfo": redacted({"machineID": member(status, "nodeInfo").get("machineID")})},
    }


def redacted(value: Any) -> Any:
    """Return a part of an object without our secrets: a server may repeat them there."""
    if isinstance(value, dict):
        # A password may have a word in it that the key of an annotation has, too.
        return {redact(key, least=16): redacted(each) for key, each in value.items()}
    if isinstance(value, list):
        return [redacted(each) for each in value]
    return redact(value, least=8) if isinstance(value, str) else value


def refused(answer: Answer, name: str, route: str) -> CniError:
    """Return the error for an answer without a success: a refusal, Transient if a retry may help, else Unreachable.

    name: of the Node asked for. route: the server, for messages.
    """
    status = answer.status
    reply = _decoded(answer)
    says = one_line(reply.get("message")) if reply.get("kind") == "Status" else ""
    if status == 401:
        return Unauthorized(PLUGIN_FAILURE, f"{route}: unauthorized (401)")
    if status == 403 and says:
        return Forbidden(PLUGIN_FAILURE, f"{route}: {says}", _permission(says))
    if status == 404 and reply.get("reason") == "NotFound":
        return NodeMissing(PLUGIN_FAILURE, f"{route} has no Node {name!r}", _MISSING)
    if status == 410:
        return Expired(PLUGIN_FAILURE, f"{route}: the list has expired")
    if 300 <= status < 400:
        target = _host(answer.headers.get("Location", ""))
        return unusable(
            route, f"it redirects to {target}", "a login page or another server; the API itself never does so"
        )
    said = f"it answers {status}" + (f": {says}" if says else "")
    if status == 429 or (status >= 500 and status != 501):
        retry_after = _seconds(answer.headers.get("Retry-After"))
        return Transient(f"{route}: {said}", "it is overloaded or starting", retry_after)
    return unusable(route, said, _NO_API_SERVER)


def _decoded(answer: Answer) -> dict[str, Any]:
    """Return the JSON object in the body; empty if there is none."""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def one_line(text: object) -> str:
    """Return the text of another program as one line: cut, and without our secrets."""
    line = "".join(each if each.isprintable() else " " for each in str(text or "")[:_TEXT_LIMIT])
    return redact(" ".join(line.split()))


def _host(location: str) -> str:
    """Return scheme and host of a URL: the rest may hold a token."""
    scheme, _, rest = one_line(location).partition("://")
    host = rest.partition("#")[0].partition("/")[0].partition("?")[0].rpartition("@")[2]
    return f"{scheme}://{host}" if host else "another path"


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None


def _permission(says: str) -> str:
    """Return what to do about a 403 with this message."""
    if "only its own Node" in says:
        return (
            "a kubelet's credential may read its own Node and nothing else (node authorizer); see that nodeName, "
            "$NODE_NAME or the hostname is the name in the credential, or use another kubeconfig"
        )
    user = says.partition('User "')[2].partition('"')[0]
    if user == "system:anonymous":
        return "the kubeconfig gives no credentials that the server knows: see its users and current-context"
    verbs = "get, list" if " cannot list " in says else "get"
    return f"add this with kubectl apply -f -\n{_ROLE % (verbs, _subject(user))}"


def _subject(user: str) -> str:
    parts = user.split(":")
    if parts[:2] == ["system", "serviceaccount"] and len(parts) == 4:
        return f"{{kind: ServiceAccount, namespace: {parts[2]}, name: {parts[3]}}}"
    return f"{{kind: User, apiGroup: rbac.authorization.k8s.io, name: {json.dumps(user)}}}"
