"""The facts of this machine's Node, and how fresh they must be."""

from __future__ import annotations

import time

from plugin import deadline
from plugin.config.values import CACHE_SECONDS
from plugin.entries import signature
from plugin.errors import PLUGIN_FAILURE, TRY_AGAIN_LATER, CniError, Refusal, Unreachable
from plugin.facts import POD_CIDRS, from_node
from plugin.node import identity
from plugin.node.memory import Memory, host_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from plugin.config.settings import Settings
    from plugin.facts import Facts
    from plugin.lock import Lock
    from plugin.node.memory import Failure

    T = TypeVar("T")

# Seconds for a query when older facts would do, and for STATUS, which kubelet sends every 5 s; twice as many when that
# was not enough the last time, up to the longest.
PATIENCE = 3.0
STATUS_PATIENCE = 1.0
_LONGEST = 8.0
# Seconds kept back for an error of our own when there is nothing to fall back on.
_RESERVE = 1.0
_STATUS_RETRY = 4.0  # seconds until STATUS queries again after any error: less than kubelet's period
_TEXT_RETRY = 1.0  # seconds after which a text that gives an error is read again
_BRIDGE = (
    "a bridge with isGateway or isDefaultGateway keeps the address of its former range, so that each ADD fails: "
    "drain the node, then ip link del BRIDGE"
)


def facts(settings: Settings, field: str = "", max_age: float = float("inf")) -> Facts:
    """Return the facts of this machine's Node: for cacheSeconds, or max_age, without a query; then from the server.

    field: what is needed, see Facts.has(); the server is queried if it is missing, and may not have it.
    If the server gives no answer: the last known facts, however old, unless its last answer was a refusal. Raises
    CniError.
    """
    question = _Query(settings, field, max_age)
    known = question.memory.facts()
    if known and (settings.is_offline or (question.is_fresh(known) and (known.has(field) or settings.rate_limited))):
        settings.log.debug("the Node is known", node=known.name, seconds=round(known.age(), 3))
        return known
    patience = question.patience(known)
    lock = None
    try:
        question.reuse_recent_failure(known, patience)
        lock = question.memory.lock()
        with deadline.within(patience), lock:
            if lock.waited_for and not lock.is_held:
                settings.log.warning(f"querying without the lock {lock.path}: {lock.waited_for} holds it and is stuck")
            return question.query(patience)
    except deadline.DeadlineExceeded:
        error = _too_late(patience, lock)
    except Unreachable as failed:
        error = failed
    known, failure = question.memory.facts(), question.memory.failure()  # another process may have succeeded
    if known is None or not known.has(field) or (failure and failure.refused):
        raise error
    settings.log.warning(f"using what was known of node {known.name} {_ago(known)}: {error.msg}")
    return known


def parsed(
    settings: Settings, field: str, parse: Callable[[Facts], T], fallback: str = "", assign: str = ""
) -> tuple[Facts, T]:
    """Return the facts of this node, and what parse() makes of a field: the name of an annotation, or POD_CIDRS.

    fallback: the field to use if the Node does not have the other one. assign: the command that annotates all Nodes,
    for messages. If parse() fails, the Node is read anew, at most once a second. Raises CniError.
    """
    retry = _STATUS_RETRY if settings.rate_limited else _TEXT_RETRY
    max_age = float("inf")
    while True:
        known = last_known(settings)
        wanted = fallback if fallback and not (known and known.has(field)) else field
        known = facts(settings, wanted, max_age)
        try:
            _check_field(known, field if known.has(field) or not fallback else fallback, assign)
            return known, parse(known)
        except CniError as error:
            if max_age == retry or known.age() < retry or settings.is_offline:
                error.details = f"{error.details}; the Node was read {_ago(known)}".lstrip("; ")
                raise
        max_age = retry


def _check_field(known: Facts, field: str, assign: str) -> None:
    if known.has(field):
        return
    if field == POD_CIDRS:
        details = "run kube-controller-manager with --allocate-node-cidrs=true and a --cluster-cidr large enough"
        raise CniError(TRY_AGAIN_LATER, f"No spec.podCIDRs found on node {known.name}", details)
    for_all = f", or for all nodes: {assign}" if assign else ""
    prefix = field.rpartition("/")[0]
    similar = ", ".join(sorted(each for each in known.annotations if each.rpartition("/")[0] == prefix)[:10]) or "none"
    there = f"annotations of {prefix or 'no prefix'} that it has: {similar}"
    details = f"kubectl annotate node {known.name} {field}=…{for_all}; {there}"
    raise CniError(PLUGIN_FAILURE, f"Annotation not found: {field} on node {known.name}", details)


def rests_on(settings: Settings, known: Facts) -> list[tuple[str, str]]:
    """Return the files, each with its entries.signature(), that stay unchanged as long as these facts hold."""
    machine = [(path, signature(path)) for path in identity.MACHINE_ID_FILES]
    memory = Memory(settings)
    seen = signature(memory.path)
    latest = memory.facts()
    if latest is None or latest.asked != known.asked:
        seen = "replaced"  # which no file has: other facts were stored meanwhile
    return [(memory.path, seen), *known.files.items(), *machine]


def last_known(settings: Settings) -> Facts | None:
    """Return the facts that are known without a query, however old."""
    return Memory(settings).facts()


def _ago(known: Facts) -> str:
    return f"{known.age():.0f} s ago" if known.age() < float("inf") else "before the clock was set"


class _Query:
    """What one request needs to know of the Node."""

    def __init__(self, settings: Settings, field: str, max_age: float = float("inf")) -> None:
        self.settings = settings
        self.field = field
        self.period = min(settings.cache_seconds, max_age)
        self.memory = Memory(settings)
        self.started = time.time()

    def is_fresh(self, known: Facts) -> bool:
        """Whether no query is needed: known not long ago, and by files that are unchanged."""
        unchanged = all(signature(path) == seen for path, seen in known.files.items())
        return unchanged and known.age() < self.period

    def patience(self, known: Facts | None) -> float:
        """Return the seconds that this query may take."""
        most = max(deadline.left() - _RESERVE, 1.0)
        if self.settings.rate_limited:
            usual, may_grow = STATUS_PATIENCE, known is None
        elif known and known.has(self.field):
            usual, may_grow = PATIENCE, True
        else:
            return most
        failure = self.memory.failure()
        if may_grow and failure and failure.late and not self._is_recent(failure):
            return min(max(usual, 2 * failure.patience), _LONGEST, most)
        return usual

    def reuse_recent_failure(self, known: Facts | None, patience: float) -> None:
        """Raise the last failure again if it is recent: a server that is away is queried once per period, too.

        A query that was given less time than this one has says nothing about this one.
        """
        failure = self.memory.failure()
        if failure is None or failure.patience < patience - _RESERVE:
            return
        may_reuse = self.settings.rate_limited or (known and known.has(self.field) and not failure.answered)
        if self._is_ours(failure.asked) or (may_reuse and self._is_recent(failure)):
            raise failure.exception()

    def query(self, patience: float) -> Facts:
        """Query the server, unless another process has done so while this one waited for the lock."""
        known = self.memory.facts()
        if known and known.has(self.field) and (self.is_fresh(known) or self._is_ours(known.asked)):
            return known
        if known and known.wanted_field == self.field and self._is_ours(known.asked):
            return known
        self.reuse_recent_failure(known, patience)
        asked = time.time()
        try:
            latest = self._read(known, asked)
        except (Unreachable, Refusal, deadline.DeadlineExceeded) as error:
            failed = error if isinstance(error, CniError) else _too_late(patience, None)
            self.memory.keep_failure(asked, patience, failed)
            raise failed from None
        if known:
            _log_changes(self.settings, known, latest)
        self.memory.keep(latest)
        if self.settings.cache.trouble:
            self.settings.log.warning(f"nothing is kept for the next pod: {self.settings.cache.trouble}")
        return latest

    def _read(self, known: Facts | None, asked: float) -> Facts:
        def has(node: dict[str, Any]) -> bool:
            return from_node(node, "", asked).has(self.field)

        hint = known or self.memory.remembered()
        node, how, files = identity.identify(self.settings, hint, has, self.memory.forget)
        latest = from_node(node, how, asked)
        latest.wanted_field, latest.files, latest.host_name = self.field, files, host_name()
        log = self.settings.log
        log.debug("the Node has been read", node=latest.name, by=latest.identified_by, podCIDRs=latest.pod_cidrs)
        return latest

    def _is_ours(self, moment: float) -> bool:
        """Whether a query of that time was made since this request began; not in the future, after a clock change."""
        return self.started <= moment <= time.time()

    def _is_recent(self, failure: Failure) -> bool:
        period = min(self.settings.cache_seconds, _STATUS_RETRY if self.settings.rate_limited else CACHE_SECONDS)
        return 0 <= time.time() - failure.asked < period


def _too_late(patience: float, lock: Lock | None) -> Unreachable:
    if lock and lock.waited_for and not lock.is_held:
        what = f"{lock.waited_for}, which queries the API server, had no answer within {patience:.0f} seconds"
    else:
        what = f"the API server gave no answer within {patience:.0f} seconds"
    return Unreachable(what, "is it up, and reachable?", late=True)


def _log_changes(settings: Settings, known: Facts, latest: Facts) -> None:
    ranges = f"podCIDRs {known.pod_cidrs} -> {latest.pod_cidrs}"
    if known.uid != latest.uid:
        settings.log.warning(
            f"node {latest.name} was created anew: uid {known.uid} -> {latest.uid}, {ranges}; {_BRIDGE}"
        )
    elif known.pod_cidrs != latest.pod_cidrs:
        settings.log.warning(f"node {latest.name} has other {ranges}; {_BRIDGE}")
    for key in known.annotations.keys() & latest.annotations.keys():
        old, new = known.annotations[key], latest.annotations[key]
        if old != new:
            note = {"note": _BRIDGE} if key == latest.wanted_field and not new.startswith(old) else {}
            settings.log.info("annotation changed", node=latest.name, annotation=key, old=old, new=new, **note)
