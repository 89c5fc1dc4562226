"""The use of the addresses in each store."""

from __future__ import annotations

import ipaddress
import os

from plugin.errors import IO_FAILURE, PLUGIN_FAILURE, CniError
from plugin.leases import hostlocal
from plugin.ops.leases import attachments, stores
from plugin.ops.networks import known_ranges, networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from plugin.addresses.spans import Span
    from plugin.leases.evidence.verdict import Evidence, Verdict
    from plugin.leases.hostlocal import Lease
    from plugin.ops.leases.stores import Store
    from plugin.ops.networks.known_ranges import Known


class Usage:
    """One store: its leases, the verdict on each, and the ranges they come from.

    doubt: why some of the states are unknown; empty if none is.
    """

    __slots__ = ("_addresses", "doubt", "known", "leases", "states", "store", "verdicts")

    def __init__(self, store: Store, known: Known, evidence: Evidence, named: bool = False) -> None:
        """named: the operator has named the network, see Evidence.judge()."""
        self.store = store
        self.known = known
        self.leases = store.leases()
        self.verdicts = evidence.judge(store.network, self.leases, named)
        self.states = [verdict.state for verdict in self.verdicts]
        doubts = [verdict.evidence for lease, verdict in self if lease.is_readable and verdict.state == stores.UNKNOWN]
        self.doubt = doubts[0] if doubts else ""
        self._addresses = [ipaddress.ip_address(lease.address) for lease in self.leases]

    def __iter__(self) -> Iterator[tuple[Lease, Verdict]]:
        return iter(zip(self.leases, self.verdicts))

    def count(self, state: str) -> int:
        """Return how many leases are in this state."""
        return self.states.count(state)

    @property
    def reclaimable(self) -> int:
        """Return how many leases an ADD releases if a range is full."""
        return sum(verdict.is_proof for verdict in self.verdicts)

    def in_state(self, state: str) -> list[Lease]:
        """Return the leases in this state."""
        return [lease for lease, verdict in self if verdict.state == state]

    def inside(self, span: Span) -> list[str]:
        """Return the states of the leases in one range."""
        return [state for address, state in zip(self._addresses, self.states) if address in span]

    def elsewhere(self) -> list[str]:
        """Return the states of the leases that are in no known range."""
        pairs = zip(self._addresses, self.states)
        return [state for address, state in pairs if not any(address in span for span in self.known.spans)]

    def free(self, span: Span) -> int:
        """Return how many addresses of one range are free. The gateway's address may be leased on request."""
        return max(span.total - len(self.inside(span)), 0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a command NETWORK, --data-dir, --results-dir and --conf-dir."""
    parser.add_argument("network", nargs="?", default="", metavar="NETWORK", help="only the network of this name")
    parser.add_argument(
        "--data-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="where host-local keeps its leases, in a directory for each network; may be given more than once "
        f"(default: {hostlocal.DATA_DIR} and every dataDir of a CNI configuration or of a recorded pod)",
    )
    attachments.add_results_dir(parser)
    networks.add_conf_dir(parser)


def survey(
    arguments: argparse.Namespace, evidence: Evidence, environ: Mapping[str, str]
) -> tuple[list[Usage], list[CniError]]:
    """Return the stores that the arguments select, and errors. Raises CniError for a network without a store."""
    configured, troubles = networks.scan(arguments.conf_dir)
    bin_dirs = environ.get("CNI_PATH") or os.pathsep.join(networks.BIN_DIRS)
    found, unread = stores.find(arguments.data_dir, configured, environ, bin_dirs, arguments.network)
    troubles += unread
    if arguments.network and not found:
        if troubles:
            raise troubles[0]
        where = (
            " or ".join(arguments.data_dir)
            or f"{hostlocal.DATA_DIR} or a dataDir of a CNI configuration or of a recorded pod"
        )
        details = "name the data directory with --data-dir; without NETWORK all networks are shown"
        raise CniError(PLUGIN_FAILURE, f"network {arguments.network} has no leases in {where}", details)
    named = bool(arguments.network)
    usages = [
        Usage(store, known_ranges.ranges(store, configured, environ, bin_dirs), evidence, named) for store in found
    ]
    troubles += [trouble for each in usages for trouble in _unreadable(each)]
    return _shown(usages, named), troubles


def _shown(usages: Sequence[Usage], named: bool) -> list[Usage]:
    """Return the stores to show. host-local makes a store wherever a DEL looks for a lease.

    Of a network without leases, one store is shown if its ranges are known, or if the operator has named the network.
    """
    leased = {each.store.network for each in usages if each.leases}
    empty: dict[str, Usage] = {}
    for each in sorted(usages, key=lambda each: each.store.data_dir == hostlocal.DATA_DIR):
        if (each.known.spans or named) and each.store.network not in leased:
            empty.setdefault(each.store.network, each)
    return [each for each in usages if each.leases or each is empty.get(each.store.network)]


def _unreadable(one: Usage) -> Iterator[CniError]:
    unreadable = [lease for lease in one.leases if not lease.is_readable]
    links = [lease for lease in unreadable if os.path.islink(os.path.join(one.store.path, lease.address))]
    for lease in links:
        details = "host-local makes no links there: see who made it, and remove it"
        yield CniError(IO_FAILURE, f"network {one.store.network}: {lease.trouble}", details)
    count = len(unreadable) - len(links)
    if count:
        msg = f"network {one.store.network}: leases in {one.store.path} that cannot be read: {count}"
        yield CniError(IO_FAILURE, msg, "run this as root")


def record(store: Store, lease: Lease, verdict: Verdict) -> dict[str, object]:
    """Return a lease as an object."""
    return {
        "network": store.network,
        "address": lease.address,
        "container": lease.container or None,
        "interface": lease.interface or None,
        "age": round(stores.age(lease)),
        "state": verdict.state,
        "evidence": verdict.evidence,
    }
