"""What the ordinary path does for the warm path: store a result, and finish a call that did not end as expected."""

from __future__ import annotations

import time

from plugin import cni
from plugin.cache import Cache, digest, pack
from plugin.errors import CniError
from plugin.leases.allocation import Attempt
from plugin.leases.allocation import conclude as conclude_attempt
from plugin.process import to_bytes
from plugin.start.warm import PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugin.leases.records import Recorded
    from plugin.plan import Plan
    from plugin.start.warm import Request

# Bytes of one answer and of all: a request may have 1 MiB, and the cache is in memory.
_LARGEST = 512 << 10
_ALL = 4 << 20


def remember(
    cache: Cache, known: bytes, plan: Plan, network: str, recorded: Recorded, attempt: Attempt, answer: bytes
) -> None:
    """Store this answer under the key. It is valid until plan.until, while the guard files are unchanged."""
    files = (*plan.files, *recorded.guards)
    guards = [field for path, seen in files for field in (to_bytes(path), seen.encode())]
    times = b"%f" % time.time(), b"%f" % plan.until
    others = pack(*map(to_bytes, recorded.others)) if recorded.others else b""
    how = to_bytes(plan.program), b"1" if attempt.translated else b"", recorded.name.encode(), network.encode(), others
    body = pack(*times, *how, known, attempt.config, answer, *guards)
    if len(body) <= _LARGEST:
        cache.write(PREFIX + digest(known), body)
    cache.prune(PREFIX, 300.0, _ALL)


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
