"""What the warm path leaves to the ordinary way: to store an answer, and to go on when the next plugin ends oddly."""

from __future__ import annotations

import time

from plugin import cni, delegate
from plugin.cache import Cache, digest, pack
from plugin.errors import CniError
from plugin.process import to_bytes
from plugin.start.warm import NEWEST, OLDER, PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugin.plan import Plan
    from plugin.start.warm import Request


def translated_back(answer: bytes) -> bytes:
    """A result in the older version as one in the newest: what both say is the same."""
    if answer.count(OLDER) == 1:
        return answer.replace(OLDER, NEWEST)
    return cni.encode({**cni.decode(answer), "cniVersion": cni.NEWEST})


def remember(cache: Cache, known: bytes, plan: Plan, config: bytes, translated: bool, answer: bytes) -> None:
    """Store this answer under the key. It is valid until plan.until, while the guard files are unchanged."""
    guards = [field for path, seen in plan.files for field in (to_bytes(path), seen.encode())]
    times = b"%f" % time.time(), b"%f" % plan.until
    fields = to_bytes(plan.program), b"1" if translated else b"", plan.used.encode(), known, config, answer
    cache.write(PREFIX + digest(known), pack(*times, *fields, *guards))
    cache.prune(PREFIX, 300.0)


def conclude(request: Request) -> tuple[int, bytes]:
    """Return (exit status, answer) for an ADD that warm.add() has handed to the next plugin, however that ended."""
    entry, error = request.entry, request.error
    assert entry
    try:
        if error:
            return delegate.interrupted(error, entry.program, request.environ, entry.config)
        status, answer = delegate.conclude(request.status, request.answer, entry.program, request.environ, entry.config)
    except CniError as refusal:
        version = cni.NEWEST if entry.translated else cni.decode(entry.config).get("cniVersion", "")
        return 1, cni.error_answer(refusal, version)
    return status, translated_back(answer) if entry.translated and status == 0 else answer
