"""Make host-local's ranges from CIDRs; refuse what host-local would refuse or misread."""

from __future__ import annotations

from plugin.errors import PLUGIN_FAILURE, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
    from typing import Union

    Address = Union[IPv4Address, IPv6Address]
    Network = Union[IPv4Network, IPv6Network]
    Ranges = list[list[dict[str, str]]]

# ipaddress is imported where it is used: it costs 10 ms, and a request seen before needs none of this.

_BLANKS = " \t\r\n"
_LONGEST = 100  # characters of a CIDR; the longest IPv6 network needs 49
_QUOTED = 60  # characters of a wrong text that a message repeats
_FORM = "write a network and its prefix length, such as 10.0.1.0/24 or fd00:0:0:1::/64, and a comma between two"
_COUNT = "give one IPv4 range, one IPv6 range, or one of each"


def from_text(text: str, where: str) -> Ranges:
    """Return the `ranges` for a comma-separated list of CIDRs: one set for each family, in order of appearance.

    host-local allocates from the first CIDR of a set that has room. A CIDR that is appended later leaves the places of
    the sets, and so host-local's last_reserved_ip.N, as they are. where and errors: see from_cidrs(). Blanks round the
    commas do not matter.
    """
    networks = [network_of(item.strip(_BLANKS), where) for item in text.split(",")]
    refuse_overlaps([(each.version, int(each[0]), int(each[-1]), str(each)) for each in networks], where)
    sets: dict[int, list[dict[str, str]]] = {}
    for network in networks:
        sets.setdefault(network.version, []).append({"subnet": str(network)})
    return list(sets.values())


def from_cidrs(cidrs: list[str], where: str) -> Ranges:
    """Return host-local's `ranges` for one CIDR, or two of different families: in this order, in canonical form.

    where: for the message, such as "spec.podCIDRs of node vm-002". Raises CniError(PLUGIN_FAILURE), as retrying mends
    nothing until the Node is changed. Link-local ranges and 240.0.0.0/4 are accepted: unusual, but people use them.
    """
    if not 1 <= len(cidrs) <= 2:
        raise unusable(where, f"{len(cidrs)} ranges", _COUNT)
    networks = [network_of(cidr, where) for cidr in cidrs]
    if len(networks) == 2 and networks[0].version == networks[1].version:
        raise unusable(where, f"two ranges of one family, {networks[0]} and {networks[1]}", _COUNT)
    return [[{"subnet": str(network)}] for network in networks]


def refuse_overlaps(blocks: Iterable[tuple[int, int, int, str]], where: str) -> None:
    """Raise CniError if two of these overlap: IP version, first and last address, and text of each."""
    ordered = sorted(blocks, key=lambda block: (block[0], block[1], -block[2]))
    for (version, _, last, text), (other, first, _, its) in zip(ordered, ordered[1:]):
        if version == other and first <= last:
            advice = f"let each address be in one range only, for example remove {its}"
            raise unusable(where, f"{text} and {its} overlap", advice)


def ipv6_only(ranges: Ranges) -> Ranges:
    """Return the IPv6 sets of these ranges. One of both families, or malformed (in kube-node.json), is not one."""
    return [range_set for range_set in ranges if _is_ipv6(range_set)]


def _is_ipv6(range_set: object) -> bool:
    entries = range_set if isinstance(range_set, list) else []
    subnets = [entry.get("subnet") if isinstance(entry, dict) else None for entry in entries]
    return bool(subnets) and all(isinstance(subnet, str) and ":" in subnet for subnet in subnets)


def network_of(cidr: object, where: str, is_range: bool = True) -> Network:
    """Return the network that a CIDR means. Raises CniError if it is not well-formed.

    is_range: host-local is to allocate from it; then CniError if it could not.
    """
    import ipaddress

    if not isinstance(cidr, str):
        raise unusable(where, f"{type(cidr).__name__} in place of a CIDR", _FORM)
    try:
        address, bits, wrong = _read(cidr)
    except ValueError as error:
        what, advice = _other_form(cidr) or (str(error), _FORM)
        raise unusable(where, f"{quote(cidr)} {what}", advice) from None
    network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    unfit, advice = _unfit(network) if is_range else ("", "")
    if unfit:
        raise unusable(where, f"{quote(cidr)} {unfit}", advice)
    if wrong or network.network_address != address:
        raise unusable(where, f"{quote(cidr)} {wrong or 'has host bits set'}", f"write {network}")
    return network


def _read(cidr: str) -> tuple[Address, int, str]:
    """Return the address and prefix length that are meant, and what is wrong with how they are written ("" if nothing).

    IPv4 written as IPv6 comes back as IPv4. Raises ValueError for what may mean two things.
    """
    import ipaddress

    text, slash, length = "".join(cidr.split()).partition("/")
    text, zone, _ = text.partition("%")
    if len(cidr) > _LONGEST:
        raise ValueError("is not an IP network")
    if _octal(text):
        raise ValueError("has leading zeros, which may mean octal numbers")
    try:
        address: Address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("is not an IP network") from None
    if not slash:
        raise ValueError("has no prefix length")
    try:
        bits = ipaddress.ip_network(f"{address}/{length}", strict=False).prefixlen
    except ValueError:
        raise ValueError(f"has a prefix length other than 0 to {address.max_prefixlen}") from None
    wrong = "has a zone" if zone else ""
    if length != str(bits):
        wrong = "has a mask, or zeros, in place of the plain prefix length"
    if cidr.split() != [cidr]:
        wrong = "has white space in it"
    if address.version == 6 and int(address) >> 24 and int(address) >> 32 in (0, 0xFFFF):
        if bits < 96:
            raise ValueError("is IPv4 written as IPv6, with a prefix length below 96")
        if int(address) >> 32 == 0:
            wrong = "would make host-local hand out IPv4 addresses"
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF), bits - 96, wrong
    return address, bits, wrong


def _other_form(cidr: str) -> tuple[str, str] | None:
    """Return what is wrong with a range in the form of another plugin, and what to do; None if it is in none."""
    if "\\" in cidr:
        return "has a backslash in it", f"write {cidr.replace(chr(92), '')[:_QUOTED]}"
    if pair := _pair(cidr):
        return "is a pair of addresses, not a CIDR", f"write {pair}, and leave addresses out with 'exclude' in ipam"
    if "ranges" in cidr or "subnet" in cidr:
        return "is a configuration of host-local, not a CIDR", f"{_FORM}; or use type node-annotation"
    return None


def _pair(text: str) -> str:
    """Return the network of FIRST-LAST or FIRST-LAST/LENGTH, "a CIDR" if it has no length; "" if it is no pair."""
    import ipaddress

    first, _, rest = text.partition("-")
    last, slash, length = rest.partition("/")
    try:
        ipaddress.ip_address(first.strip()), ipaddress.ip_address(last.strip())
        return str(ipaddress.ip_network(f"{first.strip()}/{length}", strict=False)) if slash else "a CIDR"
    except ValueError:
        return ""


def _octal(address: str) -> bool:
    """Return whether a decimal number of it begins with 0: octal for some programs, and refused by Go."""
    numbers = address.rpartition(":")[2].split(".")
    return len(numbers) > 1 and any(len(number) > 1 and number[0] == "0" for number in numbers)


def _unfit(network: Network) -> tuple[str, str]:
    """Return (what is wrong, what to do) if no pod can get an address from a network; ("", "") if one can."""
    if network.prefixlen > network.max_prefixlen - 2:
        return "is too small", f"write a network of prefix length {network.max_prefixlen - 2} or less"
    if network.network_address.packed[0] == 0:
        # Before 1.2.0 host-local loses leading zero bytes: one ADD reserves and fails, the next one never ends.
        # Nothing is lost by refusing: RFC 1122 section 3.2.1.3 and RFC 4291 section 2.4 give them to no host.
        return "begins with a zero byte, such addresses are reserved", _FORM
    if network.network_address.is_multicast or network.network_address.is_loopback:
        return "is a multicast or loopback network", _FORM
    return "", ""


def unusable(where: str, what: str, advice: str) -> CniError:
    """Return the error for ranges that cannot be used; a retry helps only after a change of the Node."""
    return CniError(PLUGIN_FAILURE, f"{where}: {what}", advice)


def quote(value: object) -> str:
    """Return a wrong value for a message, which repeats only its beginning."""
    text = str(value)
    return repr(text if len(text) <= _QUOTED else text[:_QUOTED] + "...")
