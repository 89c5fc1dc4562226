"""Judge leases: used, stale, or unknown.

A lease is used if any evidence says so: a process, a network namespace, an address inside one. It is stale only if none
does, all evidence can be examined, and the lease is older than the grace time.
"""

from __future__ import annotations

import os
import re
import time

from plugin.leases import records
from plugin.leases.evidence import results
from plugin.leases.evidence.namespaces import GONE, UNCERTAIN, Namespaces
from plugin.leases.evidence.processes import Processes
from plugin.leases.evidence.results import Results

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugin.leases.hostlocal import Lease
    from plugin.leases.records import Record

USED = "used"
NEW = "new"  # its ADD may still be running
STALE = "stale"
EMPTY = "empty"  # host-local was killed between creating the file and writing the container's id
UNKNOWN = "unknown"
STATES = (USED, NEW, STALE, EMPTY, UNKNOWN)

FOREIGN = "no result of libcni names the network or a container that has a lease in it"
# NewNetNS in internal/cri of containerd, pkg/netns.
_CONTAINERD = re.compile(r"(/var)?/run/netns/cni-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
GRACE = 600.0  # seconds after which an ADD has ended, one way or the other


class Verdict:
    """The state of a lease.

    evidence: the reason, for a person. is_proof: the container is certainly gone. leftover: path of its abandoned
    network namespace, which must be removed before the address is free. age: of the lease, see Evidence.age().
    """

    def __init__(self, state: str, evidence: str, is_proof: bool = False, leftover: str = "") -> None:
        self.age = 0.0
        self.state = state
        self.evidence = evidence
        self.is_proof = is_proof
        self.leftover = leftover


class Evidence:
    """All evidence, as of now.

    trouble: why libcni's results prove nothing; empty if they do. hidden: why processes or namespaces are not visible.
    """

    def __init__(self, found: Results, known: Sequence[Record]) -> None:
        self.results = found
        self.trouble = self.results.trouble
        self._processes = Processes()
        self._namespaces = Namespaces(self._processes.own, self._processes.runtimes)
        self.hidden = self._processes.trouble
        self._records: dict[str, list[Record]] = {}
        for record in known:
            self._records.setdefault(record.container, []).append(record)
        self._boot = _boot_time()

    def judge(self, network: str, leases: Sequence[Lease], named: bool = False) -> list[Verdict]:
        """Return a verdict on each lease of a store.

        named: the runtime that keeps the results certainly made the store; the operator or the plugin says so.
        """
        first = [self.liveness(lease, leftovers=False) for lease in leases]
        alive = {lease.container: found for lease, found in zip(leases, first) if lease.container and found}
        doubt = "" if named else self._foreign_store(network, leases)
        doubt = doubt or self._unknown_namespace(leases)
        verdicts = []
        for lease, own in zip(leases, first):
            found = own or alive.get(lease.container, "")
            verdict = Verdict(USED, found) if found else self._without_liveness(network, lease, doubt)
            verdict.age = self.age(lease)
            verdicts.append(verdict)
        return verdicts

    def age(self, lease: Lease) -> float:
        """Return seconds since the lease was made, by its file's time or a clock that cannot be set: the lower one."""
        recorded = self._records.get(lease.container, ())
        made = [each.made for each in recorded if lease.interface in ("", each.interface)]
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        return min([time.time() - lease.reserved, *(now - each for each in made)])

    def liveness(self, lease: Lease, leftovers: bool = True) -> str:
        """Return what shows that the container of a lease is alive or its address in use; empty if nothing does.

        leftovers: whether abandoned namespaces count.
        """
        if lease.trouble:
            return ""
        if lease.container:
            naming = self._processes.naming(lease.container)
            if naming:
                return f"{naming[0]} names the container"
            for path in self._paths(lease.container):
                if self._namespaces.find(path) not in (GONE, UNCERTAIN) and (leftovers or not self._is_leftover(path)):
                    return f"network namespace {path} exists"
        holder = self._processes.with_address(_packed(lease.address))
        return f"{holder} is in a network namespace that has the address" if holder else ""

    def _without_liveness(self, network: str, lease: Lease, doubt: str) -> Verdict:
        """Return the verdict on a lease without a sign of life."""
        if lease.trouble:
            return Verdict(UNKNOWN, lease.trouble)
        if self.age(lease) <= GRACE:
            return Verdict(NEW, f"its ADD may be running: {GRACE / 60:.0f} minutes have not passed")
        if self.hidden:
            return Verdict(UNKNOWN, self.hidden)
        if not lease.container:
            return Verdict(EMPTY, "it names no container", is_proof=True)
        return self._stale_or_unknown(network, lease, doubt)

    def _stale_or_unknown(self, network: str, lease: Lease, doubt: str) -> Verdict:
        """Return the verdict on a lease older than the grace time whose container no process names."""
        paths = self._paths(lease.container)
        for path in paths:
            if self._namespaces.find(path) == UNCERTAIN:
                return Verdict(UNKNOWN, f"network namespace {path} cannot be examined")
            if self._is_leftover(path):
                what = f"network namespace {path} was left behind: no process is in it, none names the container"
                return Verdict(STALE, what, is_proof=True, leftover=path)
        if paths:
            what = f"network namespace {paths[0]} is gone, no process names the container"
            return Verdict(STALE, what, is_proof=True)
        if any(result.made >= self._boot for result in self.results.of(lease.container)):
            return Verdict(UNKNOWN, "a result of libcni names the container, but no network namespace")
        if lease.reserved < self._boot and not doubt:
            what = "older than the last boot of this machine, no process names the container"
            return Verdict(STALE, what, is_proof=True)
        doubt = self.trouble or doubt
        if not doubt and lease.reserved < self.results.since(network):
            doubt = "older than the oldest result of libcni: its own may be lost"
        if doubt:
            return Verdict(UNKNOWN, doubt)
        return Verdict(STALE, "no result of libcni and no process names the container")

    def _is_leftover(self, path: str) -> bool:
        """Return whether containerd lost this namespace: it keeps a process in each namespace that it knows."""
        return (
            self._processes.has_pauses
            and _CONTAINERD.fullmatch(path) is not None
            and os.path.ismount(path)
            and not self._processes.has_process_in(self._namespaces.find(path))
        )

    def _paths(self, container: str) -> list[str]:
        """Return the paths of a container's network namespace, from libcni's results and our own records."""
        found = [path for result in self.results.of(container) for path in result.namespaces]
        found += [record.netns for record in self._records.get(container, ())]
        # Where a relative path starts is not known, so that it proves nothing.
        return [path for path in dict.fromkeys(found) if path.startswith("/")]

    def _foreign_store(self, network: str, leases: Sequence[Lease]) -> str:
        """Return FOREIGN if no result is about this store: programs for virtual machines keep theirs elsewhere."""
        is_known = self.results.has_network(network) or any(
            self.results.of(lease.container) for lease in leases if lease.container
        )
        return "" if self.trouble or is_known else FOREIGN

    def _unknown_namespace(self, leases: Sequence[Lease]) -> str:
        """Return a doubt if a mounted namespace belongs to no known container: it may belong to any of the leases."""
        containers = {lease.container for lease in leases} | self.results.containers() | self._records.keys()
        known = {process.namespace for each in containers for process in self._processes.naming(each)}
        known |= {self._namespaces.find(path) for each in containers for path in self._paths(each)}
        for path, inode in self._namespaces.mounted():
            if inode not in known:
                return f"network namespace {path} may be that of the container: nothing names its owner"
        return ""


def gather(environ: Mapping[str, str], found: Results | None = None) -> Evidence:
    """Return the evidence on this machine, with the records in this environment's cache."""
    return Evidence(found or Results(results.DIRECTORIES), list(records.everything(environ)))


def _boot_time() -> float:
    """Return when this machine was booted, in epoch seconds."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _packed(address: str) -> bytes:
    import ipaddress

    return ipaddress.ip_address(address).packed
