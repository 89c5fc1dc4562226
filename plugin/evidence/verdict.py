"""Judge leases: is the container alive that holds them? In doubt it may be.

A lease is in use if any witness says so: a process, a network namespace, an address inside one. It is stale only if
none does, all of them can be heard, and it is older than the grace time.
"""

from __future__ import annotations

import os
import re
import time

from plugin.evidence import namespaces, results
from plugin.evidence.namespaces import GONE, UNCERTAIN, Namespaces
from plugin.evidence.processes import Processes
from plugin.evidence.results import Results

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plugin.hostlocal import Lease

USED = "used"
NEW = "new"  # its ADD may still be running
STALE = "stale"
EMPTY = "empty"  # host-local was killed between creating the file and writing the container's id
UNKNOWN = "unknown"
STATES = (USED, NEW, STALE, EMPTY, UNKNOWN)

# NewNetNS in internal/cri of containerd, pkg/netns.
_CONTAINERD = re.compile(r"(/var)?/run/netns/cni-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
GRACE = 600.0  # seconds after which an ADD has ended, one way or the other


class Verdict:
    """The state of a lease.

    evidence: why, for a person. is_proof: the container is certainly gone. leftover: path of its network namespace,
    which has to be removed before the address is free.
    """

    __slots__ = ("evidence", "is_proof", "leftover", "state")

    def __init__(self, state: str, evidence: str, is_proof: bool = False, leftover: str = "") -> None:
        self.state = state
        self.evidence = evidence
        self.is_proof = is_proof
        self.leftover = leftover


class Record:
    """What our own ADD has recorded. netns: path of the network namespace. made: seconds of CLOCK_BOOTTIME."""

    __slots__ = ("container", "interface", "made", "netns")

    def __init__(self, container: str, interface: str, netns: str, made: float) -> None:
        self.container = container
        self.interface = interface
        self.netns = netns
        self.made = made


class Evidence:
    """All witnesses, as of now.

    trouble: why libcni's results are no witness; blindness: why processes and namespaces are none; empty if they are.
    """

    def __init__(self, found: Results | None = None, records: Sequence[Record] = ()) -> None:
        self.results = Results(results.DIRECTORIES) if found is None else found
        self.trouble = self.results.trouble
        self._processes = Processes()
        self._namespaces = Namespaces(self._processes.own, self._processes.runtimes)
        self.blindness = self._processes.trouble or self._namespaces.trouble
        self._records: dict[str, list[Record]] = {}
        for record in records:
            self._records.setdefault(record.container, []).append(record)
        self._boot = _boot_time()

    def judge(self, network: str, leases: Sequence[Lease], named: bool = False) -> list[Verdict]:
        """A verdict on each lease of a store.

        named: the operator has named the network, so the runtime that keeps the results also made the store.
        """
        first = [self.life(lease, leftovers=False) for lease in leases]
        alive = {lease.container: found for lease, found in zip(leases, first) if lease.container and found}
        strangers = self._doubt_of_store(network, leases) if not named else ""
        strangers = strangers or self._unknown_namespace(leases)
        verdicts = []
        for lease, own in zip(leases, first):
            found = own or alive.get(lease.container, "")
            verdicts.append(Verdict(USED, found) if found else self._without_life(network, lease, strangers))
        return verdicts

    def life(self, lease: Lease, leftovers: bool = True) -> str:
        """What shows that the container of a lease is alive, or that its address is in use; empty if nothing does.

        leftovers: whether namespaces that a runtime has forgotten count.
        """
        if not lease.is_readable:
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

    def _without_life(self, network: str, lease: Lease, strangers: str) -> Verdict:
        """For a lease that no witness calls alive."""
        if not lease.is_readable:
            return Verdict(UNKNOWN, lease.trouble)
        if not self._is_settled(lease):
            return Verdict(NEW, f"its ADD may be running: {GRACE / 60:.0f} minutes have not passed")
        if self.blindness:
            return Verdict(UNKNOWN, self.blindness)
        if not lease.container:
            return Verdict(EMPTY, "it names no container", is_proof=True)
        return self._dead(network, lease, strangers)

    def _dead(self, network: str, lease: Lease, strangers: str) -> Verdict:
        """For a settled lease whose container no process names."""
        paths = self._paths(lease.container)
        for path in paths:
            if self._namespaces.find(path) == UNCERTAIN:
                return Verdict(UNKNOWN, f"network namespace {path} cannot be examined")
            if self._is_leftover(path):
                what = f"network namespace {path} was left behind: no process is in it or names the container"
                return Verdict(STALE, what, leftover=path)
        if paths:
            what = f"network namespace {paths[0]} is gone, no process names the container"
            return Verdict(STALE, what, is_proof=True)
        if any(result.made >= self._boot for result in self.results.of(lease.container)):
            return Verdict(UNKNOWN, "a result of libcni names the container, but no network namespace")
        if lease.reserved < self._boot and not strangers:
            what = "older than the last boot of this machine, no process names the container"
            return Verdict(STALE, what, is_proof=True)
        doubt = self.trouble or strangers
        if not doubt and lease.reserved < self.results.since(network):
            doubt = "older than the oldest result of libcni: its own may be lost"
        if doubt:
            return Verdict(UNKNOWN, doubt)
        return Verdict(STALE, "no result of libcni and no process names the container")

    def _is_leftover(self, path: str) -> bool:
        """Whether a runtime made this namespace and has forgotten it: it keeps a process in those that it knows."""
        return (
            self._processes.has_pauses
            and _CONTAINERD.fullmatch(path) is not None
            and os.path.ismount(path)
            and not self._processes.is_inhabited(self._namespaces.find(path))
        )

    def _is_settled(self, lease: Lease) -> bool:
        """Whether the grace time has passed, by the time of the file and by a clock that nobody can set."""
        if time.time() - lease.reserved <= GRACE:
            return False
        made = [each.made for each in self._records.get(lease.container, ()) if each.interface == lease.interface]
        return not made or time.clock_gettime(time.CLOCK_BOOTTIME) - max(made) > GRACE

    def _paths(self, container: str) -> list[str]:
        """The network namespace of a container, by libcni's results and by our own records."""
        found = [path for result in self.results.of(container) for path in result.namespaces]
        found += [record.netns for record in self._records.get(container, ()) if record.netns]
        return list(dict.fromkeys(found))

    def _doubt_of_store(self, network: str, leases: Sequence[Lease]) -> str:
        """Why the results may be those of another runtime; empty if some are about this store.

        Programs for virtual machines, for example, use host-local, too, and keep results elsewhere.
        """
        if self.trouble or self.results.has_network(network):
            return ""
        if any(self.results.of(lease.container) for lease in leases if lease.container):
            return ""
        return "no result of libcni names the network or a container that has a lease in it"

    def _unknown_namespace(self, leases: Sequence[Lease]) -> str:
        """A network namespace of an unknown container: it may be that of any lease without other evidence."""
        known = set(self._known_namespaces(leases))
        for path, inode in self._namespaces.mounted():
            if inode not in known:
                return f"network namespace {path} may be that of the container: nothing says whose it is"
        return ""

    def _known_namespaces(self, leases: Sequence[Lease]) -> Iterator[int]:
        for container in {lease.container for lease in leases} | self.results.containers() | self._records.keys():
            yield from (process.namespace for process in self._processes.naming(container))
            yield from (self._namespaces.find(path) for path in self._paths(container))


def _boot_time() -> float:
    """When this machine was started, in epoch seconds; 0 if that cannot be read."""
    try:
        with open(f"{namespaces.PROC}/stat", encoding="ascii") as file:
            return next((float(line.split()[1]) for line in file if line.startswith("btime ")), 0.0)
    except (OSError, ValueError):
        return 0.0


def _packed(address: str) -> bytes:
    import ipaddress

    return ipaddress.ip_address(address).packed
