"""The text of one annotation, or the podCIDRs of one node, as address ranges."""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import NamedTuple

from plugin.addresses import annotated, annotation, ranges, spans
from plugin.errors import CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from plugin.addresses.ranges import Network
    from plugin.addresses.spans import Span

_KEPT = 100_000  # values that are kept, so that a change of one node does not parse those of all
# What looks like an address, with or without a prefix length or mask, in a text that is not a list of CIDRs.
_ADDRESS = re.compile(r"(?<![\w.:])[0-9A-Fa-f:.]*[.:][0-9A-Fa-f:.]*(?:\s*/\s*[\d.]+)?")
_MEMBER = re.compile(r'\{|:\s*"')  # what only a text of host-local's form has


class Range(NamedTuple):
    """Addresses from first to last, as numbers. text: how they are written."""

    version: int
    first: int
    last: int
    text: str

    def overlaps(self, other: Range) -> bool:
        """Return whether an address is in both."""
        return self.version == other.version and self.first <= other.last and other.first <= self.last

    def contains(self, other: Range) -> bool:
        """Return whether all of its addresses are in this one."""
        return self.version == other.version and self.first <= other.first and other.last <= self.last


class Value(NamedTuple):
    """The ranges of a text. problem: the error of an ADD with it; the ranges are then those that can be found."""

    ranges: tuple[Range, ...]
    problem: CniError | None = None


@functools.lru_cache(_KEPT)
def of_annotation(text: str, name: str, node: str) -> Value:
    """Return the ranges of an annotation: a list of CIDRs, or a configuration as node-annotation reads it."""
    try:
        return Value(tuple(_parse(text, f"annotation {name} of node {node}", name)))
    except CniError as error:
        return Value(readable(text), error)


@functools.lru_cache(_KEPT)
def of_pod_cidrs(cidrs: tuple[str, ...], node: str) -> Value:
    """Return the ranges of spec.podCIDRs."""
    try:
        return Value(tuple(_of_sets(ranges.from_cidrs(list(cidrs), f"spec.podCIDRs of node {node}"))))
    except CniError as error:
        return Value(readable(",".join(cidrs)), error)


def is_configuration(text: str) -> bool:
    """Return whether an annotation holds a host-local configuration, for node-annotation, rather than CIDRs."""
    return bool(_MEMBER.search(text))


def of_network(network: Network) -> Range:
    """Return a network as a range."""
    first = int(network.network_address)
    return Range(network.version, first, first + network.num_addresses - 1, str(network))


def of_span(span: Span) -> Range:
    """Return the addresses that host-local can allocate from a range as one, pieces and gateway included."""
    return Range(span.first.version, int(span.first), int(span.last), str(span))


def readable(text: str) -> tuple[Range, ...]:
    """Return the networks and addresses in a text of another form."""
    return tuple(each for word in _ADDRESS.findall(text) for each in _of_word("".join(word.split())))


def _of_word(word: str) -> list[Range]:
    """Return the network; the address alone if its prefix length is wrong; nothing if it is not an address."""
    for written in (word, word.partition("/")[0]):
        try:
            network: Network = ipaddress.ip_network(written, strict=False)
        except ValueError:
            continue
        if network.version == 6 and network.network_address.ipv4_mapped and network.prefixlen >= 96:
            network = ipaddress.ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
        return [of_network(network)]
    return []


def _parse(text: str, where: str, name: str) -> list[Range]:
    """Return the ranges of an annotation. Raises CniError in the words of an ADD."""
    if not is_configuration(text):
        return _of_sets(ranges.from_text(text, where))
    ipam: dict[str, Any] = annotation.parse(text, name)
    annotated.check(ipam, {}, where)
    return list(map(of_span, spans.of_ipam(ipam)))


def _of_sets(sets: list[list[dict[str, str]]]) -> list[Range]:
    return [of_network(ipaddress.ip_network(entry["subnet"])) for each in sets for entry in each]


def merged(taken: Iterable[Range], version: int) -> list[tuple[int, int]]:
    """Return the addresses of one family as (first, last), in order, none overlapping another."""
    found: list[tuple[int, int]] = []
    for first, last in sorted((each.first, each.last) for each in taken if each.version == version):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found
