"""The pool that node ranges are taken from: networks cut into blocks of one size for each family."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from plugin.addresses import ranges
from plugin.errors import INVALID_CONFIG, CniError
from plugin.ops.ranges import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from plugin.addresses.ranges import Network
    from plugin.ops.ranges.values import Range

SIZES = {4: 24, 6: 64}  # prefix lengths of a node's block, kube-controller-manager's defaults


@dataclass(frozen=True)
class Family:
    """The networks of one IP version, and the prefix length of a block."""

    version: int
    networks: tuple[Network, ...]
    size: int

    def gaps(self, taken: Iterable[Range]) -> Iterator[tuple[int, int]]:
        """Yield runs of free blocks: the first address of the first block, and how many there are."""
        used = values.merged(taken, self.version)
        step = 1 << (self.networks[0].max_prefixlen - self.size)
        for network in self.networks:
            at, end = int(network.network_address), int(network.broadcast_address) + 1
            for first, last in used:
                if last < at or first >= end:
                    continue
                before = max(at, first - first % step)
                if before > at:
                    yield at, (before - at) // step
                at = last - last % step + step
            if at < end:
                yield at, (end - at) // step

    def free(self, taken: Iterable[Range]) -> int:
        """Return how many blocks are free."""
        return sum(count for _, count in self.gaps(taken))

    def blocks(self, taken: Iterable[Range]) -> Iterator[Network]:
        """Yield the free blocks, the lowest of the first network first."""
        bits = self.networks[0].max_prefixlen
        step = 1 << (bits - self.size)
        make = ipaddress.IPv4Network if self.version == 4 else ipaddress.IPv6Network
        for first, count in self.gaps(taken):
            for number in range(count):
                yield make((first + number * step, self.size))


def parse(text: str, sizes: dict[int, int]) -> tuple[Family, ...]:
    """Return the families of a list of CIDRs, in its order. Raises CniError."""
    networks = [ranges.network_of(item.strip(), "--cluster-cidr") for item in text.split(",")]
    for at, network in enumerate(networks):
        for other in networks[:at]:
            if network.version == other.version and network.overlaps(other):
                raise _wrong(f"{other} and {network} overlap", "name each network once")
    versions = dict.fromkeys(network.version for network in networks)
    return tuple(_family(version, tuple(n for n in networks if n.version == version), sizes) for version in versions)


def assign(names: Sequence[str], families: Sequence[Family], taken: Sequence[Range]) -> dict[str, tuple[Network, ...]]:
    """Return a free block of each family for each name, until one family has none left."""
    supplies = [family.blocks(taken) for family in families]
    found = {}
    for name in names:
        blocks = tuple(block for supply in supplies if (block := next(supply, None)) is not None)
        if len(blocks) < len(supplies):
            break
        found[name] = blocks
    return found


def _family(version: int, networks: tuple[Network, ...], sizes: dict[int, int]) -> Family:
    size, option = sizes[version], f"--node-cidr-mask-size-ipv{version}"
    for network in networks:
        if not network.prefixlen <= size <= network.max_prefixlen:
            advice = f"choose {network.prefixlen} to {network.max_prefixlen - 2} with {option}"
            raise _wrong(f"a node's range of prefix length {size} does not fit into {network}", advice)
        ranges.network_of(f"{network.network_address}/{size}", option)
    return Family(version, networks, size)


def _wrong(what: str, advice: str) -> CniError:
    return CniError(INVALID_CONFIG, f"--cluster-cidr: {what}", advice)
