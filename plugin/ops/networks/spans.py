"""What host-local makes of its ranges: which addresses it can hand out of them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from plugin import ranges
from plugin.errors import PLUGIN_FAILURE, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from plugin.ranges import Address

_LEGACY = ("subnet", "rangeStart", "rangeEnd", "gateway")
_QUOTED = 60  # characters of a wrong text that a message repeats


@dataclass(frozen=True)
class Span:
    """One range: from its first address to its last, less its gateway."""

    subnet: str
    first: Address
    last: Address
    gateway: Address

    def __str__(self) -> str:
        """The subnet; with the addresses where these are not the usual ones."""
        usual = of_range({"subnet": self.subnet})
        ends = "" if (usual.first, usual.last) == (self.first, self.last) else f" {self.first}-{self.last}"
        return f"{self.subnet}{ends}"

    def __contains__(self, address: Address) -> bool:
        """Whether host-local may have taken this address from here."""
        return self.first.version == address.version and int(self.first) <= int(address) <= int(self.last)

    @property
    def total(self) -> int:
        """How many addresses there are to hand out."""
        return int(self.last) - int(self.first) + 1 - (self.gateway in self)

    def overlaps(self, other: Span) -> bool:
        """Whether an address is in both."""
        return other.first in self or self.first in other


def sets(ipam: dict[str, Any]) -> object:
    """The value of ranges, and in front of it the single range that older configurations have.

    As LoadIPAMConfig does in plugins/ipam/host-local/backend/allocator.
    """
    listed = [] if ipam.get("ranges") is None else ipam["ranges"]
    if not ipam.get("subnet") or not isinstance(listed, list):
        return listed
    return [[{key: ipam[key] for key in _LEGACY if key in ipam}], *listed]


def of_ipam(ipam: dict[str, Any]) -> list[Span]:
    """The ranges in a host-local configuration, in its order; what host-local would refuse is left out."""
    listed = sets(ipam)
    return [span for each in (listed if isinstance(listed, list) else []) for span in _of_set(each)]


def of_range(entry: dict[str, Any], where: str = "a range") -> Span:
    """One range, with host-local's defaults. Raises CniError for one that it would refuse or can hand nothing out of.

    Its rules: Range.Canonicalize in plugins/ipam/host-local/backend/allocator.
    """
    try:
        network = ipaddress.ip_network(_text(entry, "subnet"))
    except ValueError:
        raise _wrong(where, f"{_quote(entry.get('subnet'))} is not a network", "write such as 10.0.1.0/24") from None
    if network.prefixlen > network.max_prefixlen - 2:
        raise _wrong(
            where, f"{network} is too small", f"a prefix length of {network.max_prefixlen - 2} or less will do"
        )
    first = _address(entry, "rangeStart", where) or network[1]
    last = _address(entry, "rangeEnd", where) or network[-2 if network.version == 4 else -1]
    gateway = _address(entry, "gateway", where) or network[1]  # host-local accepts any
    # Of these host-local lets pass a start behind the end it sets itself, and then runs into the next network.
    if first not in network or last not in network or int(first) > int(last):
        raise _wrong(where, f"no range from {first} to {last} in {network}", "correct its rangeStart and rangeEnd")
    return Span(str(network), first, last, gateway)


def check(value: object, where: str) -> None:
    """Raise CniError(PLUGIN_FAILURE) if host-local would refuse or misread this value of `ranges`, written by hand.

    Its rules: RangeSet.Canonicalize and Overlaps in plugins/ipam/host-local/backend/allocator.
    """
    found: list[Span] = []
    for each in value if isinstance(value, list) and value else [None]:
        if not isinstance(each, list) or not each or not all(isinstance(entry, dict) for entry in each):
            raise _wrong(where, "ranges is not a list of lists of objects", 'write [[{"subnet": "10.0.1.0/24"}]]')
        strict = [_strict(entry, where) for entry in each]
        if len({span.first.version for span in strict}) == 2:
            raise _wrong(where, "IPv4 and IPv6 in one list of ranges", "give each family a list of its own")
        found += strict
    found.sort(key=lambda span: (span.first.version, int(span.first), int(span.last)))
    for one, other in zip(found, found[1:]):
        if one.overlaps(other):
            what = f"ranges overlap in {one.subnet} and {other.subnet}"
            raise _wrong(where, what, "let each address be in one range only")


def _strict(entry: dict[str, Any], where: str) -> Span:
    """The same, also for what host-local would take for another network than the one that is meant."""
    subnet = entry.get("subnet")
    network = ranges.network_of(subnet, where)
    if network.version == 4 and ":" in str(subnet):
        raise _wrong(where, f"{_quote(subnet)} is IPv4 written as IPv6", f"write {network}")
    return of_range(entry, where)


def _of_set(entries: object) -> Iterator[Span]:
    for entry in entries if isinstance(entries, list) else []:
        try:
            yield of_range(entry if isinstance(entry, dict) else {})
        except CniError:
            continue


def _address(entry: dict[str, Any], key: str, where: str) -> Address | None:
    """The address under this key; None if there is none. Here host-local reads ::ffff:10.0.0.5 as IPv4."""
    if entry.get(key) in (None, ""):
        return None
    try:
        address = ipaddress.ip_address(_text(entry, key))
    except ValueError:
        raise _wrong(where, f"{key} {_quote(entry[key])} is not an IP address", "write just the address") from None
    return getattr(address, "ipv4_mapped", None) or address


def _text(entry: dict[str, Any], key: str) -> str:
    """A string, or what is no address; to ipaddress a number would be one."""
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _wrong(where: str, what: str, advice: str) -> CniError:
    return CniError(PLUGIN_FAILURE, f"{where}: {what}", advice)


def _quote(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= _QUOTED else text[:_QUOTED] + "...")
