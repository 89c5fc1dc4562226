"""Read Nodes from the API server of a kubeconfig, with retries and a deadline."""

from __future__ import annotations

import time

from plugin import deadline
from plugin.config.values import is_node_name
from plugin.deadline import DeadlineExceeded
from plugin.errors import INVALID_CONFIG, CniError, NodeMissing
from plugin.facts import CERTIFICATE_NAME, REVIEW, member, name_of
from plugin.kube import answers, credentials, files, kubeconfig
from plugin.kube.access import Access
from plugin.kube.answers import Transient, Unauthorized
from plugin.kube.redaction import redact

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from plugin.cache import Cache
    from plugin.kube.kubeconfig import Kubeconfig
    from plugin.kube.wire import Wire

    Node = dict[str, Any]

# Of the time left, so that the caller can still go on without an answer. The same part of that is for the network: its
# error says more than the deadline's.
_SHARE = 0.9
_PAUSES = (0.25, 1.0)  # seconds before the first retry, and at most

_NODE_LIMIT = 8 << 20  # bytes; a Node has some 20 KB
_PAGE_LIMIT = 64 << 20

# https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/self-subject-review-v1/
# It stores nothing.
_REVIEW_PATH = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_REVIEW = b'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'


class Client(Access):
    """The API server that one kubeconfig selects, for one request at a time."""

    def __init__(self, load: Callable[[], Kubeconfig], environ: Mapping[str, str]) -> None:
        super().__init__(load, environ)
        self._wire: Wire | None = None
        self._reviewed: str | None = None  # the Node in the answer to a SelfSubjectReview; "" for none

    def get_node(self, name: str, has: Callable[[Node], bool] = lambda _node: True) -> Node:
        """Return the Node of this name, even if has() stays false.

        The API server reads its cache; if the Node is not in it, or has() returns false, it is queried again, past its
        cache. Raises NodeMissing, Forbidden, Unauthorized (answers.py), Unreachable, or CniError for an invalid name.
        """
        if not is_node_name(name):
            details = "lower-case letters, digits, - and . are allowed"
            raise CniError(INVALID_CONFIG, f"{name!r} cannot be the name of a Node", details)
        path = f"/api/v1/nodes/{name}"
        try:
            node = self._fetch(f"{path}?resourceVersion=0", "Node", name)
        except NodeMissing:
            node = None
        return answers.trimmed(node if node is not None and has(node) else self._fetch(path, "Node", name))

    def list_nodes(self) -> Iterator[Node]:
        """Return every Node once, read in pages. Use it only if the name of the Node is unknown."""
        from plugin.kube import pages

        seen: set[str] = set()
        for _, nodes, _ in pages.read(lambda path: self._fetch(path, "NodeList"), self.describe()):
            for node in nodes:
                name = name_of(node)
                if name not in seen:
                    seen.add(name)
                    yield node

    def node_name(self) -> tuple[str, str] | None:
        """Return how the credential names a Node, and that name; None if it names none.

        If it could be a kubelet's but names none, the API server is queried for the user name. Raises CniError.
        """
        return credentials.node_name(self.credentials) or self._reviewed_name()

    def kubelet_name(self) -> str:
        """Return the name of the Node whose kubelet has this credential; "" for any other. Raises CniError."""
        how, name = self.node_name() or ("", "")
        return name if how in (CERTIFICATE_NAME, REVIEW) else ""

    def _reviewed_name(self) -> tuple[str, str] | None:
        may_be_kubelets = credentials.may_be_kubelets(self.credentials) and not self.config.impersonate
        if self._reviewed is None and may_be_kubelets:
            self._reviewed = ""
            try:
                review = self._fetch(_REVIEW_PATH, "SelfSubjectReview", body=_REVIEW)
            except (Transient, Unauthorized):
                self._reviewed = None
                raise
            except CniError:  # before Kubernetes 1.28, or something in between that lets nothing be created
                return None
            user = member(member(review, "status"), "userInfo")
            name = credentials.node_of_user(user.get("username"), user.get("groups"))
            self._reviewed = redact(name, least=16)  # a name may have a word in it that a token has, too
        return (REVIEW, self._reviewed) if self._reviewed else None

    @property
    def files(self) -> dict[str, str]:
        """Return the files that the credentials come from, each with its entries.signature() before it was read."""
        return dict(files.signatures)

    def _fetch(self, path: str, kind: str, name: str = "", body: bytes = b"") -> dict[str, Any]:
        """Return one object, within the time there is; every error says which kubeconfig was used.

        name: of the object, "" for a list. body: what to POST, instead of a GET.
        """
        seconds = min(deadline.TOTAL, deadline.left() * _SHARE)
        ends = time.monotonic() + seconds * _SHARE
        try:
            with deadline.within(seconds):
                return self.retried(lambda: self._request(path, kind, name, body, ends), ends, _PAUSES)
        except DeadlineExceeded:
            if deadline.left() <= 0:
                raise
            error: CniError = answers.too_slow(self._wire.route if self._wire else f"API server {self.config.server}")
        except CniError as refusal:
            error = refusal
        raise self.described(error) from None

    def _request(self, path: str, kind: str, name: str, body: bytes, ends: float) -> dict[str, Any]:
        from plugin.kube.wire import Wire

        if self._wire is None:
            self._wire = Wire(self.config, self.credentials, self._environ)
        answer = self._wire.request(path, ends, _NODE_LIMIT if name else _PAGE_LIMIT, body)
        return answers.checked(answer, kind, name, self._wire.route, 201 if body else 200)

    def renew(self) -> bool:
        """Read kubeconfig and credentials again, see Access.renew(), and use them from now on."""
        self._wire = None
        return super().renew()


def connect(
    explicit: str, environ: Mapping[str, str], label: str = "ipam.kubeconfig", cache: Cache | None = None
) -> Client:
    """Find the kubeconfig and read the credentials; nothing is sent yet. Raises CniError."""

    files.signatures.clear()
    return Client(lambda: kubeconfig.find(explicit, environ, label, cache=cache), environ)
