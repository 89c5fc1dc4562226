"""What host-local makes of its ranges: which addresses it can allocate from them, and which ranges it refuses."""

from __future__ import annotations

import ipaddress

from plugin.addresses.ranges import network_of, quote, refuse_overlaps, unusable
from plugin.config import keys
from plugin.errors import CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from plugin.addresses.ranges import Address

NO_SETS = "ranges is not a list of lists of objects"


class Span:
    """A subnet and the addresses of it that host-local can allocate: one or more pieces, without the gateway."""

    def __init__(self, subnet: str, first: Address, last: Address, gateway: Address) -> None:
        self.place = 0  # of its set in `ranges`: a pod gets one address of each set, from any range of it
        self.subnet = subnet
        self.first = first
        self.last = last
        self.gateway = gateway
        self._pieces = [(int(first), int(last))]

    def __str__(self) -> str:
        """Return the subnet; with its ends or the number of missing addresses, if these are not the usual ones."""
        usual = of_range({"subnet": self.subnet})
        if len(self._pieces) > 1:
            return f"{self.subnet} ({usual.total - self.total} left out)"
        ends = "" if (usual.first, usual.last) == (self.first, self.last) else f" {self.first}-{self.last}"
        return f"{self.subnet}{ends}"

    def __contains__(self, address: Address) -> bool:
        """Return whether host-local may have allocated this address from here."""
        number = int(address)
        return self.first.version == address.version and any(low <= number <= high for low, high in self._pieces)

    @property
    def total(self) -> int:
        """The number of addresses to allocate."""
        return sum(high - low + 1 for low, high in self._pieces) - (self.gateway in self)

    def overlaps(self, other: Span) -> bool:
        """Return whether an address is in both."""
        if self.first.version != other.first.version:
            return False
        return any(
            low <= its_high and its_low <= high for low, high in self._pieces for its_low, its_high in other._pieces
        )

    def join(self, other: Span) -> None:
        """Add another piece of this subnet."""
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self._pieces += other._pieces


def sets(ipam: dict[str, Any]) -> object:
    """Return the value of ranges, and before it the single range that older configurations have.

    As LoadIPAMConfig does in plugins/ipam/host-local/backend/allocator.
    """
    listed = [] if ipam.get("ranges") is None else ipam["ranges"]
    if not ipam.get("subnet") or not isinstance(listed, list):
        return listed
    return [[{key: ipam[key] for key in keys.RANGE if key in ipam}], *listed]


def of_ipam(ipam: dict[str, Any]) -> list[Span]:
    """Return the subnets in a host-local configuration, in its order; what host-local would refuse is left out."""
    listed = sets(ipam)
    found: dict[tuple[int, str, Address], Span] = {}
    for place, entries in enumerate(listed if isinstance(listed, list) else []):
        for entry in entries if isinstance(entries, list) else []:
            try:
                span = of_range(entry if isinstance(entry, dict) else {})
            except CniError:
                continue
            span.place = place
            one = found.setdefault((place, span.subnet, span.gateway), span)
            if one is not span:
                one.join(span)
    return list(found.values())


def by_set(found: Iterable[Span]) -> list[list[Span]]:
    """Return the ranges of each set together, in order: a set is full if all of its ranges are."""
    places: dict[int, list[Span]] = {}
    for span in found:
        places.setdefault(span.place, []).append(span)
    return list(places.values())


def of_range(entry: dict[str, Any], where: str = "a range") -> Span:
    """Return one range, with host-local's defaults. Raises CniError if it would refuse or could not use it.

    Its rules: Range.Canonicalize in plugins/ipam/host-local/backend/allocator.
    """
    try:
        network = ipaddress.ip_network(_text(entry, "subnet"))
    except ValueError:
        raise unusable(where, f"{quote(entry.get('subnet'))} is not a network", "write such as 10.0.1.0/24") from None
    if network.prefixlen > network.max_prefixlen - 2:
        raise unusable(
            where, f"{network} is too small", f"a prefix length of {network.max_prefixlen - 2} or less will do"
        )
    first = _address(entry, "rangeStart", where) or network[1]
    last = _address(entry, "rangeEnd", where) or network[-2 if network.version == 4 else -1]
    gateway = _address(entry, "gateway", where) or network[1]  # host-local accepts any
    # Of these host-local accepts a start behind the end that it sets itself, and then runs into the next network.
    if first not in network or last not in network or int(first) > int(last):
        raise unusable(where, f"no range from {first} to {last} in {network}", "correct its rangeStart and rangeEnd")
    return Span(str(network), first, last, gateway)


def check(value: object, where: str) -> None:
    """Raise CniError(PLUGIN_FAILURE) if host-local would refuse or misread this value of `ranges`, written by hand.

    Its rules: RangeSet.Canonicalize and Overlaps in plugins/ipam/host-local/backend/allocator.
    """
    found: list[Span] = []
    for each in value if isinstance(value, list) and value else [None]:
        if not isinstance(each, list) or not each or not all(isinstance(entry, dict) for entry in each):
            raise unusable(where, NO_SETS, 'write [[{"subnet": "10.0.1.0/24"}]]')
        strict = [_strict(entry, where) for entry in each]
        if len({span.first.version for span in strict}) == 2:
            raise unusable(where, "IPv4 and IPv6 in one list of ranges", "give each family a list of its own")
        found += strict
    refuse_overlaps([(each.first.version, int(each.first), int(each.last), each.subnet) for each in found], where)


def _strict(entry: dict[str, Any], where: str) -> Span:
    """Return one range; raise CniError also if host-local would take the subnet for another one."""
    subnet = entry.get("subnet")
    network = network_of(subnet, where)
    if network.version == 4 and ":" in str(subnet):
        raise unusable(where, f"{quote(subnet)} is IPv4 written as IPv6", f"write {network}")
    return of_range(entry, where)


def _address(entry: dict[str, Any], key: str, where: str) -> Address | None:
    """Return the address under this key, None if there is none. Here host-local reads ::ffff:10.0.0.5 as IPv4."""
    if entry.get(key) in (None, ""):
        return None
    try:
        address = ipaddress.ip_address(_text(entry, key))
    except ValueError:
        raise unusable(where, f"{key} {quote(entry[key])} is not an IP address", "write just the address") from None
    return getattr(address, "ipv4_mapped", None) or address


def _text(entry: dict[str, Any], key: str) -> str:
    """Return a string, or one that is no address: ipaddress would take a number for one."""
    value = entry.get(key)
    return value if isinstance(value, str) else ""
