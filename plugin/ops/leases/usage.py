"""The leases of each store, the evidence on them, and the use of the ranges they come from."""

from __future__ import annotations

import argparse
import ipaddress
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from plugin.addresses.spans import Span
from plugin.errors import IO_FAILURE, PLUGIN_FAILURE, CniError
from plugin.leases import hostlocal
from plugin.leases.evidence import results, verdict
from plugin.leases.evidence.results import Results
from plugin.leases.evidence.verdict import Evidence, Verdict
from plugin.leases.hostlocal import Lease
from plugin.ops import output
from plugin.ops.leases import stores
from plugin.ops.leases.stores import Store
from plugin.ops.networks import known_ranges, networks
from plugin.ops.networks.known_ranges import Known

HEADINGS = ("NETWORK", "ADDRESS", "CONTAINER", "INTERFACE", "AGE", "STATE")


@dataclass
class Entry:
    """A lease in a store, and the verdict on it. is_released: gc has removed it."""

    store: Store
    lease: Lease
    verdict: Verdict
    is_released: bool = False

    @property
    def state(self) -> str:
        """One of the states in verdict.py."""
        return self.verdict.state

    def row(self) -> tuple[object, ...]:
        """Return the cells under HEADINGS."""
        lease, state = self.lease, self.state
        word = output.Status(state, output.WARN.colour) if state in (verdict.STALE, verdict.EMPTY) else state
        age = output.age(self.verdict.age)
        return self.store.network, lease.address, lease.container or "-", lease.interface or "-", age, word

    def document(self) -> dict[str, object]:
        """Return it as an object for a JSON document."""
        return {
            "network": self.store.network,
            "address": self.lease.address,
            "container": self.lease.container or None,
            "interface": self.lease.interface or None,
            "age": round(self.verdict.age),
            "state": self.state,
            "evidence": self.verdict.evidence,
        }


class Usage:
    """One store: its leases with the verdict on each, and the ranges they come from.

    doubt: why some of the states are unknown; empty if none is.
    """

    def __init__(self, store: Store, evidence: Evidence, known: Known, is_named: bool = False) -> None:
        """is_named: the operator has named the network, see Evidence.judge()."""
        self.store = store
        self.known = known
        leases = store.leases()
        judged = zip(leases, evidence.judge(store.network, leases, is_named))
        self.entries = [Entry(store, lease, verdict) for lease, verdict in judged]
        doubts = [each.verdict.evidence for each in self.in_state(verdict.UNKNOWN) if not each.lease.trouble]
        self.doubt = doubts[0] if doubts else ""
        self._addresses = [ipaddress.ip_address(lease.address) for lease in leases]

    def count(self, state: str) -> int:
        """Return how many leases are in this state."""
        return len(self.in_state(state))

    @property
    def reclaimable(self) -> int:
        """Return how many leases an ADD releases if a range is full."""
        return sum(each.verdict.is_proof for each in self.entries)

    def in_state(self, state: str) -> list[Entry]:
        """Return the leases in this state."""
        return [each for each in self.entries if each.state == state]

    def inside(self, span: Span) -> list[str]:
        """Return the states of the leases in one range."""
        return [each.state for address, each in zip(self._addresses, self.entries) if address in span]

    def elsewhere(self) -> list[str]:
        """Return the states of the leases that are in no known range."""
        pairs = zip(self._addresses, self.entries)
        return [each.state for address, each in pairs if not any(address in span for span in self.known.spans)]

    def free(self, span: Span) -> int:
        """Return how many addresses of one range are free. The gateway's address may be leased on request."""
        return max(span.total - len(self.inside(span)), 0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a command NETWORK, --data-dir, --results-dir and --conf-dir."""
    parser.add_argument("network", nargs="?", default="", metavar="NETWORK", help="only the network of this name")
    text = "where host-local keeps its leases, in a directory for each network; may be repeated (default: "
    text += f"{hostlocal.DATA_DIR} and every dataDir of a CNI configuration or of a recorded pod)"
    parser.add_argument("--data-dir", action="append", default=[], metavar="DIR", help=text)
    add_results_dir(parser)
    networks.add_conf_dir(parser)


def add_results_dir(parser: argparse.ArgumentParser) -> None:
    """Give a command --results-dir."""
    usual = " and ".join(results.DIRECTORIES)
    text = f"a directory in which libcni keeps results; may be repeated (in addition to {usual})"
    parser.add_argument("--results-dir", action="append", default=[], metavar="DIR", help=text)


def evidence(results_dirs: Sequence[str]) -> Evidence:
    """Return all evidence on leases. Each of the named directories must hold results."""
    directories = [*dict.fromkeys((*results_dirs, *results.DIRECTORIES))]
    return verdict.gather(os.environ, Results(directories, results_dirs))


def survey(arguments: argparse.Namespace, evidence: Evidence) -> tuple[list[Usage], list[CniError]]:
    """Return the stores that the arguments select, and errors. Raises CniError for a network without a store."""
    environ = {**os.environ, "CNI_PATH": os.environ.get("CNI_PATH") or os.pathsep.join(networks.BIN_DIRS)}
    configured, troubles = networks.scan(arguments.conf_dir)
    found, unread = stores.find(arguments.data_dir, configured, environ, arguments.network)
    troubles += unread
    if arguments.network and not found:
        if troubles:
            raise troubles[0]
        where = " or ".join(arguments.data_dir) or "the data directories that are known"
        details = "name the data directory with --data-dir; without NETWORK all networks are shown"
        raise CniError(PLUGIN_FAILURE, f"network {arguments.network} has no leases in {where}", details)
    is_named = bool(arguments.network)
    usages = [Usage(store, evidence, known_ranges.ranges(store, configured, environ), is_named) for store in found]
    troubles += [trouble for each in usages for trouble in _unreadable(each)]
    return _shown(usages, is_named), troubles


def _shown(usages: Sequence[Usage], is_named: bool) -> list[Usage]:
    """Return the stores to show. host-local makes a store wherever a DEL looks for a lease.

    Of a network without leases, one store is shown if its ranges are known, or if the operator has named the network.
    """
    leased = {each.store.network for each in usages if each.entries}
    empty: dict[str, Usage] = {}
    for each in sorted(usages, key=lambda each: each.store.data_dir == hostlocal.DATA_DIR):
        if (each.known.spans or is_named) and each.store.network not in leased:
            empty.setdefault(each.store.network, each)
    return [each for each in usages if each.entries or each is empty.get(each.store.network)]


def _unreadable(one: Usage) -> Iterator[CniError]:
    unreadable = [each.lease for each in one.entries if each.lease.trouble]
    links = [lease for lease in unreadable if os.path.islink(os.path.join(one.store.path, lease.address))]
    for lease in links:
        details = "host-local makes no links there: see who made it, and remove it"
        yield CniError(IO_FAILURE, f"network {one.store.network}: {lease.trouble}", details)
    count = len(unreadable) - len(links)
    if count:
        msg = f"network {one.store.network}: leases in {one.store.path} that cannot be read: {count}"
        yield CniError(IO_FAILURE, msg, "run this as root")
