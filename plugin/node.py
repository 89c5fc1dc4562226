"""What is known of this machine's Node, and how fresh it must be."""

from __future__ import annotations

import time

from plugin import deadline, identity
from plugin.errors import PLUGIN_FAILURE, TRY_AGAIN_LATER, CniError, Unreachable
from plugin.facts import from_node
from plugin.memory import Memory
from plugin.settings import CACHE_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from plugin.facts import Facts
    from plugin.settings import Settings

# Seconds for a try at the server: when older knowledge would do; for STATUS, which kubelet asks every 5 s;
# and what is kept back for words of our own when there is nothing to fall back on.
PATIENCE = 3.0
STATUS_PATIENCE = 1.0
_RESERVE = 1.0


def facts(settings: Settings, wanted: Callable[[Facts], bool]) -> Facts:
    """What is known of this machine's Node: for cacheSeconds without asking, then from the server.

    wanted says whether the facts hold what is looked for; the server is asked anew when they do not.
    When the server gives no answer: what was known before, however old, unless its last answer was no. Raises CniError.
    """
    started = time.time()
    memory = Memory(settings)
    known = memory.facts()
    if known and known.age() < settings.cache_seconds and (wanted(known) or settings.sparing):
        settings.log.debug("the Node is known", node=known.name, seconds=round(known.age(), 3))
        return known
    fallback = known if known and wanted(known) else None
    patience = STATUS_PATIENCE if settings.sparing else PATIENCE if fallback else max(deadline.left() - _RESERVE, 1.0)
    try:
        with deadline.within(patience), memory.lock():
            return _ask(settings, memory, wanted, started, patience)
    except deadline.DeadlineExceeded:
        error = _late(patience)
    except Unreachable as refusal:
        error = refusal
    failure = memory.failure()
    if fallback is None or (failure and failure.refused):
        raise error
    age = f"{fallback.age():.0f} s ago" if fallback.age() < float("inf") else "before the clock was set"
    settings.log.warning(f"using what was known of node {fallback.name} {age}: {error.msg}")
    return fallback


def pod_cidrs(settings: Settings) -> Facts:
    """The facts of a node that has ranges of its own. Raises CniError."""
    known = facts(settings, lambda each: bool(each.pod_cidrs))
    if not known.pod_cidrs:
        details = "is kube-controller-manager run with --allocate-node-cidrs=true, and a --cluster-cidr large enough?"
        raise CniError(TRY_AGAIN_LATER, f"No spec.podCIDRs found on node {known.name}", details)
    return known


def annotation(settings: Settings, name: str) -> tuple[Facts, str]:
    """The facts, and the text of an annotation of this node. Raises CniError."""
    known = facts(settings, lambda each: name in each.annotations)
    text = known.annotations.get(name)
    if text is None:
        raise CniError(
            PLUGIN_FAILURE,
            f"Annotation not found: {name} on node {known.name}",
            f"kubectl annotate node {known.name} {name}=…; {_similar(known, name)}",
        )
    return known, text


def _similar(known: Facts, name: str) -> str:
    prefix = name.rpartition("/")[0]
    similar = sorted(each for each in known.annotations if each.rpartition("/")[0] == prefix)
    listed = ", ".join(similar[:10]) or "none"
    return f"annotations of {prefix or 'no prefix'} that it has: {listed}"


def last_known(settings: Settings) -> Facts | None:
    """What is known without asking anyone, however old."""
    return Memory(settings).facts()


def _ask(settings: Settings, memory: Memory, wanted: Callable[[Facts], bool], started: float, patience: float) -> Facts:
    """Ask the server, unless another process has done so while this one waited for its turn."""
    known = memory.facts()
    if known and (_since(known.asked, started) or (known.age() < settings.cache_seconds and wanted(known))):
        return known
    _spare(settings, memory, started, patience, has_fallback=bool(known and wanted(known)))
    asked = time.time()
    try:
        found = identity.identify(settings, known, lambda node: wanted(from_node(node, "", asked)))
    except deadline.DeadlineExceeded:
        memory.keep_failure(asked, patience, _late(patience))
        raise
    except CniError as error:
        memory.keep_failure(asked, patience, error)
        raise
    latest = from_node(found.node, found.how, asked)
    _tell_change(settings, known, latest)
    settings.log.debug("the Node has been read", node=latest.name, by=latest.how, podCIDRs=latest.pod_cidrs)
    memory.keep(latest)
    if settings.cache.trouble:
        settings.log.warning(f"nothing is kept for the next pod: {settings.cache.trouble}")
    return latest


def _late(patience: float) -> Unreachable:
    return Unreachable(f"the API server gave no answer within {patience:.0f} seconds", "is it up, and reachable?")


def _since(asked: float, started: float) -> bool:
    """Whether the server was asked since then; not so in a future that a clock once had."""
    return started <= asked <= time.time()


def _spare(settings: Settings, memory: Memory, started: float, patience: float, has_fallback: bool) -> None:
    """Raise the last failure again if it is recent: a server that is away is asked once per period, too.

    One that was given less time than we have says nothing to us.
    """
    failure = memory.failure()
    if failure is None or failure.patience < patience - _RESERVE:
        return
    recent = 0 <= time.time() - failure.asked < min(settings.cache_seconds, CACHE_SECONDS)
    may_spare = settings.sparing or (has_fallback and not failure.answered)
    if _since(failure.asked, started) or (recent and may_spare):
        raise failure.error()


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
