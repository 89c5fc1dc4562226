"""One GET over the network: the only importer of requests, and itself imported only when a request is due."""

from __future__ import annotations

import http.client
import ssl
import time
import warnings
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter
from requests.exceptions import ProxyError, RequestException
from requests.models import PreparedRequest, Response
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import HTTPError

from plugin.errors import INVALID_CONFIG, CniError
from plugin.kube import failures, proxy, tls
from plugin.kube.answers import Answer, too_slow, unusable
from plugin.kube.lookup import resolved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from plugin.kube.credentials import Credentials
    from plugin.kube.kubeconfig import Kubeconfig

_CHUNK = 65536  # bytes
_CONNECT = 4.0  # seconds for one address; a name may have another one


class Wire:
    """A server, the way to it and what to show there. Raises CniError when that cannot be used.

    No Session: it would read ~/.netrc and REQUESTS_CA_BUNDLE, and the whole body of a redirect.
    """

    def __init__(self, config: Kubeconfig, credentials: Credentials, environ: Mapping[str, str]) -> None:
        self.proxy, origin = proxy.choose(config.server, config.proxy_url, environ)
        way = f" through proxy {proxy.shown(self.proxy)} ({origin})" if self.proxy else ""
        self.route = f"API server {config.server}{way}"
        if config.insecure:
            warnings.filterwarnings("ignore", message="Unverified HTTPS request")
        secure = config.server.startswith("https:")
        self._context = tls.context(config, credentials) if secure else tls.bare()
        self._url = config.server
        self._server_name = config.tls_server_name
        self._adapter = _Adapter(self._context, config)
        self._headers = _headers(config, credentials) if secure else []

    def get(self, path: str, headers: Mapping[str, str], ends: float, limit: int) -> Answer:
        """GET this path; see ask()."""
        return self.ask("GET", path, headers, ends, limit)

    def ask(
        self, method: str, path: str, headers: Mapping[str, str], ends: float, limit: int, body: bytes = b""
    ) -> Answer:
        """Send one request until the moment ends (time.monotonic()) and read at most limit bytes of the answer.

        Raises Unreachable when there is no whole answer, Transient (one of these) when there may be one next time.
        """
        left = max(ends - time.monotonic(), 0.1)
        proxies = {"http": self.proxy, "https": self.proxy} if self.proxy else {}
        try:
            request = self._request(method, path, headers, body)
            with resolved(urlsplit(self.proxy or self._url).hostname or "", left):
                timeout = (min(_CONNECT, left), left)
                response = self._adapter.send(request, stream=True, timeout=timeout, proxies=proxies)
            with response:
                answer = self._read(response, ends, limit)
        except (RequestException, HTTPError, OSError, http.client.HTTPException, ValueError) as error:
            route = f"the way to {self.route}" if isinstance(error, ProxyError) else self.route
            raise failures.explain(error, route, self._names) from None
        return Answer(response.status_code, response.headers, answer)

    def _request(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> PreparedRequest:
        request = PreparedRequest()
        # Not prepare(): the address has been checked, and what it would check it with takes 2 ms to compile.
        request.method, request.url, request.body = method, self._url + path, body or None
        several = HTTPHeaderDict(headers)  # a dict cannot hold Impersonate-Group twice
        if body:
            several.add("Content-Length", str(len(body)))
        for name, value in self._headers:
            several.add(name, value)
        request.headers = several  # type: ignore[assignment]
        return request

    def _read(self, response: Response, ends: float, limit: int) -> bytes:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise unusable(self.route, "its answer is compressed, though nobody asked for that")
        body = bytearray()
        while part := response.raw.read1(_CHUNK):  # read() would wait for all of the chunk, however slowly it comes
            body += part
            if response.status_code != 200 and len(body) >= _CHUNK:
                break
            if len(body) > limit:
                raise unusable(self.route, f"its answer is longer than {limit >> 20} MiB")
            if time.monotonic() > ends:
                raise too_slow(self.route)
        return bytes(body)

    def _names(self) -> str:
        """The names in the server's certificate, all else about it being right; empty when they cannot be had."""
        if self.proxy:
            return ""
        parts = urlsplit(self._url)
        host = parts.hostname or ""
        try:
            with resolved(host, tls.NAMES_SECONDS):
                return ", ".join(tls.names(self._context, (host, parts.port or 443), self._server_name))
        except (OSError, ValueError):
            return ""


def _headers(config: Kubeconfig, credentials: Credentials) -> list[tuple[str, str]]:
    headers = [*credentials.headers.items(), *config.impersonate]
    if not all(value.isprintable() for _, value in headers):
        what = f"user {config.user_name!r} of {config.path} has a credential with a line break or the like in it"
        raise CniError(INVALID_CONFIG, what, f"it is a {credentials.kind} from {credentials.source}")
    return [(name, value.encode().decode("latin-1")) for name, value in headers]  # UTF-8 on the wire, as Go has it


class _Adapter(HTTPAdapter):
    """The context alone decides whom to trust: requests adds the public authorities unless both methods say no."""

    def __init__(self, context: ssl.SSLContext, config: Kubeconfig) -> None:
        self._config = config
        self._pool: dict[str, Any] = {"ssl_context": context}
        if config.tls_server_name:
            self._pool["server_hostname"] = config.tls_server_name
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **{**options, **self._pool})

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        if proxy.lower().startswith("https:"):
            options["proxy_ssl_context"] = tls.proxy_context(self._config)
        return super().proxy_manager_for(proxy, **{**options, **self._pool})

    def cert_verify(self, *_args: Any) -> None:
        pass

    def build_connection_pool_key_attributes(self, *args: Any, **options: Any) -> Any:
        host, pool = super().build_connection_pool_key_attributes(*args, **options)
        ours = {key: value for key, value in pool.items() if key not in ("cert_reqs", "ca_certs", "ca_cert_dir")}
        return host, ours
