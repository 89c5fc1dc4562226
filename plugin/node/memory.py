"""The facts of this machine's Node, and the last failed query, kept between requests."""

from __future__ import annotations

import json
import os
import time

from plugin.entries import name_of
from plugin.errors import Refusal, Unreachable
from plugin.facts import Facts
from plugin.node.identity import machine_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from plugin.config.settings import Settings
    from plugin.lock import Lock

PREFIX = "node-"  # of the cache's names for facts
_FAILURE = "away-"
_LOCK = "lock-"
_FAILURE_SECONDS = 3600.0  # after which a failure means nothing
# What decides which Node is read, and by which credentials: keys of the configuration, variables of the environment,
# and the machine.
_VARIABLES = ("KUBECONFIG", "HOME", "NODE_NAME")
_DECISIVE = ("kubeconfig", "nodeName", *_VARIABLES, "machineID")


class Failure:
    """How the last query of the API server failed.

    asked: when it was made (epoch seconds). patience: how long it waited for an answer (seconds). late: that was not
    long enough. answered: with a refusal. refused: the server's last answer was a refusal, though later queries may
    have had none. error: code, msg and details.
    """

    def __init__(
        self, asked: float, patience: float, late: bool, answered: bool, refused: bool, error: tuple[int, str, str]
    ) -> None:
        self.asked = asked
        self.patience = patience
        self.late = late
        self.answered = answered
        self.refused = refused
        self.error = error

    def exception(self) -> Refusal | Unreachable:
        """Return the exception that the failed query raised; its message says how old it is."""
        code, msg, details = self.error
        age = time.time() - self.asked
        msg += f" ({age:.0f} s ago)" if age >= 1 else ""
        return Refusal(code, msg, details) if self.answered else Unreachable(msg, details, code, self.late)


class Memory:
    """What is kept for one way of finding the Node on one machine. Damaged entries count as missing."""

    def __init__(self, settings: Settings) -> None:
        variables = (settings.environ.get(name, "") for name in _VARIABLES)
        values = (settings.kubeconfig, settings.node_name, *variables, machine_id())
        self._key = dict(zip(_DECISIVE, values))
        self._cache = settings.cache
        self._id = name_of(json.dumps(self._key).encode())

    @property
    def path(self) -> str:
        """The file that holds the facts. Newer facts replace it."""
        return os.path.join(self._cache.path, PREFIX + self._id)

    def lock(self) -> Lock:
        """Return the lock that serializes queries: its holder queries, the others wait and read its result."""
        return self._cache.lock(_LOCK + self._id)

    def facts(self) -> Facts | None:
        """Return the facts that the last successful query found, if the host name is still the same."""
        known = self.remembered()
        return known if known and known.host_name == host_name() else None

    def remembered(self) -> Facts | None:
        """Return the same, whatever the host name was: a hint which Node to query, no more."""
        entry = self._read(PREFIX)
        return Facts(**entry) if entry else None

    def keep(self, facts: Facts) -> None:
        """Store the facts; they replace a failure. Only newer facts remove them: a server may be away for long."""
        self._write(PREFIX, facts)
        self._cache.remove(_FAILURE + self._id)

    def forget(self) -> None:
        """Remove the facts: they belong to another Node."""
        self._cache.remove(PREFIX + self._id)

    def failure(self) -> Failure | None:
        """Return how the last query failed; None if it succeeded."""
        entry = self._read(_FAILURE)
        return Failure(**entry) if entry else None

    def keep_failure(self, asked: float, patience: float, error: Unreachable | Refusal) -> None:
        """Store a failure. A refusal counts until a query succeeds."""
        late = isinstance(error, Unreachable) and error.late
        answered = isinstance(error, Refusal)
        before = self.failure()
        refused = answered or bool(before and before.refused)
        told = (error.code, error.msg, error.details)
        self._write(_FAILURE, Failure(asked, patience, late, answered, refused, told))
        self._cache.prune(_FAILURE, _FAILURE_SECONDS)

    def _read(self, prefix: str) -> dict[str, Any]:
        stored = json.loads(self._cache.read(prefix + self._id) or b"{}")
        return stored["entry"] if stored.get("key") == self._key else {}

    def _write(self, prefix: str, value: Facts | Failure) -> None:
        stored = {"key": self._key, "entry": vars(value)}
        self._cache.write(prefix + self._id, json.dumps(stored).encode())


def host_name() -> str:
    """Return the name of this machine."""
    return os.uname().nodename


def decode(body: bytes) -> tuple[Facts, dict[str, str]]:
    """Return the facts in a file of a cache, and the values that they were found with: kubeconfig, nodeName,
    KUBECONFIG, HOME, NODE_NAME and machineID. Raises ValueError, TypeError or KeyError for anything else.
    """
    stored = json.loads(body)
    return Facts(**stored["entry"]), {name: stored["key"][name] for name in _DECISIVE}


def variables(way: dict[str, str]) -> dict[str, str]:
    """Return those of the values that came from the environment."""
    return {name: way[name] for name in _VARIABLES}
