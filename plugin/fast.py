"""A request seen before: its bytes are compared, the known configuration goes to the next plugin, nothing is parsed."""

from __future__ import annotations

import time

from plugin import process
from plugin.cache import Cache, attachment, digest, location, pack, signature, unpack
from plugin.process import argument, to_bytes, to_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugin.plan import Plan

PREFIX = "warm-"
NEWEST = b'"cniVersion": "1.1.0"'
# What host-local is told in its place, and says in its answer: before 1.6 it refuses 1.1.0.
OLDER = b'"cniVersion": "1.0.0"'

# What decides the answer, the request aside.
_VARIABLES = ("CNI_PATH", "PATH", "HOME", "KUBECONFIG", "NODE_NAME", "NODE_ANNOTATION_CFG")


def key(plugin: str, environ: Mapping[str, str], raw: bytes) -> bytes:
    """All that the answer to a request depends on."""
    values = [plugin, *(environ.get(name, "") for name in _VARIABLES)]
    values.append(argument(environ, "K8S_POD_NAMESPACE") if b"ipv4-namespaces" in raw else "")
    return pack(*map(to_bytes, values), raw)


def translated_back(answer: bytes) -> bytes:
    """A result in the older version as one in the newest: what both say is the same."""
    if answer.count(OLDER) == 1:
        return answer.replace(OLDER, NEWEST)
    from plugin import cni

    return cni.encode({**cni.decode(answer), "cniVersion": cni.NEWEST})


def remember(cache: Cache, known: bytes, plan: Plan, config: bytes, translated: bool, answer: bytes) -> None:
    """Let requests with this key be answered as this one was, until plan.until and as long as its files stay so."""
    guards = [field for path, seen in plan.files for field in (to_bytes(path), seen.encode())]
    times = b"%f" % time.time(), b"%f" % plan.until
    fields = to_bytes(plan.program), b"1" if translated else b"", plan.used.encode(), known, config, answer
    cache.write(PREFIX + digest(known), pack(*times, *fields, *guards))
    cache.prune(PREFIX, 300.0)


def add(program: str, environ: Mapping[str, str], raw: bytes) -> tuple[int, bytes] | None:
    """Answer an ADD whose like was answered a moment ago; None when the ordinary way has to be gone."""
    cache = Cache(location(environ))
    known = key(program, environ, raw)
    entry = cache.read(PREFIX + digest(known))
    if entry is None:
        return None
    made, until, following, translated, used, same, config, answer, *guards = unpack(entry)
    # A clock that was set back must not make an entry last.
    if same != known or not float(made) <= time.time() < float(until):
        return None
    if any(signature(to_text(path)).encode() != seen for path, seen in zip(guards[::2], guards[1::2])):
        return None
    # Linked first: what has a link is not pruned.
    if used and not (cache.link(attachment(environ), used.decode()) and cache.has(used.decode())):
        return None
    return _hand_over(to_text(following), environ, config, bool(translated), answer)


def _hand_over(
    program: str, environ: Mapping[str, str], config: bytes, translated: bool, last: bytes
) -> tuple[int, bytes] | None:
    """Run the next plugin. An answer like the last one passes unread, any other is looked at as in the ordinary way."""
    interruption = None
    status, answer = 1, b""
    try:
        status, answer = process.run(program, [program], environ, config)
    except FileNotFoundError:
        return None
    except BaseException as error:
        interruption = error
    if status == 0:
        named = answer.replace(OLDER, NEWEST) if translated else answer
        if _alike(named, last):
            return 0, named
    from plugin import cni, delegate
    from plugin.errors import CniError

    try:
        if interruption:
            return delegate.interrupted(interruption, program, environ, config)
        status, answer = delegate.conclude(status, answer, program, environ, config)
    except CniError as error:
        return 1, cni.error_answer(error, cni.NEWEST if translated else cni.decode(config).get("cniVersion", ""))
    return status, translated_back(answer) if translated and status == 0 else answer


def _alike(answer: bytes, last: bytes) -> bool:
    """Whether two results are the same but for the addresses, line by line."""
    lines, others = answer.split(b"\n"), last.split(b"\n")
    return len(lines) == len(others) and all(
        line == other or _same_but_address(line.split(b'"'), other.split(b'"')) for line, other in zip(lines, others)
    )


def _same_but_address(line: list[bytes], other: list[bytes]) -> bool:
    """Whether two lines, cut at their quotes, have an address of their own each and are the same else."""
    if len(line) != 5 or len(other) != 5 or line[1] != b"address":
        return False
    addresses = line[3] + other[3]
    return line[:3] == other[:3] and line[4] == other[4] and not addresses.strip(b"0123456789abcdef.:/")
