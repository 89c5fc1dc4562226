"""A throw-away API server on loopback for Nodes and Leases: TLS, users, rules, pages, watches, faults on demand."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import re
import secrets
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.support import makeconfig
from tests.support.history import Change, Expired, History
from tests.support.nodes import Node, make_node
from tests.support.rules import (
    ANONYMOUS,
    Rule,
    User,
    authenticated,
    node_authorizer,
    rbac_get_nodes_only,
    rbac_nothing,
)
from tests.support.signer import Pair, Signer

__all__ = [
    "ANONYMOUS",
    "ApiServer",
    "Asked",
    "Handler",
    "User",
    "authenticated",
    "make_node",
    "node_authorizer",
    "rbac_get_nodes_only",
    "rbac_nothing",
]

_COLLECTION = "/api/v1/nodes"
_REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_LEASES = re.compile(r"/apis/coordination\.k8s\.io/v1/namespaces/([^/]+)/leases(?:/([^/]+))?")
_SERVICE_CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"
_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
_IDLE = 600  # seconds before a silent connection is closed


class Asked(NamedTuple):
    """One request as it came: path with query; user as authenticated."""

    method: str
    path: str
    headers: dict[str, str]
    user: User


class ApiServer:
    """A context manager; listens on a free port of host while inside. Everything may be changed while it runs.

    nodes: name -> Node; uid and resourceVersion are filled in when asked for. stale: what a request with
    resourceVersion=0 gets instead, None for a Node the watch cache has not seen. users: bearer token -> User; client
    certificates need no entry. delay: seconds before each answer. fault: called with the Handler first; True when it
    has answered (or broken) the request itself. certificate, configure (is given the SSL context): read by start().
    leases: "namespace/name" -> Lease. service_cidrs: of the ServiceCIDR objects; None for a server without that API.
    other_rule: for all but Nodes, given user, verb, resource and name. bookmark: seconds between two of a watch.
    sent: bytes of all answers. Watches see what add(), remove(), changed() and requests do.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        authority: Signer | None = None,
        certificate: Pair | None = None,
        rule: Rule = authenticated,
        configure: Callable[[ssl.SSLContext], None] | None = None,
    ) -> None:
        self.host = host
        self.port = 0
        self.prefix = ""  # of every path, as behind Rancher
        self.authority = authority or _new_authority()
        self.client_authority = self.authority
        self.certificate = certificate or self.authority.server("127.0.0.1", "::1", "localhost", "kubernetes")
        self.rule = rule
        self.configure = configure
        self.nodes: dict[str, Node] = {}
        self.stale: dict[str, Node | None] = {}
        self.users: dict[str, User] = {}
        self.requests: list[Asked] = []
        self.connections = 0  # accepted so far, whatever became of them
        self.sent = 0
        self.leases: dict[str, dict[str, Any]] = {}
        self.service_cidrs: list[str] | None = None
        self.other_rule: Callable[[User, str, str, str], str] = _known_users
        self.bookmark = 60.0
        self.delay = 0.0
        self.reviews = True  # whether it knows SelfSubjectReview, as Kubernetes does since 1.28
        self.page = 500  # Nodes per page at most
        self.fault: Callable[[Handler], bool] | None = None
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._connections: set[socket.socket] = set()
        self._versions: dict[str, tuple[int, int]] = {}
        self._version = 1000
        self.history = History()
        self.lock = threading.RLock()  # held by whoever changes an object

    @property
    def url(self) -> str:
        """Where a kubeconfig's server key points."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}{self.prefix}"

    def __enter__(self) -> ApiServer:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; after a stop() on the same port as before."""
        context = self._context()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family, backlog=128)
        self.port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener, context), daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Refuse new connections and break those there are."""
        if self._listener and self._acceptor:
            _break(self._listener)
            self._acceptor.join()
            self._listener.close()
            self._listener = None
        for connection in list(self._connections):
            _break(connection)

    def add(self, node: Node) -> Node:
        """Put a Node into nodes under its own name."""
        name = node["metadata"]["name"]
        with self.lock:
            kind = "MODIFIED" if name in self.nodes else "ADDED"
            self.nodes[name] = node
            self.changed(name, kind)
        return node

    def changed(self, name: str, kind: str = "MODIFIED") -> Node:
        """Let watches see that this Node has changed, and return it as it is served."""
        with self.lock:
            node = self.stored(name)
            self.history.add(Change(int(node["metadata"]["resourceVersion"]), kind, node))
        return node

    def remove(self, name: str) -> None:
        """Delete a Node."""
        with self.lock:
            node = self.stored(name)
            del self.nodes[name], self._versions[name]
            node["metadata"]["resourceVersion"] = str(self.next_version())
            self.history.add(Change(self._version, "DELETED", node))

    def annotate(self, node: str, name: str, value: str | None) -> None:
        """Set an annotation of a Node, or remove it."""
        with self.lock:
            _merge(self.nodes[node], {"metadata": {"annotations": {name: value}}})
            self.changed(node)

    def compact(self) -> None:
        """Let watches that resume from before this moment expire."""
        with self.lock:
            self.history.compact(self.next_version())

    def next_version(self) -> int:
        """A resourceVersion that no object has had."""
        with self.lock:
            self._version += 1
            return self._version

    @property
    def version(self) -> int:
        """The newest resourceVersion."""
        return self._version

    def count(self, method: str = "GET") -> int:
        """How many requests of this method were made."""
        return sum(asked.method == method for asked in self.requests)

    def token(self, user: str = "node-ipam", groups: tuple[str, ...] = ("system:authenticated",)) -> str:
        """A new bearer token for this user."""
        token = secrets.token_urlsafe(24)
        self.users[token] = User(user, groups)
        return token

    def stored(self, name: str) -> Node:
        """The Node as it is served: a copy with uid and resourceVersion. Raises KeyError."""
        with self.lock:
            node = self.nodes[name]
            node.setdefault("metadata", {}).setdefault("uid", secrets.token_hex(16))
            text = json.dumps([node["metadata"], node.get("spec")])
            known, version = self._versions.get(name, (0, 0))
            if known != hash(text):
                version = self.next_version()
                self._versions[name] = (hash(text), version)
            metadata = {**node["metadata"], "name": name, "resourceVersion": str(version)}
            if isinstance(metadata.get("annotations"), dict):
                metadata["annotations"] = dict(metadata["annotations"])
            return {**node, "metadata": metadata}

    def kubeconfig(
        self, kind: str = "token", user: str = "node-ipam", groups: tuple[str, ...] = (), directory: str = ""
    ) -> dict[str, Any]:
        """A kubeconfig for this server: see makeconfig.make()."""
        return makeconfig.make(self, kind, user, groups, directory)

    def write_kubeconfig(
        self, path: str | os.PathLike[str], kind: str = "token", user: str = "node-ipam", groups: tuple[str, ...] = ()
    ) -> str:
        """Write kubeconfig() as YAML, readable by its owner alone, its other files beside it; return the path."""
        directory, name = os.path.split(os.fspath(path))
        text = makeconfig.as_yaml(self.kubeconfig(kind, user, groups, directory))
        return makeconfig.write(directory, name, text.encode())

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        memory = os.memfd_create("server")
        try:
            os.write(memory, self.certificate.certificate + self.certificate.key)
            context.load_cert_chain(f"/proc/self/fd/{memory}")
        finally:
            os.close(memory)
        context.load_verify_locations(cadata=self.client_authority.ca_pem.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        if self.configure:
            self.configure(context)
        return context

    def _accept(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        while True:
            try:
                connection, address = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection, address, context), daemon=True).start()

    def _serve(self, plain: socket.socket, address: object, context: ssl.SSLContext) -> None:
        # Either side may not trust the other, the client may be gone, stop() may have broken the connection.
        with contextlib.suppress(OSError, ValueError):  # ValueError: of a TLS socket that is closed already
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.settimeout(_IDLE)
            with context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as connection:
                self._connections.add(connection)
                try:
                    connection.do_handshake()
                    Handler(connection, address, self)
                finally:
                    self._connections.discard(connection)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection. A fault gets it before the answer, with connection (the TLS socket) and answer() at hand."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: ssl.SSLSocket, address: object, api: ApiServer) -> None:
        self.api = api
        self.body = b""
        super().__init__(connection, address, None)  # type: ignore[arg-type]

    def log_message(self, *_args: object) -> None:
        """Nothing on stderr."""

    def do_GET(self) -> None:
        """Get or list Nodes."""
        self._handle("get", self._get)

    def do_PATCH(self) -> None:
        """Merge a JSON patch into one Node."""
        self._handle("patch", self._patch)

    def do_POST(self) -> None:
        """Create a Lease."""
        self._handle("create", self._refuse)

    def do_PUT(self) -> None:
        """Replace a Lease."""
        self._handle("update", self._refuse)

    def answer(self, code: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole answer in one write."""
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._write(f"HTTP/1.1 {code} {self.responses.get(code, ('Odd',))[0]}\r\n{head}\r\n".encode() + body)

    def status(self, code: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Send a Kubernetes Status object."""
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        self.answer(code, json.dumps({**status, "message": message, "reason": reason, "code": code}).encode(), headers)

    def _handle(self, verb: str, act: Callable[[str, dict[str, str]], None]) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        user = self._user()
        self.api.requests.append(Asked(self.command, self.path, dict(self.headers), user or ANONYMOUS))
        if self.api.fault and self.api.fault(self):
            return
        time.sleep(self.api.delay)
        path, _, text = self.path.partition("?")
        query = dict(urllib.parse.parse_qsl(text))
        if user and self.api.reviews and (self.command, path) == ("POST", self.api.prefix + _REVIEWS):
            self._review(user)
            return
        collection, name = path[: len(self.api.prefix + _COLLECTION)], path[len(self.api.prefix + _COLLECTION) + 1 :]
        verb = ("watch" if query.get("watch") in ("1", "true") else "list") if verb == "get" and not name else verb
        if user is None:
            self.status(401, "Unauthorized", "Unauthorized")
        elif lease := _LEASES.fullmatch(path[len(self.api.prefix) :]):
            self._lease(user, verb, lease[1], lease[2] or "")
        elif path == self.api.prefix + _SERVICE_CIDRS and self.api.service_cidrs is not None:
            if refusal := self.api.other_rule(user, "list", "servicecidrs", ""):
                self.status(403, "Forbidden", refusal)
            else:
                items = [{"spec": {"cidrs": [cidr]}} for cidr in self.api.service_cidrs]
                self._object(200, {"kind": "ServiceCIDRList", "metadata": {}, "items": items})
        elif collection != self.api.prefix + _COLLECTION:
            self.answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})
        elif refusal := self.api.rule(user, verb, name or _selected(query)):
            self.status(403, "Forbidden", refusal)
        elif (kind := self._wanted_kind()) and kind.endswith("List") != (verb == "list"):
            self.status(406, "NotAcceptable", f"you requested {kind}, but the requested object is another")
        else:
            act(name, query)

    def _review(self, user: User) -> None:
        """Say who asks."""
        info = {"username": user.name, "groups": [*user.groups]}
        review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "status": {"userInfo": info}}
        self.answer(201, json.dumps({**review, "metadata": {"creationTimestamp": None}}).encode())

    def _user(self) -> User | None:
        """The user, ANONYMOUS without credentials, None with wrong ones."""
        certificate: Any = self.connection.getpeercert()
        if certificate:
            subject = [pair for part in certificate["subject"] for pair in part]
            groups = tuple(value for key, value in subject if key == "organizationName")
            return User(dict(subject)["commonName"], groups)
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        return self.api.users.get(token) if kind == "Bearer" else ANONYMOUS

    def _get(self, name: str, query: dict[str, str]) -> None:
        if not name:
            (self._watch if query.get("watch") in ("1", "true") else self._list)(query)
            return
        with self.api.lock:
            old = query.get("resourceVersion") == "0" and name in self.api.stale
            node = self.api.stale[name] if old else self.api.stored(name) if name in self.api.nodes else None
        if node is None:
            self.status(404, "NotFound", f'nodes "{name}" not found')
        else:
            self._object(200, self._wanted(node))

    def _list(self, query: dict[str, str]) -> None:
        after = base64.urlsafe_b64decode(query.get("continue", "")).decode()
        with self.api.lock:
            names = [name for name in sorted(self.api.nodes) if name > after and _selected(query) in ("", name)]
            limit = min(int(query.get("limit") or self.api.page), self.api.page)
            items = [self._wanted(self.api.stored(name), is_item=True) for name in names[:limit]]
            metadata: dict[str, Any] = {"resourceVersion": str(self.api.version)}
        if len(names) > limit:
            metadata["continue"] = base64.urlsafe_b64encode(names[limit - 1].encode()).decode()
            metadata["remainingItemCount"] = len(names) - limit
        kind = {"kind": "NodeList", "apiVersion": "v1"}
        if self._is_partial():
            kind = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        self._object(200, {**kind, "metadata": metadata, "items": items})

    def _watch(self, query: dict[str, str]) -> None:
        """Send changes and bookmarks, each in a chunk of its own, until timeoutSeconds are over."""
        version = int(query["resourceVersion"])
        ends = time.monotonic() + float(query.get("timeoutSeconds") or 1800)
        self._write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        while (left := ends - time.monotonic()) > 0:
            try:
                changes = self.api.history.after(version, min(left, self.api.bookmark))
            except Expired:
                status = {"kind": "Status", "metadata": {}, "code": 410, "reason": "Expired", "message": "too old"}
                self._event("ERROR", status)
                break
            for change in changes:
                version = change.version
                self._event(change.kind, self._wanted(change.node))
            if not changes and query.get("allowWatchBookmarks") in ("1", "true"):
                with self.api.lock:
                    version = max(version, self.api.version) if not self.api.history.after(version, 0) else version
                self._event("BOOKMARK", {"kind": "Node", "metadata": {"resourceVersion": str(version)}})
        self._write(b"0\r\n\r\n")

    def _event(self, kind: str, value: Mapping[str, Any]) -> None:
        line = json.dumps({"type": kind, "object": value}).encode() + b"\n"
        self._write(b"%x\r\n%s\r\n" % (len(line), line))

    def _patch(self, name: str, _query: dict[str, str]) -> None:
        with self.api.lock:
            if name not in self.api.nodes:
                self.status(404, "NotFound", f'nodes "{name}" not found')
                return
            change = json.loads(self.body)
            expected = change.get("metadata", {}).pop("resourceVersion", None)
            conflict = expected not in (None, self.api.stored(name)["metadata"]["resourceVersion"])
            if not conflict:
                _merge(self.api.nodes[name], change)
                node = self.api.changed(name)
        if conflict:
            self.status(409, "Conflict", f'Operation cannot be fulfilled on nodes "{name}": {_MODIFIED}')
        else:
            self._object(200, self._wanted(node))

    def _refuse(self, *_unused: object) -> None:
        self.status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    def _lease(self, user: User, verb: str, namespace: str, name: str) -> None:
        """Get, create and replace Leases; a resourceVersion that is not the newest is a conflict."""
        if refusal := self.api.other_rule(user, verb, "leases", name):
            self.status(403, "Forbidden", refusal)
            return
        given = json.loads(self.body or b"{}")
        key = f"{namespace}/{name or given['metadata']['name']}"
        with self.api.lock:
            known = self.api.leases.get(key)
            if verb == "create" and known:
                self.status(409, "AlreadyExists", f'leases.coordination.k8s.io "{name}" already exists')
                return
            if verb != "create" and not known:
                self.status(404, "NotFound", f'leases.coordination.k8s.io "{name}" not found')
                return
            if known and verb == "update":
                expected = given["metadata"].get("resourceVersion")
                if expected not in (None, "", known["metadata"]["resourceVersion"]):
                    self.status(409, "Conflict", f'Operation cannot be fulfilled on leases "{name}": {_MODIFIED}')
                    return
            if verb in ("create", "update"):
                given["metadata"]["resourceVersion"] = str(self.api.next_version())
                self.api.leases[key] = known = given
            answer = json.dumps({"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", **(known or {})}).encode()
        self.answer(201 if verb == "create" else 200, answer)

    def _wanted(self, node: Mapping[str, Any], *, is_item: bool = False) -> Mapping[str, Any]:
        """The Node, or its metadata if that is all the client accepts."""
        if not self._is_partial():
            return node
        kind = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        return {**({} if is_item else kind), "metadata": node["metadata"]}

    def _is_partial(self) -> bool:
        return bool(self._wanted_kind())

    def _wanted_kind(self) -> str:
        """PartialObjectMetadata or PartialObjectMetadataList, or "" for the objects as they are."""
        return str(self.headers.get("Accept", "").partition(";as=")[2].partition(";")[0])

    def _object(self, code: int, value: Mapping[str, Any]) -> None:
        self.answer(code, json.dumps(value).encode())

    def _write(self, data: bytes) -> None:
        self.api.sent += len(data)
        self.wfile.write(data)


def _known_users(user: User, verb: str, resource: str, name: str) -> str:
    """Whoever is known may do everything."""
    what = f'{resource} "{name}" is forbidden: User "{user.name}" cannot {verb} resource "{resource}"'
    return what if user == ANONYMOUS else ""


def _new_authority() -> Signer:
    """Import cryptography only if a certificate has to be made: the demo does without."""
    from tests.support.pki import Authority

    return Authority()


def _selected(query: Mapping[str, str]) -> str:
    key, _, name = query.get("fieldSelector", "").partition("=")
    return name if key == "metadata.name" else ""


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


def _break(connection: socket.socket) -> None:
    """End both directions: whoever reads or accepts there wakes up and closes it."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
