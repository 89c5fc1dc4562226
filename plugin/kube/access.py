"""An API server and the credentials to send to it, as a kubeconfig selects them; when to renew and to retry."""

from __future__ import annotations

import os
import time

from plugin.kube import credentials
from plugin.kube.answers import Transient, Unauthorized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from plugin.errors import CniError
    from plugin.kube.kubeconfig import Kubeconfig

    T = TypeVar("T")


class Access:
    """One API server. load: reads its kubeconfig; called again after a 401.

    Making one reads kubeconfig and credentials, and sends nothing. Raises CniError.
    """

    def __init__(self, load: Callable[[], Kubeconfig], environ: Mapping[str, str]) -> None:
        self._load = load
        self._environ = environ
        self.config = load()
        self.credentials = credentials.load(self.config, environ)

    def describe(self) -> str:
        """Return which kubeconfig and credential are used, in one line."""
        config = self.config
        return f"kubeconfig {config.path} ({config.why}), user {config.user_name!r}: {self.credentials.kind}"

    def described(self, error: CniError) -> CniError:
        """Return this error, whose details now also name the kubeconfig and the credential."""
        error.details = f"{error.details}\n{self.describe()}".lstrip()
        return error

    def retried(self, request: Callable[[], T], ends: float, pauses: tuple[float, float]) -> T:
        """Return what request() returns; call it again while that may help and there is time.

        ends: when to give up (time.monotonic()). pauses: see pause().
        """
        tries = 0
        while True:
            try:
                return self.authorized(request)
            except Transient as failure:
                seconds = pause(tries, *pauses) if failure.retry_after is None else max(failure.retry_after, pauses[0])
                if time.monotonic() + seconds > ends:
                    raise
            tries += 1
            time.sleep(seconds)

    def authorized(self, request: Callable[[], T]) -> T:
        """Return what request() returns; after a 401, call it once more if the credentials have changed."""
        try:
            try:
                return request()
            except Unauthorized:
                if not self.renew():
                    raise
            return request()
        except Unauthorized as error:
            error.details = self._validity()
            raise

    def renew(self) -> bool:
        """Read kubeconfig and credentials again; return False if they are unchanged. Raises CniError."""
        before = self._sent()
        self.config = self._load()
        self.credentials = credentials.load(self.config, self._environ, refresh=True)
        return self._sent() != before

    def _sent(self) -> tuple[object, ...]:
        current = self.credentials
        return self.config.server, current.headers, current.certificate, current.key

    def _validity(self) -> str:
        """Return what to do about credentials that the server refuses."""
        ends = credentials.expiry(self.credentials)
        if ends is None:
            return "renew the credentials in this kubeconfig"
        date = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ends))
        pod = credentials.pod(self.credentials)
        if pod and ends > time.time():  # the server refuses a token when its pod is deleted
            return f"the token is valid until {date}, but its pod {pod} is gone: deploy that again"
        return f"they {'expired on' if ends < time.time() else 'are valid until'} {date}; renew them in this kubeconfig"


def pause(tries: int, first: float, longest: float) -> float:
    """Return the seconds until the next try: doubled each time up to the longest, plus up to as much at random.

    Otherwise all nodes would try at the same moments.
    """
    return float(min(first * 2.0**tries, longest)) * (1 + os.urandom(1)[0] / 255)
