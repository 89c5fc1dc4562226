"""What the ordinary path does for the warm path: store a result, and finish a call that did not end as expected."""

from __future__ import annotations

import marshal
import time

from plugin import cni
from plugin.entries import digest, location
from plugin.errors import CniError
from plugin.leases import records
from plugin.leases.allocation import Attempt
from plugin.leases.allocation import conclude as conclude_attempt
from plugin.process import to_bytes
from plugin.start.warm import PREFIX, key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugin.config.settings import Settings
    from plugin.plan import Plan
    from plugin.start.warm import Request

# Bytes of one answer and of all: a request may have 1 MiB, and the cache is in memory.
_LARGEST = 512 << 10
_ALL = 4 << 20
_FORMAT = 2  # of marshal: the same in all Pythons


def remember(
    request: cni.Request, chosen: Settings, plan: Plan, recorded: str, attempt: Attempt, answer: bytes
) -> None:
    """Store this answer, unless the warm path must not give it. It is valid until plan.until, while no guard changes.

    recorded: what records.record() returned.
    """
    stores = records.generation(request.environ)
    if not recorded or not stores[1] or not _is_memorable(request, chosen, plan):
        return
    known = key(request.program, request.environ, request.raw)
    guards = (*plan.files, stores)  # warm.Entry takes the last for that of the stores
    others = list(map(to_bytes, records.other_stores(request.environ, attempt.store, request.name)))
    given = plan.program, attempt.config, attempt.translated, answer, request.name
    body = marshal.dumps((time.time(), plan.until, guards, known, *given, recorded, others), _FORMAT)
    if len(body) <= _LARGEST:
        chosen.cache.write(PREFIX + digest(known), body)
    chosen.cache.prune(PREFIX, 300.0, _ALL)


def _is_memorable(request: cni.Request, chosen: Settings, plan: Plan) -> bool:
    """Return whether the warm path would do the same: it has no log, one cache directory, and no JSON parser."""
    is_usual = not chosen.log.file and chosen.cache.path == location(request.environ)
    named, mentioned = "ipv4-namespaces" in request.ipam(), b"ipv4-namespaces" in request.raw
    return is_usual and named == mentioned and plan.until > time.time()


def conclude(request: Request) -> tuple[int, bytes]:
    """Return (exit status, answer) for an ADD that warm.add() has handed to the next plugin, however that ended."""
    entry = request.entry
    assert entry
    attempt = Attempt(entry.program, request.environ, entry.config, entry.translated)

    def run() -> tuple[int, bytes]:
        if request.error:
            raise request.error
        return request.status, request.answer

    try:
        return conclude_attempt(attempt, run)
    except CniError as refusal:
        version = cni.NEWEST if entry.translated else cni.decode(entry.config).get("cniVersion", "")
        return 1, cni.error_answer(refusal, version)
