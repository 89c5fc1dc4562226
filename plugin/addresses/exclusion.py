"""The key `exclude`: addresses that are left out of the ranges of this node."""

from __future__ import annotations

from plugin.addresses import ranges
from plugin.errors import INVALID_CONFIG, PLUGIN_FAILURE, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plugin.addresses.ranges import Ranges

    # IP version, first address, last address.
    Block = tuple[int, int, int]

_FORM = "write an address, a CIDR or FIRST-LAST, such as 10.0.1.5, 10.0.1.8/29 or 10.0.1.5-10.0.1.9"


def parse(items: Iterable[str], where: str) -> list[Block]:
    """Return the blocks to leave out. Raises CniError(INVALID_CONFIG) for any other form than those of _FORM."""
    return [_block(item.strip(), where) for item in items]


def apply(found: Ranges, blocks: list[Block], where: str) -> Ranges:
    """Return the ranges without these blocks: what remains of a subnet are pieces of it in the same set.

    Each set keeps its place and each subnet its gateway, its first address; so host-local's last_reserved_ip.N, which
    belongs to the place, stays valid. Raises CniError if nothing of a set remains.
    """
    return [_without(each, blocks, where) for each in found] if blocks else found


def _without(range_set: list[dict[str, str]], blocks: list[Block], where: str) -> list[dict[str, str]]:
    import ipaddress

    pieces: list[dict[str, str]] = []
    for entry in range_set:
        network = ipaddress.ip_network(entry["subnet"])
        # What host-local allocates to pods: the first address of the subnet is its gateway's.
        low, high = int(network[2]), int(network[-2 if network.version == 4 else -1])
        taken = [(first, last) for version, first, last in blocks if version == network.version]
        holes = sorted((first, last) for first, last in taken if first <= high and last >= low)
        if not holes:
            pieces.append(entry)
            continue
        for first, last in _between(low, high, holes):
            start, end = (str(network[number - int(network[0])]) for number in (first, last))
            pieces.append({**entry, "rangeStart": start, "rangeEnd": end})
    if not pieces:
        subnets = ", ".join(entry["subnet"] for entry in range_set)
        details = "exclude less, or give the node a larger range"
        raise CniError(PLUGIN_FAILURE, f"{where}: 'ipam.exclude' leaves no address of {subnets}", details)
    return pieces


def _between(low: int, high: int, holes: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Return what is left of low to high round the holes, which are sorted and begin in it."""
    for first, last in [*holes, (high + 1, high + 1)]:
        if low < first:
            yield low, first - 1
        low = max(low, last + 1)


def _block(text: str, where: str) -> Block:
    if "-" in text and "/" not in text:
        first, _, last = text.partition("-")
        one, other = _address(first.strip(), text, where), _address(last.strip(), text, where)
        if one[0] != other[0]:
            raise _wrong(where, text, "is a pair of both IP families", "write a pair for each family")
        if one[1] > other[1]:
            raise _wrong(where, text, "ends before it begins", f"write {last.strip()}-{first.strip()}")
        return one[0], one[1], other[1]
    if "/" in text and "-" not in text:
        try:
            network = ranges.network_of(text, where, is_range=False)
        except CniError as error:
            error.code = INVALID_CONFIG
            raise
        return network.version, int(network[0]), int(network[-1])
    version, number = _address(text, text, where)
    return version, number, number


def _address(text: str, whole: str, where: str) -> tuple[int, int]:
    """Return version and number of an address; IPv4 written as IPv6 is IPv4."""
    import ipaddress

    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise _wrong(where, whole, "is not an address, a CIDR or FIRST-LAST", _FORM) from None
    address = getattr(address, "ipv4_mapped", None) or address
    if getattr(address, "scope_id", None):
        raise _wrong(where, whole, "has a zone", f"write {text.partition('%')[0]}")
    return address.version, int(address)


def _wrong(where: str, text: str, what: str, advice: str) -> CniError:
    return CniError(INVALID_CONFIG, f"{where}: {ranges.quote(text)} {what}", advice)
