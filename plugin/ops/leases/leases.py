"""Show how many addresses of each range are used and free, and which leases are stale.

A lease is stale if no process, network namespace or address shows that its container is alive, and it is older than ten
minutes. --all shows the evidence for each lease.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from plugin.leases.evidence.verdict import EMPTY, STALE, STATES, UNKNOWN, Evidence
from plugin.ops import output
from plugin.ops.leases import usage
from plugin.ops.leases.usage import Usage

EXAMPLE = """\
node-ipam.pyz leases
node-ipam.pyz leases k8snet --all
node-ipam.pyz leases -o prometheus"""
_HEADINGS = ("NETWORK", "RANGE", "USED", "FREE", "TOTAL", "STALE", "EMPTY")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    usage.add_arguments(parser)
    parser.add_argument(
        "--all", action="store_true", help="list every lease: address, container, interface, age, state, evidence"
    )
    output.add_format(parser, "prometheus")


def run(arguments: argparse.Namespace) -> int:
    """Print the leases. The exit status is 1 if some could not be read."""
    evidence = usage.evidence(arguments.results_dir)
    usages, troubles = usage.survey(arguments, evidence)
    if arguments.output == "json":
        output.document({**_document(usages, evidence, arguments.all), "troubles": output.listed(troubles)})
    elif arguments.output == "prometheus":
        _print_metrics(usages)
    elif usages:
        if arguments.all:
            entries = [entry for each in usages for entry in each.entries]
            output.table((*usage.HEADINGS, "EVIDENCE"), [(*each.row(), each.verdict.evidence) for each in entries])
        else:
            output.table(_HEADINGS, [row for each in usages for row in _rows(each)])
        for remark in _remarks(usages, evidence):
            output.line(output.printable(remark))
    elif not troubles:
        places = " and ".join(arguments.data_dir)
        never = "host-local was never used on this machine, or only with another dataDir"
        output.note(f"no leases below {places}" if places else f"no leases: {never}")
    return output.conclude(troubles)


def _rows(one: Usage) -> Iterator[tuple[object, ...]]:
    """Yield the cells under _HEADINGS."""
    network, known = one.store.network, one.known.spans
    for span in known:
        inside = one.inside(span)
        free, total = output.amount(one.free(span)), output.amount(span.total)
        yield (network, str(span), len(inside), free, total, *_doubtful(inside))
    rest = one.elsewhere()
    if rest or not known:
        yield (network, "elsewhere" if known else "unknown", len(rest), "?", "?", *_doubtful(rest))


def _doubtful(states: Sequence[str]) -> tuple[object, int]:
    """Return how many leases are stale and how many are empty."""
    return "?" if UNKNOWN in states else states.count(STALE), states.count(EMPTY)


def _remarks(usages: Sequence[Usage], evidence: Evidence) -> Iterator[str]:
    """Return the lines below the table."""
    for each in usages:
        network, known = each.store.network, each.known
        if not known.spans:
            last = ", ".join(each.store.last_reserved().values())
            yield f"{network}: range unknown ({known.trouble})" + (f"; last allocated: {last}" if last else "")
        elif each.elsewhere():
            yield f"{network}: leases elsewhere are of ranges that the network no longer has ({known.source})"
        empty = [entry.lease.address for entry in each.in_state(EMPTY)]
        if empty:
            yield f"{network}: empty lease files in {each.store.path}: {', '.join(empty)} (gc removes them)"
        if each.doubt and each.doubt != evidence.trouble:
            yield f"{network}: cannot tell which leases are stale: {each.doubt}"
    if evidence.trouble and any(each.doubt == evidence.trouble for each in usages):
        yield f"cannot tell which leases are stale: {evidence.trouble}; see --results-dir"


def _print_metrics(usages: Sequence[Usage]) -> None:
    """Print all metrics, for node_exporter's textfile collector."""
    ranges = [(_labels(usage, range=str(span)), usage, span) for usage in usages for span in usage.known.spans]
    output.gauge(
        "node_ipam_range_addresses",
        "Addresses that host-local can allocate from a range.",
        [(labels, span.total) for labels, _usage, span in ranges],
    )
    output.gauge(
        "node_ipam_range_used_addresses",
        "Addresses of a range that are leased.",
        [(labels, len(usage.inside(span))) for labels, usage, span in ranges],
    )
    output.gauge(
        "node_ipam_leases",
        "Leases by state: used, new, stale, empty, or unknown if the evidence is incomplete.",
        [(_labels(usage, state=state), usage.count(state)) for usage in usages for state in STATES],
    )


def _labels(usage: Usage, **more: str) -> dict[str, str]:
    return {"network": usage.store.network, "store": usage.store.path, **more}


def _document(usages: Sequence[Usage], evidence: Evidence, every: bool) -> dict[str, Any]:
    return {
        "networks": [_described(each, every) for each in usages],
        "results": {
            "directories": evidence.results.directories,
            "count": evidence.results.count,
            "trouble": evidence.trouble or None,
        },
    }


def _described(one: Usage, every: bool) -> dict[str, Any]:
    known = one.known
    value: dict[str, Any] = {
        "network": one.store.network,
        "store": one.store.path,
        "rangesFrom": known.source if known.spans else None,
        "rangesUnknown": None if known.spans else known.trouble,
        "ranges": [
            {
                "set": span.place,
                "subnet": span.subnet,
                "first": str(span.first),
                "last": str(span.last),
                "used": len(one.inside(span)),
                "free": one.free(span),
                "total": span.total,
            }
            for span in known.spans
        ],
        "elsewhere": len(one.elsewhere()),
        "lastReserved": {str(index): address for index, address in one.store.last_reserved().items()},
        "statesUnknown": one.doubt or None,
        "leases": {state: one.count(state) for state in STATES},
        "empty": [each.lease.address for each in one.in_state(EMPTY)],
    }
    if every:
        value["entries"] = [each.document() for each in one.entries]
    return value
