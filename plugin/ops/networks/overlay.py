"""A cache to look through: what is on disk can be read and stays as it is, what is written goes with the process."""

from __future__ import annotations

from plugin.cache import Cache
from plugin.lock import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Overlay(Cache):
    """To ask the plugin's own questions with, without changing what the next pod gets."""

    def __init__(self, below: Cache) -> None:
        super().__init__(below.path)
        self._below = below
        self._files: dict[str, bytes | None] = {}
        self._links: dict[str, str] = {}

    def read(self, name: str) -> bytes | None:
        """What was last written under this name, here or on disk."""
        return self._files[name] if name in self._files else self._below.read(name)

    def write(self, name: str, body: bytes) -> bool:
        """Keep these bytes for now."""
        self._files[name] = body
        return True

    def link(self, name: str, target: str) -> bool:
        """Remember one name under another for now."""
        self._links[name] = target
        return True

    def target(self, name: str) -> str:
        """The name remembered by link(), here or on disk."""
        return self._links.get(name) or self._below.target(name)

    def remove(self, name: str) -> None:
        """Pass over this name from now on."""
        self._files[name] = None

    def has_new(self, prefix: str) -> bool:
        """Whether something was written under a name that starts so."""
        return any(body is not None and name.startswith(prefix) for name, body in self._files.items())

    def lock(self, name: str) -> Lock:
        """No lock: nothing is shared."""
        return _Unlocked(self, name)

    def names(self) -> Iterator[tuple[str, float]]:
        """Every name on disk, with its age in seconds."""
        return self._below.names()

    def prune(self, prefix: str, seconds: float, size: float = float("inf")) -> None:
        """Nothing: what is here does not last, what is on disk stays."""


class _Unlocked(Lock):
    def __enter__(self) -> Lock:
        return self
