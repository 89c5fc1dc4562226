"""Requests that read, change and watch objects, over kept-alive connections. Only `ranges` may import this module.

HTTPAdapter without requests.Session: no ~/.netrc, no REQUESTS_CA_BUNDLE, no cookies, no redirects.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import warnings

from requests.exceptions import RequestException
from requests.models import PreparedRequest
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import HTTPError

import plugin
from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.kube import answers, credentials, failures, kubeconfig, places, proxy, tls
from plugin.kube.adapter import Adapter
from plugin.kube.answers import Answer, Transient, Unauthorized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from requests.models import Response

    from plugin.kube.kubeconfig import Kubeconfig

    Object = dict[str, Any]
    Hook = Callable[[Object], Object]

# https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables-or-metadata
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json"  # object or watch
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json"
JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"  # RFC 7386

_CONNECT = 5.0  # seconds
_ANSWER = 30.0  # seconds
_PATIENCE = 15.0  # seconds in which a GET is repeated
_PAUSES = (0.25, 2.0)  # seconds before the first repetition, and at most
_CHUNK = 65536  # bytes
_LIMIT = 64 << 20  # bytes of an answer, and of one event of a watch
_NETWORK_ERRORS = (RequestException, HTTPError, OSError, http.client.HTTPException, ValueError)


class Conflict(CniError):
    """The object was changed, or created, by another client first (409)."""


class Missing(CniError):
    """The API server has no such object (404)."""


class Session:
    """One API server, as a kubeconfig selects it; for one thread. load: reads that kubeconfig, again after a 401."""

    def __init__(self, load: Callable[[], Kubeconfig], environ: Mapping[str, str]) -> None:
        self._load = load
        self._environ = environ
        self.seconds = _ANSWER  # until the server sends something
        self._connect(refresh=False)

    def another(self) -> Session:
        """Return a session with connections of its own, for another thread."""
        return Session(self._load, self._environ)

    def close(self) -> None:
        """Close the idle connections; the next request opens new ones."""
        self._adapter.close()

    def get(self, path: str, accept: str = JSON, hook: Hook | None = None) -> Object:
        """GET an object, and repeat that while the server is unreachable. hook: see json.loads. Raises CniError."""
        ends, tries = time.monotonic() + _PATIENCE, 0
        while True:
            try:
                return self._call("GET", path, accept=accept, hook=hook)
            except Transient as failure:
                pause = failure.retry_after or backoff(tries, *_PAUSES)
                tries += 1
                if time.monotonic() + pause > ends:
                    raise
            time.sleep(pause)

    def patch(self, path: str, change: Object) -> Object:
        """Apply a merge patch and return the metadata of the result. Raises Conflict, Missing, another CniError.

        Transient means that the patch may or may not have been applied.
        """
        return self._call("PATCH", path, change, METADATA_ONLY, _MERGE_PATCH)

    def post(self, path: str, value: Object) -> Object:
        """Create an object; errors as for patch()."""
        return self._call("POST", path, value)

    def put(self, path: str, value: Object) -> Object:
        """Replace an object; errors as for patch()."""
        return self._call("PUT", path, value)

    def watch(self, path: str, accept: str, silence: float) -> Iterator[Object]:
        """Yield the events of a watch until the server ends it. silence: seconds without a byte. Raises CniError."""
        response = self._send("GET", path, b"", accept, "", silence)
        try:
            if response.status_code != 200:
                self._value(response, self._body(response), None)
            buffer = bytearray()
            while part := response.raw.read1(_CHUNK):
                *lines, rest = (bytes(buffer) + part).split(b"\n")
                buffer[:] = rest
                if len(buffer) > _LIMIT:
                    raise answers.unusable(self.route, f"an event is longer than {_LIMIT >> 20} MiB")
                yield from (json.loads(line) for line in lines if line.strip())
        except _NETWORK_ERRORS as error:
            raise failures.explain(error, self.route, str) from None
        finally:
            response.close()

    def describe(self) -> str:
        """Return which kubeconfig and credential are used, in one line."""
        config = self._config
        return f"kubeconfig {config.path} ({config.why}), user {config.user_name!r}: {self._credentials.kind}"

    def _connect(self, *, refresh: bool) -> None:
        self._config = config = self._load()
        self._credentials = credentials.load(config, self._environ, refresh=refresh)
        self._proxy, origin = proxy.choose(config.server, config.proxy_url, self._environ)
        through = f" through proxy {proxy.shown(self._proxy)} ({origin})" if self._proxy else ""
        self.route = f"API server {config.server}{through}"
        if config.insecure:
            warnings.filterwarnings("ignore", message="Unverified HTTPS request")
        is_secure = config.server.startswith("https:")
        self._adapter = Adapter(tls.context(config, self._credentials) if is_secure else tls.bare(), config)
        self._headers = [*self._credentials.headers.items(), *config.impersonate] if is_secure else []

    def _call(
        self,
        method: str,
        path: str,
        change: Object | None = None,
        accept: str = JSON,
        kind: str = JSON,
        hook: Hook | None = None,
    ) -> Object:
        """Send one request, once more with fresh credentials after a 401. Errors name the kubeconfig."""
        body = b"" if change is None else json.dumps(change).encode()
        try:
            try:
                return self._once(method, path, body, accept, kind, hook)
            except Unauthorized:
                before = self._credentials.headers, self._credentials.certificate
                self._connect(refresh=True)
                if before == (self._credentials.headers, self._credentials.certificate):
                    raise
            return self._once(method, path, body, accept, kind, hook)
        except (Conflict, Missing, Transient):
            raise
        except CniError as error:
            error.details = f"{error.details}\n{self.describe()}".lstrip()
            raise

    def _once(self, method: str, path: str, body: bytes, accept: str, kind: str, hook: Hook | None) -> Object:
        try:
            with self._send(method, path, body, accept, kind, self.seconds) as response:
                content = self._body(response)
        except _NETWORK_ERRORS as error:
            raise failures.explain(error, self.route, str) from None
        return self._value(response, content, hook)

    def _send(self, method: str, path: str, body: bytes, accept: str, kind: str, seconds: float) -> Response:
        request = PreparedRequest()
        request.method, request.url, request.body = method, self._config.server + path, body or None
        headers = HTTPHeaderDict({"User-Agent": f"node-ipam/{plugin.__version__} ranges", "Accept": accept})
        headers["Accept-Encoding"] = "identity"
        if body:
            headers.update({"Content-Type": kind, "Content-Length": str(len(body))})
        for name, value in self._headers:
            headers.add(name, value.encode().decode("latin-1"))  # UTF-8 in the request, as Go sends it
        request.headers = headers  # type: ignore[assignment]
        proxies = {"http": self._proxy, "https": self._proxy} if self._proxy else {}
        try:
            return self._adapter.send(request, stream=True, timeout=(_CONNECT, seconds), proxies=proxies)
        except _NETWORK_ERRORS as error:
            raise failures.explain(error, self.route, str) from None

    def _body(self, response: Response) -> bytes:
        body = bytearray()
        while part := response.raw.read1(_CHUNK):
            body += part
            if len(body) > _LIMIT:
                raise answers.unusable(self.route, f"its answer is longer than {_LIMIT >> 20} MiB")
        return bytes(body)

    def _value(self, response: Response, body: bytes, hook: Hook | None) -> Object:
        """Decode the answer, or raise the error that it is."""
        status = response.status_code
        if status in (200, 201):
            try:
                value = json.loads(body, object_hook=hook)
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, dict) and isinstance(value.get("metadata"), dict):
                return value
            raise answers.unusable(self.route, "its answer is not a Kubernetes object")
        if status in (404, 409) and b'"Status"' in body:
            what = "the object has been changed or created by another client" if status == 409 else "no such object"
            raise (Conflict if status == 409 else Missing)(PLUGIN_FAILURE, f"{self.route}: {what} ({status})")
        answers.checked(Answer(status, response.headers, body), "", "", self.route)
        raise answers.unusable(self.route, f"it answers {status}")


def connect(explicit: str, environ: Mapping[str, str]) -> Session:
    """Find the kubeconfig as kubectl does and read the credentials; nothing is sent yet. Raises CniError."""

    def load() -> Kubeconfig:
        return kubeconfig.find(explicit, environ, "--kubeconfig", places.search_as_kubectl)

    return Session(load, environ)


def backoff(tries: int, first: float, most: float) -> float:
    """Return the seconds to wait before the next try: doubled each time up to a limit, plus up to as much by chance."""
    return float(min(first * 2.0**tries, most)) * (1 + os.urandom(1)[0] / 255)
