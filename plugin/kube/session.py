"""Requests that read, change and watch objects, over kept-alive connections. Only `ranges` may import this module.

HTTPAdapter without requests.Session: no ~/.netrc, no REQUESTS_CA_BUNDLE, no cookies, no redirects.
"""

from __future__ import annotations

import copy
import http.client
import json
import ssl
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from requests.models import PreparedRequest, Response
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import HTTPError

import plugin
from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.kube import answers, failures, kubeconfig, proxy, tls, wire
from plugin.kube.access import Access
from plugin.kube.answers import Answer, Transient
from plugin.kube.kubeconfig import Kubeconfig

Object = dict[str, Any]
Hook = Callable[[Object], Object]

# https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables-or-metadata
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json"  # object or watch
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json"
JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"  # RFC 7386

_SUCCESS = (200, 201)
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


class Session(Access):
    """One API server, as a kubeconfig selects it; for one thread."""

    def __init__(self, load: Callable[[], Kubeconfig], environ: Mapping[str, str]) -> None:
        super().__init__(load, environ)
        self.seconds = _ANSWER  # until the server sends something
        self._connect()

    def another(self) -> Session:
        """Return a session with the same credentials and connections of its own, for another thread."""
        made = copy.copy(self)
        made._connect()
        return made

    def close(self) -> None:
        """Close the idle connections; the next request opens new ones."""
        self._adapter.close()

    def renew(self) -> bool:
        """Read kubeconfig and credentials again, see Access.renew(), and use them from now on."""
        is_changed = super().renew()
        self._connect()
        return is_changed

    def get(self, path: str, accept: str = JSON, hook: Hook | None = None) -> Object:
        """GET an object, and repeat that while the server is unreachable. hook: see json.loads. Raises CniError."""
        ends = time.monotonic() + _PATIENCE
        return self._call(lambda: self.retried(lambda: self._once("GET", path, accept, None, hook), ends, _PAUSES))

    def patch(self, path: str, change: Object) -> Object:
        """Apply a merge patch and return the metadata of the result. Raises Conflict, Missing, another CniError.

        Transient means that the patch may or may not have been applied.
        """
        return self._change("PATCH", path, METADATA_ONLY, change)

    def post(self, path: str, value: Object) -> Object:
        """Create an object; errors as for patch()."""
        return self._change("POST", path, JSON, value)

    def put(self, path: str, value: Object) -> Object:
        """Replace an object; errors as for patch()."""
        return self._change("PUT", path, JSON, value)

    def watch(self, path: str, accept: str, silence: float) -> Iterator[Object]:
        """Yield the events of a watch until the server ends it. silence: seconds without a byte. Raises CniError.

        After a 401 the credentials are not read again: only the main thread can run a credential plugin.
        """
        response = self._open("GET", path, accept, None, silence)
        rest = b""
        with self._explained(), response:
            while part := response.raw.read1(_CHUNK):
                *lines, rest = (rest + part).split(b"\n")
                if len(rest) > _LIMIT:
                    raise answers.unusable(self.route, f"an event is longer than {_LIMIT >> 20} MiB")
                yield from (json.loads(line) for line in lines if line.strip())

    def _connect(self) -> None:
        config = self.config
        self._proxy, self.route = proxy.way(config.server, config.proxy_url, self._environ)
        if config.insecure:
            warnings.filterwarnings("ignore", message="Unverified HTTPS request")
        self._adapter = _Adapter(tls.context(config, self.credentials), config)
        self._headers = wire.headers(config, self.credentials)

    def _change(self, method: str, path: str, accept: str, change: Object) -> Object:
        return self._call(lambda: self.authorized(lambda: self._once(method, path, accept, change, None)))

    def _call(self, request: Callable[[], Object]) -> Object:
        """Return what request() returns. An error that a retry does not solve names the kubeconfig."""
        try:
            return request()
        except (Conflict, Missing, Transient):
            raise
        except CniError as error:
            raise self.described(error) from None

    def _once(self, method: str, path: str, accept: str, change: Object | None, hook: Hook | None) -> Object:
        """Send one request and return the object in the answer. Raises CniError."""
        with self._explained(), self._open(method, path, accept, change, self.seconds) as response:
            body = self._body(response)
        try:
            value = json.loads(body, object_hook=hook)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and isinstance(value.get("metadata"), dict):
            return value
        raise answers.unusable(self.route, "its answer is not a Kubernetes object")

    def _open(self, method: str, path: str, accept: str, change: Object | None, seconds: float) -> Response:
        """Send one request and return the response, if it is a success. Its body is still to be read."""
        headers = HTTPHeaderDict({"User-Agent": f"node-ipam/{plugin.__version__} ranges", "Accept": accept})
        headers["Accept-Encoding"] = "identity"
        request = PreparedRequest()
        request.method, request.url, request.body = method, self.config.server + path, None
        if change is not None:
            request.body = json.dumps(change).encode()
            headers["Content-Type"] = _MERGE_PATCH if method == "PATCH" else JSON
            headers["Content-Length"] = str(len(request.body))
        for name, value in self._headers:
            headers.add(name, value)
        request.headers = headers  # type: ignore[assignment]
        proxies = {"http": self._proxy, "https": self._proxy} if self._proxy else {}
        with self._explained():
            response = self._adapter.send(request, stream=True, timeout=(_CONNECT, seconds), proxies=proxies)
            if response.status_code in _SUCCESS:
                return response
            with response:
                raise self._refused(response.status_code, response.headers, self._body(response))

    def _body(self, response: Response) -> bytes:
        body = bytearray()
        while part := response.raw.read1(_CHUNK):
            body += part
            if len(body) > _LIMIT:
                raise answers.unusable(self.route, f"its answer is longer than {_LIMIT >> 20} MiB")
        return bytes(body)

    def _refused(self, status: int, headers: Mapping[str, str], body: bytes) -> CniError:
        if status == 404 and b'"Status"' in body:
            return Missing(PLUGIN_FAILURE, f"{self.route}: no such object (404)")
        if status == 409 and b'"Status"' in body:
            what = "the object has been changed or created by another client"
            return Conflict(PLUGIN_FAILURE, f"{self.route}: {what} (409)")
        return answers.refused(Answer(status, headers, body), "", self.route)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the network layers raise into a CniError."""
        try:
            yield
        except _NETWORK_ERRORS as error:
            raise failures.explain(error, self.route) from None


class _Adapter(HTTPAdapter):
    """requests' transport, which trusts what the context trusts: requests would add public authorities."""

    def __init__(self, context: ssl.SSLContext, config: Kubeconfig) -> None:
        self._config = config
        self._pool: dict[str, Any] = {"ssl_context": context}
        if config.tls_server_name:
            self._pool["server_hostname"] = config.tls_server_name
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Connect with the context."""
        super().init_poolmanager(*args, **{**options, **self._pool})

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Connect through a proxy with it."""
        if proxy.lower().startswith("https:"):
            options["proxy_ssl_context"] = tls.proxy_context(self._config)
        return super().proxy_manager_for(proxy, **{**options, **self._pool})

    def cert_verify(self, *_args: Any) -> None:
        """Leave certificates to the context."""

    def build_connection_pool_key_attributes(self, *args: Any, **options: Any) -> Any:
        """Leave out the authorities that requests would add."""
        host, pool = super().build_connection_pool_key_attributes(*args, **options)
        ours = {key: value for key, value in pool.items() if key not in ("cert_reqs", "ca_certs", "ca_cert_dir")}
        return host, ours


def connect(explicit: str, environ: Mapping[str, str]) -> Session:
    """Find the kubeconfig as kubectl does and read the credentials; nothing is sent yet. Raises CniError."""
    return Session(lambda: kubeconfig.find(explicit, environ, "--kubeconfig", as_kubectl=True), environ)
