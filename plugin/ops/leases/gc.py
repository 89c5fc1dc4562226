"""Release leases that nobody uses any more; without --yes they are only shown.

A lease older than ten minutes is released when no result of libcni names its container, or when it is empty: reserved
by a host-local that was killed before it wrote whose it is. Where libcni has no results nothing is released, and
nothing of a network that no result speaks of, unless that is named.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.ops import output
from plugin.ops.leases import attachments, stores, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from plugin.hostlocal import Lease
    from plugin.ops.leases.attachments import Attachments
    from plugin.ops.leases.stores import Store
    from plugin.ops.leases.usage import Usage

EXAMPLE = """\
node-ipam.pyz gc
node-ipam.pyz gc --yes"""


@dataclass
class Found:
    """A lease that can go. gone: it has."""

    store: Store
    lease: Lease
    state: str
    gone: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What this command takes."""
    usage.add_arguments(parser)
    parser.add_argument("--yes", action="store_true", help="release them")
    output.add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show or release; the exit status is 1 if something stands in the way."""
    attached = attachments.read(arguments.results_dir)
    found: list[Found] = []
    usages, troubles = usage.survey(arguments, attached, os.environ)
    for each in usages:
        trouble = doubt(each, attached, bool(arguments.network))
        if trouble:
            troubles.append(trouble)
        elif arguments.yes:
            found += release(each.store, attached, troubles)
        else:
            found += removable(each.store, attached)
    if arguments.output == "json":
        output.document(_document(found, troubles))
    else:
        _print(found, arguments.yes)
    return output.conclude(troubles)


def doubt(one: Usage, attached: Attachments, named: bool) -> CniError | None:
    """Why nothing of this store may be released; None when there is no such reason.

    named: the operator has named the network, so its leases are libcni's.
    """
    if not one.leases or not one.doubt or (named and not attached.trouble):
        return None
    details = "nothing is released; name the directory with the runtime's results: --results-dir"
    if not attached.trouble:
        details += "; or, if all of its containers are gone, the network: gc NETWORK"
    msg = f"network {one.store.network}: which leases are in use cannot be told: {one.doubt}"
    return CniError(PLUGIN_FAILURE, msg, details)


def removable(store: Store, attached: Attachments) -> list[Found]:
    """What can go, as things stand now."""
    states = ((lease, stores.state(lease, attached)) for lease in store.leases())
    return [Found(store, lease, state) for lease, state in states if state in (stores.STALE, stores.EMPTY)]


def release(store: Store, attached: Attachments, troubles: list[CniError]) -> list[Found]:
    """Remove what can go: one look and all removals under host-local's lock, so that nothing changes in between.

    Not by host-local's DEL, which frees whatever this container and interface have when it gets the lock; if the
    container is being started anew, that is an address of a moment ago. The results were read before, which does no
    harm: a lease of ten minutes ago had its result by then, if it was ever to have one.
    """
    try:
        with stores.locked(store):
            found = removable(store, attached)
            for each in found:
                _remove(each, troubles)
    except CniError as error:
        troubles.append(error)
        return []
    return found


def _remove(found: Found, troubles: list[CniError]) -> None:
    path = os.path.join(found.store.path, found.lease.address)
    try:
        os.unlink(path)
        found.gone = True
    except OSError as error:
        troubles.append(CniError(PLUGIN_FAILURE, f"{path} cannot be removed: {error.strerror}", "run this as root"))


def _print(found: Sequence[Found], asked: bool) -> None:
    if not found:
        output.line("nothing to release")
        return
    rows = [
        (
            each.store.network,
            each.lease.address,
            each.lease.container or "-",
            each.lease.interface or "-",
            output.age(stores.age(each.lease)),
            each.state,
            output.Status("released", output.OK.colour) if each.gone else "",
        )
        for each in found
    ]
    output.table(("NETWORK", "ADDRESS", "CONTAINER", "INTERFACE", "AGE", "STATE", ""), rows)
    done = f"released: {sum(each.gone for each in found)}" if asked else "gc --yes releases them"
    output.line(f"leases that nobody uses: {len(found)}; {done}")


def _document(found: Sequence[Found], troubles: Sequence[CniError]) -> dict[str, object]:
    return {
        "leases": [{**usage.record(each.store, each.lease, each.state), "released": each.gone} for each in found],
        "troubles": output.listed(troubles),
    }
