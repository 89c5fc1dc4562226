"""A cache that reads from disk and writes to memory only."""

from __future__ import annotations

from collections.abc import Iterator

from plugin.cache import Cache
from plugin.lock import Lock


class Overlay(Cache):
    """The cache of an operator's command: the plugin's code can use it without an effect on the next pod."""

    def __init__(self, below: Cache) -> None:
        super().__init__(below.path)
        self._below = below
        self._files: dict[str, bytes | None] = {}
        self._links: dict[str, str] = {}

    def read(self, name: str) -> bytes | None:
        """Return what was last written under this name, here or on disk."""
        return self._files[name] if name in self._files else self._below.read(name)

    def write(self, name: str, body: bytes) -> bool:
        """Store these bytes in memory."""
        self._files[name] = body
        return True

    def link(self, name: str, target: str) -> bool:
        """Store a link in memory."""
        self._links[name] = target
        return True

    def target(self, name: str) -> str:
        """Return the target of a link, here or on disk."""
        return self._links.get(name) or self._below.target(name)

    def remove(self, name: str) -> None:
        """Hide this name."""
        self._files[name] = None

    def has_new(self, prefix: str) -> bool:
        """Return whether a name with this prefix was written."""
        return any(body is not None and name.startswith(prefix) for name, body in self._files.items())

    def lock(self, name: str) -> Lock:
        """Return a lock that does nothing: nothing is shared."""
        return _Unlocked(self, name)

    def names(self) -> Iterator[tuple[str, float]]:
        """Return every name, here and on disk, with its age in seconds."""
        ages = {**dict(self._below.names()), **dict.fromkeys(self._files, 0.0)}
        return ((name, age) for name, age in ages.items() if self._files.get(name, b"") is not None)

    def prune(self, prefix: str, seconds: float, size: float = float("inf")) -> None:
        """Do nothing: what is in memory ends with the process, what is on disk stays."""


class _Unlocked(Lock):
    def __enter__(self) -> Lock:
        return self
