"""Release stale and empty leases; without --yes only list them.

A lease is stale if no process, network namespace or address shows that its container is alive, and it is older than ten
minutes. If the evidence is incomplete, the lease is kept and the reason printed. A network namespace that a killed
containerd left mounted is removed with the lease.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.leases.evidence import leftover, verdict
from plugin.ops import output
from plugin.ops.leases import attachments, forget, stores, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from plugin.leases.evidence.verdict import Evidence, Verdict
    from plugin.leases.hostlocal import Lease
    from plugin.ops.leases.stores import Store
    from plugin.ops.leases.usage import Usage

EXAMPLE = """\
node-ipam.pyz gc
node-ipam.pyz gc --yes
node-ipam.pyz gc --yes --results"""


@dataclass
class Found:
    """A lease and the verdict on it. gone: released."""

    store: Store
    lease: Lease
    verdict: Verdict
    gone: bool = False

    @property
    def is_kept(self) -> bool:
        """Return whether the lease is kept because its state is unknown."""
        return self.verdict.state == stores.UNKNOWN


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    usage.add_arguments(parser)
    parser.add_argument("--yes", action="store_true", help="release them")
    text = "with --yes, also remove the results of libcni that name the containers of released leases"
    parser.add_argument("--results", action="store_true", help=text)
    output.add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """List or release leases. The exit status is 1 if a lease was kept in doubt or something failed."""
    evidence = attachments.read(arguments.results_dir)
    found: list[Found] = []
    usages, troubles = usage.survey(arguments, evidence, os.environ)
    for each in usages:
        if each.doubt:
            troubles.append(doubt(each, evidence))
        found += release(each, evidence, bool(arguments.network), troubles) if arguments.yes else selected(each)
    removed = forget.results(evidence, _dead(found, usages), troubles) if arguments.results else []
    if arguments.output == "json":
        output.document(_document(found, removed, troubles))
    else:
        _print(found, removed, arguments.yes)
    return output.conclude(troubles)


def _dead(found: Sequence[Found], usages: Sequence[Usage]) -> set[str]:
    """Return the containers that had leases and have none now."""
    gone = {each.lease.container for each in found if each.gone}
    kept = {lease.container for each in usages for lease, judged in each if judged.state != stores.STALE}
    return gone - kept - {each.lease.container for each in found if not each.gone}


def doubt(one: Usage, evidence: Evidence) -> CniError:
    """Return an error about the leases that are kept in doubt."""
    count = one.count(stores.UNKNOWN) - sum(not lease.is_readable for lease in one.leases)
    details = "they are kept"
    if one.doubt != evidence.hidden:
        details += "; if the runtime keeps its results in another directory, name it: --results-dir"
    if one.doubt == verdict.FOREIGN:
        details += "; if all containers of the network are gone, name the network: gc NETWORK"
    msg = f"network {one.store.network}: {count} of {len(one.leases)} leases may be in use: {one.doubt}"
    return CniError(PLUGIN_FAILURE, msg, details)


def selected(one: Usage) -> list[Found]:
    """Return the leases to release and those to keep in doubt."""
    states = (stores.STALE, stores.EMPTY, stores.UNKNOWN)
    return [Found(one.store, lease, judged) for lease, judged in one if judged.state in states]


def release(one: Usage, evidence: Evidence, named: bool, troubles: list[CniError]) -> list[Found]:
    """Release leases: read, judge and remove them under host-local's lock, so that nothing changes in between.

    host-local's DEL would also release a newer lease of the same container, if that is being restarted. The evidence is
    older than the lock, which is safe: a lease of ten minutes ago had its process and its result by then.
    """
    try:
        with stores.locked(one.store):
            found = selected(usage.Usage(one.store, one.known, evidence, named))
            for each in found:
                if not each.is_kept:
                    _remove(each, troubles)
    except CniError as error:
        troubles.append(error)
        return []
    return found


def _remove(found: Found, troubles: list[CniError]) -> None:
    path = found.verdict.leftover
    try:
        if path:
            leftover.remove(path)
        path = os.path.join(found.store.path, found.lease.address)
        os.unlink(path)
        found.gone = True
        forget.record(found.lease, found.store.network)
    except OSError as error:
        troubles.append(CniError(PLUGIN_FAILURE, f"{path} cannot be removed: {error.strerror}", "run this as root"))


def _print(found: Sequence[Found], removed: Sequence[str], asked: bool) -> None:
    rows = [
        (
            each.store.network,
            each.lease.address,
            each.lease.container or "-",
            each.lease.interface or "-",
            output.age(stores.age(each.lease)),
            each.verdict.state,
            output.Status("released", output.OK.colour) if each.gone else "kept" if each.is_kept else "",
            each.verdict.evidence,
        )
        for each in found
    ]
    if rows:
        output.table(("NETWORK", "ADDRESS", "CONTAINER", "INTERFACE", "AGE", "STATE", "", "EVIDENCE"), rows)
    count = sum(not each.is_kept for each in found)
    if not count:
        output.line("nothing to release")
        return
    done = f"released: {sum(each.gone for each in found)}" if asked else "gc --yes releases them"
    output.line(f"stale and empty leases: {count}; {done}")
    if removed:
        output.line(f"results of libcni removed: {len(removed)}")


def _document(found: Sequence[Found], removed: Sequence[str], troubles: Sequence[CniError]) -> dict[str, object]:
    kept = [each for each in found if each.is_kept]
    return {
        "leases": [{**_record(each), "released": each.gone} for each in found if not each.is_kept],
        "kept": [_record(each) for each in kept],
        "removedResults": list(removed),
        "troubles": output.listed(troubles),
    }


def _record(found: Found) -> dict[str, object]:
    return usage.record(found.store, found.lease, found.verdict)
