"""requests' transport with the TLS context of a kubeconfig."""

from __future__ import annotations

from requests.adapters import HTTPAdapter

from plugin.kube import tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any

    from plugin.kube.kubeconfig import Kubeconfig


class Adapter(HTTPAdapter):
    """An adapter that trusts what the context trusts: requests adds public authorities unless this is overridden."""

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
