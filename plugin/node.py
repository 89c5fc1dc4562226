"""What is known of this machine's Node, and how fresh it must be."""

from __future__ import annotations

import json
import os
import time

from plugin import deadline, identity
from plugin.cache import digest, pack
from plugin.errors import PLUGIN_FAILURE, TRY_AGAIN_LATER, CniError, Unreachable
from plugin.facts import Facts, from_node
from plugin.settings import CACHE_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from plugin.settings import Settings

# Seconds for a try at the server: when older knowledge would do; for STATUS, which kubelet asks every 5 s;
# and what is kept back for words of our own when there is nothing to fall back on.
PATIENCE = 3.0
STATUS_PATIENCE = 1.0
_RESERVE = 1.0
_FORGET_SECONDS = 30 * 86400.0

# What in the environment decides which Node is read, and by which credentials.
_VARIABLES = ("KUBECONFIG", "HOME", "NODE_NAME")


def facts(settings: Settings, wanted: Callable[[Facts], bool]) -> Facts:
    """What is known of this machine's Node: for cacheSeconds without asking, then from the server.

    wanted says whether the facts hold what is looked for; the server is asked anew when they do not.
    When the server gives no answer: what was known before, however old, unless its last answer was no. Raises CniError.
    """
    started = time.time()
    key = _key(settings)
    known = _read(settings, key)
    if known and known.age() < settings.cache_seconds and (wanted(known) or settings.sparing):
        return known
    fallback = known if known and wanted(known) else None
    patience = STATUS_PATIENCE if settings.sparing else PATIENCE if fallback else max(deadline.left() - _RESERVE, 1.0)
    try:
        with deadline.within(patience), settings.cache.lock("lock-" + digest(key)):
            return _ask(settings, key, wanted, started, patience)
    except deadline.DeadlineExceeded:
        error = _late(patience)
    except Unreachable as refusal:
        error = refusal
    if fallback is None or _load(settings, "away-", key).get("refused"):
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


def kept_in(settings: Settings) -> str:
    """The file that holds what is known: whoever learns more replaces it."""
    return os.path.join(settings.cache.path, "node-" + digest(_key(settings)))


def last_known(settings: Settings) -> Facts | None:
    """What is known without asking anyone, however old."""
    return _read(settings, _key(settings))


def _ask(settings: Settings, key: bytes, wanted: Callable[[Facts], bool], started: float, patience: float) -> Facts:
    """Ask the server, unless another process has done so while this one waited for its turn."""
    known = _read(settings, key)
    if known and (_since(known.asked, started) or (known.age() < settings.cache_seconds and wanted(known))):
        return known
    _spare(settings, key, started, patience, bool(known and wanted(known)))
    asked = time.time()
    try:
        found = identity.identify(settings, known, lambda node: wanted(from_node(node, "", asked)))
    except deadline.DeadlineExceeded:
        _remember_failure(settings, key, asked, patience, _late(patience))
        raise
    except CniError as error:
        _remember_failure(settings, key, asked, patience, error)
        raise
    latest = from_node(found.node, found.how, asked)
    _tell_change(settings, known, latest)
    _write(settings, key, latest)
    return latest


def _late(patience: float) -> Unreachable:
    return Unreachable(f"the API server gave no answer within {patience:.0f} seconds", "is it up, and reachable?")


def _since(asked: float, started: float) -> bool:
    """Whether the server was asked since then; not so in a future that a clock once had."""
    return started <= asked <= time.time()


def _spare(settings: Settings, key: bytes, started: float, patience: float, known: bool) -> None:
    """Raise the last failure again if it is recent: a server that is away is asked once per period, too.

    One that was given less time than we have says nothing to us.
    """
    entry = _load(settings, "away-", key)
    if not entry or entry["patience"] < patience - _RESERVE:
        return
    error = CniError(entry["code"], entry["msg"], entry["details"])
    if not entry["answered"]:
        error = Unreachable(entry["msg"], entry["details"], entry["code"])
    recent = 0 <= time.time() - entry["asked"] < min(settings.cache_seconds, CACHE_SECONDS)
    if _since(entry["asked"], started) or (recent and (settings.sparing or (known and not entry["answered"]))):
        raise error


def _remember_failure(settings: Settings, key: bytes, asked: float, patience: float, error: CniError) -> None:
    """Keep what went wrong, and that a clear no was the last answer, until there is a better one."""
    answered = not isinstance(error, Unreachable)
    refused = answered or _load(settings, "away-", key).get("refused", False)
    entry = {"asked": asked, "patience": patience, "answered": answered, "refused": refused, "code": error.code}
    _store(settings, "away-", key, {**entry, "msg": error.msg, "details": error.details})


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


def _key(settings: Settings) -> bytes:
    values = [settings.environ.get(name, "") for name in _VARIABLES]
    return pack(*map(os.fsencode, [settings.kubeconfig, settings.node_name, *values]))


def _read(settings: Settings, key: bytes) -> Facts | None:
    entry = _load(settings, "node-", key)
    return Facts(**entry) if entry else None


def _write(settings: Settings, key: bytes, latest: Facts) -> None:
    _store(settings, "node-", key, {field: getattr(latest, field) for field in Facts.__slots__})
    settings.cache.remove("away-" + digest(key))
    settings.cache.prune("node-", _FORGET_SECONDS)
    if settings.cache.trouble:
        settings.log.warning(f"nothing is kept for the next pod: {settings.cache.trouble}")


def _load(settings: Settings, prefix: str, key: bytes) -> dict[str, Any]:
    """The entry kept for this key; an empty one when there is none."""
    body = settings.cache.read(prefix + digest(key))
    entry = json.loads(body) if body else {}
    return entry["entry"] if entry.get("key") == key.hex() else {}


def _store(settings: Settings, prefix: str, key: bytes, entry: dict[str, Any]) -> None:
    settings.cache.write(prefix + digest(key), json.dumps({"key": key.hex(), "entry": entry}).encode())
