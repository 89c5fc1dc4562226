"""The changes of all Nodes: a thread reads them from a watch."""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
from typing import Any, Union

from plugin.errors import PLUGIN_FAILURE, CniError, Unreachable
from plugin.kube import pages
from plugin.kube.access import pause
from plugin.kube.answers import Expired, Transient
from plugin.kube.session import METADATA_ONLY, Session
from plugin.ops.ranges import cluster

Item = Union[tuple[str, dict[str, Any]], Exception]

_SECONDS = (240, 360)  # until the server ends a watch, as client-go asks for: not all clients at once
_SILENCE = 150.0  # seconds; the server sends a bookmark about every minute
PAUSES = (0.5, 30.0)  # seconds before a request that failed is repeated, and at most
_KEPT = 1000  # events that wait to be handled


class Feed:
    """A watch that resumes where it ended. It ends with an error, such as Expired if all Nodes must be listed again."""

    def __init__(self, session: Session, version: str) -> None:
        self._session = session
        self._version = version
        self._items: queue.Queue[Item] = queue.Queue(_KEPT)
        self._is_wanted = True
        self._tries = 0
        threading.Thread(target=self._run, daemon=True).start()

    def next(self, seconds: float) -> tuple[str, dict[str, Any]] | None:
        """Return an event (ADDED, MODIFIED, DELETED) and the metadata of its Node; None if there is none in time.

        Raises the error with which the feed has ended.
        """
        try:
            item = self._items.get(seconds > 0, max(seconds, 0.001))
        except queue.Empty:
            return None
        if isinstance(item, Exception):
            raise item
        return item

    def stop(self) -> None:
        """Let the thread end with the next event or bookmark. It may be waiting for room in the queue."""
        self._is_wanted = False
        with contextlib.suppress(queue.Empty):
            while True:
                self._items.get_nowait()

    def _run(self) -> None:
        while self._is_wanted:
            try:
                self._follow()
            except Unreachable:
                time.sleep(pause(self._tries, *PAUSES))
                self._tries += 1
            except (AttributeError, KeyError, TypeError, RecursionError):
                what = f"{self._session.route}: what its watch sends is no event"
                self._items.put(CniError(PLUGIN_FAILURE, what, "see what answers there, and any proxy in between"))
                return
            except Exception as error:  # for the main thread
                self._items.put(error)
                return

    def _follow(self) -> None:
        """Read one watch to its end. Raises CniError."""
        path = f"{pages.PATH}?watch=1&allowWatchBookmarks=true&resourceVersion={self._version}"
        path += f"&timeoutSeconds={random.randint(*_SECONDS)}"
        begun = time.monotonic()
        for event in self._session.watch(path, METADATA_ONLY, _SILENCE):
            if not self._is_wanted:
                return
            kind, value = event["type"], event["object"]
            if kind == "ERROR" and value.get("code") == 410:
                raise Expired(PLUGIN_FAILURE, f"{self._session.route}: the watch has expired")
            if kind == "ERROR":
                break
            self._tries = 0
            if kind != "BOOKMARK":
                self._items.put((kind, cluster.trimmed(value)))
            self._version = value["metadata"]["resourceVersion"]
        if time.monotonic() - begun < 1:
            raise Transient(f"{self._session.route}: the watch ended at once")
