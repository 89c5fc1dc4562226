"""The pool: blocks are cut as kube-controller-manager does, the free ones found whatever is taken."""

from __future__ import annotations

import ipaddress
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin.errors import CniError
from plugin.ops.ranges import pool, values
from plugin.ops.ranges.pool import Family
from tests.support.budget import examples

SIZES = {4: 24, 6: 96}


def ranges_of(*texts: str) -> list[values.Range]:
    """These networks as ranges."""
    return [values.of_network(ipaddress.ip_network(text)) for text in texts]


def first(text: str, count: int, *taken: str) -> list[str]:
    """The first free blocks of a pool of one family."""
    (family,) = pool.parse(text, SIZES)
    return [str(block) for block in itertools.islice(family.blocks(ranges_of(*taken)), count)]


@pytest.mark.parametrize(
    ("text", "taken", "expected"),
    [
        ("172.20.0.0/16", [], ["172.20.0.0/24", "172.20.1.0/24", "172.20.2.0/24"]),
        ("172.20.0.0/16", ["172.20.0.0/24", "172.20.2.0/24"], ["172.20.1.0/24", "172.20.3.0/24", "172.20.4.0/24"]),
        ("172.20.0.0/16", ["172.20.1.7/32"], ["172.20.0.0/24", "172.20.2.0/24", "172.20.3.0/24"]),
        ("172.20.0.0/16", ["172.20.0.128/25"], ["172.20.1.0/24", "172.20.2.0/24", "172.20.3.0/24"]),
        ("172.20.0.0/16", ["172.16.0.0/12"], []),
        ("172.20.0.0/16", ["172.20.0.0/17"], ["172.20.128.0/24", "172.20.129.0/24", "172.20.130.0/24"]),
        ("172.20.0.0/23,172.30.0.0/23", ["172.20.1.0/24"], ["172.20.0.0/24", "172.30.0.0/24", "172.30.1.0/24"]),
        ("172.20.0.0/24", ["fd00:20::/80", "10.0.0.0/8"], ["172.20.0.0/24"]),
        ("fd00:20::/80", ["fd00:20::1:0:0/96"], ["fd00:20::/96", "fd00:20::2:0:0/96", "fd00:20::3:0:0/96"]),
        ("fd00::/20", ["fd00::/64"], ["fd00:0:0:1::/96", "fd00:0:0:1:0:1::/96", "fd00:0:0:1:0:2::/96"]),
    ],
)
def test_free_blocks(text: str, taken: list[str], expected: list[str]) -> None:
    """The lowest ones, none that has an address of what is taken; a pool of 2^76 blocks takes no longer."""
    assert first(text, 3, *taken) == [str(ipaddress.ip_network(each)) for each in expected]


@examples(100)
@given(
    st.lists(st.tuples(st.integers(0, 2**12 - 1), st.integers(20, 32)), max_size=12),
    st.integers(22, 30),
)
def test_free_blocks_are_all_that_overlap_nothing(taken: list[tuple[int, int]], size: int) -> None:
    """Compared with looking at each block."""
    whole = ipaddress.IPv4Network("10.0.0.0/20")
    used = [ipaddress.ip_network((int(whole[0]) + at, length), strict=False) for at, length in taken]
    family = Family(4, (whole,), size)
    ranges = [values.of_network(each) for each in used]

    found = list(family.blocks(ranges))

    assert found == [b for b in whole.subnets(new_prefix=size) if not any(b.overlaps(each) for each in used)]
    assert family.free(ranges) == len(found)


def test_each_family_gives_one() -> None:
    """In the order of the pool; when one is full, nobody gets half of a pair."""
    families = pool.parse("fd00:20::/80,172.20.0.0/23", SIZES)

    found = pool.assign(["a", "b", "c"], families, ranges_of("172.20.0.0/26"))

    assert {name: [str(block) for block in blocks] for name, blocks in found.items()} == {
        "a": ["fd00:20::/96", "172.20.1.0/24"]
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("172.20.0.0/25", "a node's range of prefix length 24 does not fit into 172.20.0.0/25"),
        ("172.20.0.0/16,172.20.4.0/22", "172.20.0.0/16 and 172.20.4.0/22 overlap"),
        ("172.20.0.1/16", "'172.20.0.1/16' has host bits set"),
        ("172.20.0.0", "'172.20.0.0' has no prefix length"),
        ("", "'' is not an IP network"),
        ("224.0.0.0/8", "'224.0.0.0/8' is a multicast or loopback network"),
    ],
)
def test_wrong_pool(text: str, message: str) -> None:
    """What no node could use is refused before anything is read."""
    with pytest.raises(CniError, match=re.escape(f"--cluster-cidr: {message}")):
        pool.parse(text, SIZES)


def test_block_without_addresses() -> None:
    """A block that host-local cannot use is not handed out."""
    with pytest.raises(CniError, match=r"--node-cidr-mask-size-ipv4: '172\.20\.0\.0/32' is too small"):
        pool.parse("172.20.0.0/16", {4: 32, 6: 64})
