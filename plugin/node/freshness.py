"""What is known of this machine's Node, and how fresh it must be."""

from __future__ import annotations

import time

from plugin import deadline
from plugin.cache import signature
from plugin.errors import PLUGIN_FAILURE, TRY_AGAIN_LATER, CniError, Refusal, Unreachable
from plugin.facts import POD_CIDRS, from_node
from plugin.node import identity
from plugin.node.memory import Memory
from plugin.values import CACHE_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from plugin.facts import Facts
    from plugin.node.memory import Failure
    from plugin.settings import Settings

# Seconds for a try at the server: when older knowledge would do, and for STATUS, which kubelet asks every 5 s; twice
# as many when that was not enough the last time, up to the longest.
PATIENCE = 3.0
STATUS_PATIENCE = 1.0
_LONGEST = 8.0
# Seconds kept back for words of our own when there is nothing to fall back on.
_RESERVE = 1.0


def facts(settings: Settings, field: str = "") -> Facts:
    """What is known of this machine's Node: for cacheSeconds without asking, then from the server.

    field: what is looked for, see Facts.has(); the server is asked anew when it is not there, and may not have it.
    When the server gives no answer: what was known before, however old, unless its last answer was no. Raises CniError.
    """
    question = _Question(settings, field)
    known = question.memory.facts()
    if known and question.is_fresh(known) and (known.has(field) or settings.sparing):
        settings.log.debug("the Node is known", node=known.name, seconds=round(known.age(), 3))
        return known
    patience = question.patience(known)
    try:
        question.spare(known, patience)
        with deadline.within(patience), question.memory.lock():
            return question.ask(patience)
    except deadline.DeadlineExceeded:
        error = _late(patience)
    except Unreachable as failed:
        error = failed
    known, failure = question.memory.facts(), question.memory.failure()  # another process may have learnt something
    if known is None or not known.has(field) or (failure and failure.refused):
        raise error
    age = f"{known.age():.0f} s ago" if known.age() < float("inf") else "before the clock was set"
    settings.log.warning(f"using what was known of node {known.name} {age}: {error.msg}")
    return known


def pod_cidrs(settings: Settings) -> Facts:
    """The facts of a node that has ranges of its own. Raises CniError."""
    return _with_pod_cidrs(facts(settings, POD_CIDRS))


def _with_pod_cidrs(known: Facts) -> Facts:
    if not known.pod_cidrs:
        details = "is kube-controller-manager run with --allocate-node-cidrs=true, and a --cluster-cidr large enough?"
        raise CniError(TRY_AGAIN_LATER, f"No spec.podCIDRs found on node {known.name}", details)
    return known


def annotation(settings: Settings, name: str) -> tuple[Facts, str]:
    """The facts, and the text of an annotation of this node. Raises CniError."""
    known = facts(settings, name)
    text = known.annotations.get(name)
    if text is None:
        raise CniError(
            PLUGIN_FAILURE,
            f"Annotation not found: {name} on node {known.name}",
            f"kubectl annotate node {known.name} {name}=…; {_similar(known, name)}",
        )
    return known, text


def annotation_or_pod_cidrs(settings: Settings, name: str) -> Facts:
    """Return the facts of a node that has this annotation, or podCIDRs if it has not. Raises CniError."""
    known = last_known(settings)
    known = facts(settings, name if known and known.has(name) else POD_CIDRS)
    return known if known.has(name) else _with_pod_cidrs(known)


def rests_on(settings: Settings, known: Facts) -> list[tuple[str, str]]:
    """The files, each with its cache.signature(), that stay as they are as long as these facts hold."""
    path = Memory(settings).path
    return [(path, signature(path)), (known.kubeconfig, known.seen)]


def _similar(known: Facts, name: str) -> str:
    prefix = name.rpartition("/")[0]
    similar = sorted(each for each in known.annotations if each.rpartition("/")[0] == prefix)
    listed = ", ".join(similar[:10]) or "none"
    return f"annotations of {prefix or 'no prefix'} that it has: {listed}"


def last_known(settings: Settings) -> Facts | None:
    """What is known without asking anyone, however old."""
    return Memory(settings).facts()


class _Question:
    """What one request wants to know of the Node."""

    def __init__(self, settings: Settings, field: str) -> None:
        self.settings = settings
        self.field = field
        self.memory = Memory(settings)
        self.started = time.time()

    def is_fresh(self, known: Facts) -> bool:
        """Whether nobody has to be asked: not long ago, and by the same kubeconfig, which may be another node's now."""
        period = self.settings.cache_seconds
        if period == float("inf"):  # an operator's command, which asks nobody
            return known.age() < period
        return known.age() < period and signature(known.kubeconfig) == known.seen

    def patience(self, known: Facts | None) -> float:
        """Seconds for this try at the server."""
        most = max(deadline.left() - _RESERVE, 1.0)
        if self.settings.sparing:
            usual, may_grow = STATUS_PATIENCE, known is None
        elif known and known.has(self.field):
            usual, may_grow = PATIENCE, True
        else:
            return most
        failure = self.memory.failure()
        if may_grow and failure and failure.late and not self._is_recent(failure):
            return min(max(usual, 2 * failure.patience), _LONGEST, most)
        return usual

    def spare(self, known: Facts | None, patience: float) -> None:
        """Raise the last failure again if it is recent: a server that is away is asked once per period, too.

        One that was given less time than we have says nothing to us.
        """
        failure = self.memory.failure()
        if failure is None or failure.patience < patience - _RESERVE:
            return
        may_spare = self.settings.sparing or (known and known.has(self.field) and not failure.answered)
        if self._is_ours(failure.asked) or (may_spare and self._is_recent(failure)):
            raise failure.error()

    def ask(self, patience: float) -> Facts:
        """Ask the server, unless another process has done so while this one waited for its turn."""
        known = self.memory.facts()
        if known and known.has(self.field) and (self.is_fresh(known) or self._is_ours(known.asked)):
            return known
        if known and known.sought == self.field and self._is_ours(known.asked):
            return known
        self.spare(known, patience)
        asked = time.time()
        try:
            latest = self._read(known, asked)
        except deadline.DeadlineExceeded:
            self.memory.keep_failure(asked, patience, _late(patience))
            raise
        except (Unreachable, Refusal) as error:
            self.memory.keep_failure(asked, patience, error)
            raise
        _tell_change(self.settings, known, latest)
        self.memory.keep(latest)
        if self.settings.cache.trouble:
            self.settings.log.warning(f"nothing is kept for the next pod: {self.settings.cache.trouble}")
        return latest

    def _read(self, known: Facts | None, asked: float) -> Facts:
        def has(node: dict[str, Any]) -> bool:
            return from_node(node, "", asked).has(self.field)

        found = identity.identify(self.settings, known, has, self.memory.forget)
        latest = from_node(found.node, found.how, asked)
        latest.sought, latest.kubeconfig, latest.seen = self.field, found.kubeconfig, signature(found.kubeconfig)
        self.settings.log.debug("the Node has been read", node=latest.name, by=latest.how, podCIDRs=latest.pod_cidrs)
        return latest

    def _is_ours(self, moment: float) -> bool:
        """Whether what was asked then was asked for us too; not so in a future that a clock once had."""
        return self.started <= moment <= time.time()

    def _is_recent(self, failure: Failure) -> bool:
        return 0 <= time.time() - failure.asked < min(self.settings.cache_seconds, CACHE_SECONDS)


def _late(patience: float) -> Unreachable:
    what = f"the API server gave no answer within {patience:.0f} seconds"
    return Unreachable(what, "is it up, and reachable?", late=True)


def _tell_change(settings: Settings, known: Facts | None, latest: Facts) -> None:
    if known is None:
        return
    ranges = f"podCIDRs {known.pod_cidrs} -> {latest.pod_cidrs}"
    if known.uid != latest.uid:
        settings.log.warning(f"node {latest.name} was created anew: uid {known.uid} -> {latest.uid}, {ranges}")
    elif known.pod_cidrs != latest.pod_cidrs:
        settings.log.warning(f"node {latest.name} has other {ranges}")
    for key in known.annotations.keys() & latest.annotations.keys():
        old, new = known.annotations[key], latest.annotations[key]
        if old != new:
            settings.log.info("annotation changed", node=latest.name, annotation=key, old=old, new=new)
