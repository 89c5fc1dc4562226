"""Release stale and empty leases; without --yes only list them.

A lease is stale if no process, network namespace or address shows that its container is alive, and it is older than ten
minutes. If the evidence is incomplete, the lease is kept and the reason printed. A network namespace that a killed
containerd left mounted is removed with the lease.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Sequence

from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.leases import reclaim, storelock
from plugin.leases.evidence import verdict
from plugin.leases.evidence.verdict import Evidence
from plugin.ops import output
from plugin.ops.leases import usage
from plugin.ops.leases.usage import Entry, Usage

EXAMPLE = """\
node-ipam.pyz gc
node-ipam.pyz gc --yes
node-ipam.pyz gc --yes --results"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    usage.add_arguments(parser)
    parser.add_argument("--yes", action="store_true", help="release them")
    text = "with --yes, also remove the results of libcni that name the containers of released leases"
    parser.add_argument("--results", action="store_true", help=text)
    output.add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """List or release leases. The exit status is 1 if a lease was kept in doubt or something failed."""
    evidence = usage.evidence(arguments.results_dir)
    found: list[Entry] = []
    usages, troubles = usage.survey(arguments, evidence)
    for each in usages:
        if each.doubt:
            troubles.append(_doubt(each, evidence))
        found += _release(each, evidence, bool(arguments.network), troubles) if arguments.yes else _selected(each)
    removed = _remove_results(evidence, _dead(found, usages), troubles) if arguments.results else []
    if arguments.output == "json":
        output.document(_document(found, removed, troubles))
    else:
        _print(found, removed, arguments.yes)
    return output.conclude(troubles)


def _doubt(one: Usage, evidence: Evidence) -> CniError:
    """Return an error about the leases that are kept in doubt."""
    count = sum(not each.lease.trouble for each in one.in_state(verdict.UNKNOWN))
    details = "they are kept"
    if one.doubt != evidence.hidden:
        details += "; if the runtime keeps its results in another directory, name it: --results-dir"
    if one.doubt == verdict.FOREIGN:
        details += "; if all containers of the network are gone, name the network: gc NETWORK"
    msg = f"network {one.store.network}: {count} of {len(one.entries)} leases may be in use: {one.doubt}"
    return CniError(PLUGIN_FAILURE, msg, details)


def _selected(one: Usage) -> list[Entry]:
    """Return the leases to release and those to keep in doubt."""
    return [each for each in one.entries if each.state in (verdict.STALE, verdict.EMPTY, verdict.UNKNOWN)]


def _is_kept(entry: Entry) -> bool:
    return entry.state == verdict.UNKNOWN


def _release(one: Usage, evidence: Evidence, is_named: bool, troubles: list[CniError]) -> list[Entry]:
    """Release leases: read, judge and remove them under host-local's lock, so that nothing changes in between.

    host-local's DEL would also release a newer lease of the same container, if that is being restarted. The evidence is
    older than the lock, which is safe: a lease of ten minutes ago had its process and its result by then.
    """
    try:
        with storelock.Locked(one.store.path, storelock.SECONDS):
            found = _selected(Usage(one.store, evidence, one.known, is_named))
            for each in found:
                if not _is_kept(each):
                    _remove(each, troubles)
    except CniError as error:
        troubles.append(error)
        return []
    return found


def _remove(entry: Entry, troubles: list[CniError]) -> None:
    try:
        reclaim.remove(entry.store.path, entry.lease, entry.verdict, os.environ)
        entry.is_released = True
    except OSError as error:
        troubles.append(_not_removed(error))


def _dead(found: Sequence[Entry], usages: Sequence[Usage]) -> set[str]:
    """Return the containers that had leases and have none now."""
    released = {each.lease.container for each in found if each.is_released}
    kept = {each.lease.container for one in usages for each in one.entries if each.state != verdict.STALE}
    return released - kept - {each.lease.container for each in found if not each.is_released}


def _remove_results(evidence: Evidence, containers: set[str], troubles: list[CniError]) -> list[str]:
    """Remove libcni's results that name these containers, and return their paths."""
    removed = []
    for result in (each for container in sorted(containers) for each in evidence.results.of(container)):
        try:
            with contextlib.suppress(FileNotFoundError):  # the runtime can remove it at the same moment
                os.unlink(result.path)
            removed.append(result.path)
        except OSError as error:
            troubles.append(_not_removed(error))
    return removed


def _not_removed(error: OSError) -> CniError:
    return CniError(PLUGIN_FAILURE, f"{error.filename} cannot be removed: {error.strerror}", "run this as root")


def _print(found: Sequence[Entry], removed: Sequence[str], is_asked: bool) -> None:
    added = ("OUTCOME", "EVIDENCE") if is_asked else ("EVIDENCE",)
    rows = [(*each.row(), *(_outcome(each), each.verdict.evidence)[-len(added) :]) for each in found]
    if rows:
        output.table((*usage.HEADINGS, *added), rows)
    count = sum(not _is_kept(each) for each in found)
    if not count:
        output.line("nothing to release")
        return
    done = f"released: {sum(each.is_released for each in found)}" if is_asked else "gc --yes releases them"
    output.line(f"stale and empty leases: {count}; {done}")
    if removed:
        output.line(f"results of libcni removed: {len(removed)}")


def _outcome(entry: Entry) -> str:
    """Return what --yes has done with this lease."""
    if entry.is_released:
        return output.Status("released", output.OK.colour)
    return "kept" if _is_kept(entry) else output.Status("failed", output.FAIL.colour)


def _document(found: Sequence[Entry], removed: Sequence[str], troubles: Sequence[CniError]) -> dict[str, object]:
    return {
        "leases": [{**each.document(), "released": each.is_released} for each in found if not _is_kept(each)],
        "kept": [each.document() for each in found if _is_kept(each)],
        "removedResults": list(removed),
        "troubles": output.listed(troubles),
    }
