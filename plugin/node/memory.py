"""What is kept of the Node between requests: its facts, and how asking for them failed last."""

from __future__ import annotations

import json
import os

from plugin.cache import digest, pack, unpack
from plugin.errors import Refusal, Unreachable
from plugin.facts import Facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from plugin.cache import Lock
    from plugin.settings import Settings

PREFIX = "node-"  # of the cache's names for facts
_FAILURE = "away-"
_LOCK = "lock-"
_FORGET_SECONDS = 30 * 86400.0
# What decides which Node is read, and by which credentials: keys of the configuration, variables of the environment.
_KEYS = ("kubeconfig", "nodeName")
_VARIABLES = ("KUBECONFIG", "HOME", "NODE_NAME")


class Failure:
    """How the last question to the server ended.

    asked: when (epoch seconds). patience: for how long an answer was waited for (seconds), late: not long enough.
    answered: with a clear no. refused: a clear no was the last answer, though it may not be that of the last question.
    """

    __slots__ = ("answered", "asked", "code", "details", "late", "msg", "patience", "refused")

    def __init__(
        self,
        asked: float,
        patience: float,
        late: bool,
        answered: bool,
        refused: bool,
        code: int,
        msg: str,
        details: str,
    ) -> None:
        self.asked = asked
        self.patience = patience
        self.late = late
        self.answered = answered
        self.refused = refused
        self.code = code
        self.msg = msg
        self.details = details

    def error(self) -> Refusal | Unreachable:
        """What was raised then."""
        if self.answered:
            return Refusal(self.code, self.msg, self.details)
        return Unreachable(self.msg, self.details, self.code, self.late)


class Memory:
    """What is kept for one way of finding the Node; what is damaged, or another way's, is as good as not there."""

    __slots__ = ("_cache", "_id", "_key")

    def __init__(self, settings: Settings) -> None:
        values = [settings.kubeconfig, settings.node_name]
        values += [settings.environ.get(name, "") for name in _VARIABLES]
        self._cache = settings.cache
        self._key = pack(*map(os.fsencode, values))
        self._id = digest(self._key)

    @property
    def path(self) -> str:
        """The file that holds the facts: whoever learns more replaces it."""
        return os.path.join(self._cache.path, PREFIX + self._id)

    def lock(self) -> Lock:
        """Whoever holds this asks the server; the others wait for what that says."""
        return self._cache.lock(_LOCK + self._id)

    def facts(self) -> Facts | None:
        """What was learnt last."""
        entry = self._read(PREFIX)
        return Facts(**entry) if entry else None

    def keep(self, facts: Facts) -> None:
        """Remember what has been learnt; no failure matters any more."""
        self._write(PREFIX, facts)
        self._cache.remove(_FAILURE + self._id)
        self._cache.prune(PREFIX, _FORGET_SECONDS)

    def forget(self) -> None:
        """Keep no facts: they are not of this machine's Node."""
        self._cache.remove(PREFIX + self._id)

    def failure(self) -> Failure | None:
        """How it failed, unless something has been learnt since."""
        entry = self._read(_FAILURE)
        return Failure(**entry) if entry else None

    def keep_failure(self, asked: float, patience: float, error: Unreachable | Refusal) -> None:
        """Remember what went wrong, and a clear no until there is a better answer."""
        late = isinstance(error, Unreachable) and error.late
        answered = isinstance(error, Refusal)
        before = self.failure()
        refused = answered or bool(before and before.refused)
        self._write(_FAILURE, Failure(asked, patience, late, answered, refused, error.code, error.msg, error.details))

    def _read(self, prefix: str) -> dict[str, Any]:
        body = self._cache.read(prefix + self._id)
        key, entry = _decode(body) if body else (b"", {})
        return entry if key == self._key else {}

    def _write(self, prefix: str, value: Facts | Failure) -> None:
        entry = {field: getattr(value, field) for field in value.__slots__}
        self._cache.write(prefix + self._id, json.dumps({"key": self._key.hex(), "entry": entry}).encode())


def decode(body: bytes) -> tuple[Facts, dict[str, str]]:
    """The facts in a file of a cache, and the way of finding the Node that they are kept for: a value for each of
    kubeconfig, nodeName, KUBECONFIG, HOME and NODE_NAME. Raises ValueError, TypeError or KeyError for anything else.
    """
    key, entry = _decode(body)
    return Facts(**entry), dict(zip(_KEYS + _VARIABLES, map(os.fsdecode, unpack(key))))


def variables(way: dict[str, str]) -> dict[str, str]:
    """Of a way of finding the Node what the environment said."""
    return {name: way[name] for name in _VARIABLES}


def _decode(body: bytes) -> tuple[bytes, dict[str, Any]]:
    stored = json.loads(body)
    return bytes.fromhex(stored["key"]), stored["entry"]
