"""What host-local makes of its ranges: which addresses it can hand out of them."""

from __future__ import annotations

import ipaddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Union

    Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


class Span:
    """One range: from its first address to its last, less its gateway. index: of its set among those of the network."""

    __slots__ = ("first", "gateway", "index", "last", "subnet")

    def __init__(self, index: int, subnet: str, first: Address, last: Address, gateway: Address) -> None:
        self.index = index
        self.subnet = subnet
        self.first = first
        self.last = last
        self.gateway = gateway

    def __str__(self) -> str:
        """The subnet; with the addresses where these are not the usual ones."""
        usual = of_range(self.index, {"subnet": self.subnet})
        ends = "" if usual and usual.first == self.first and usual.last == self.last else f" {self.first}-{self.last}"
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


def of_ipam(ipam: dict[str, Any]) -> list[Span]:
    """The ranges in a host-local configuration, in its order; what host-local would refuse is left out."""
    # The single range that older configurations have comes first, LoadIPAMConfig in host-local/backend/allocator.
    sets: list[Any] = [[ipam]] if ipam.get("subnet") else []
    listed = ipam.get("ranges")
    sets += listed if isinstance(listed, list) else []
    return [span for index, each in enumerate(sets) for span in _of_set(index, each)]


def of_range(index: int, entry: dict[str, Any]) -> Span | None:
    """One range, with host-local's defaults; None for one that it would refuse."""
    try:
        network = ipaddress.ip_network(entry["subnet"])
        first = _address(entry, "rangeStart") or network[1]
        last = _address(entry, "rangeEnd") or network[-2 if network.version == 4 else -1]
        gateway = _address(entry, "gateway") or network[1]
    except (KeyError, ValueError, IndexError):
        return None
    # Of a range in the wrong family, or from the end to the start, nothing can be handed out.
    if first not in network or last not in network or int(first) > int(last):
        return None
    return Span(index, str(network), first, last, gateway)


def _of_set(index: int, entries: object) -> Iterator[Span]:
    for entry in entries if isinstance(entries, list) else []:
        span = of_range(index, entry) if isinstance(entry, dict) else None
        if span:
            yield span


def _address(entry: dict[str, Any], key: str) -> Address | None:
    text = entry.get(key)
    if not text:
        return None
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address
