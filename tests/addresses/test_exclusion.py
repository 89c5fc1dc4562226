"""Addresses that are left out: how they are written, and what remains of the ranges."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin.addresses import exclusion, ranges, spans
from plugin.errors import INVALID_CONFIG, PLUGIN_FAILURE, CniError
from tests.support.budget import examples

WHERE = "'ipam.exclude'"
NODE = "spec.podCIDRs of node vm-002"


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("10.0.1.5", "10.0.1.5", "10.0.1.5"),
        (" 10.0.1.5 ", "10.0.1.5", "10.0.1.5"),
        ("10.0.1.8/29", "10.0.1.8", "10.0.1.15"),
        ("10.0.1.8/32", "10.0.1.8", "10.0.1.8"),
        ("10.0.1.5-10.0.1.9", "10.0.1.5", "10.0.1.9"),
        ("10.0.1.5 - 10.0.1.9", "10.0.1.5", "10.0.1.9"),
        ("10.0.1.5-10.0.1.5", "10.0.1.5", "10.0.1.5"),
        ("fd00::5", "fd00::5", "fd00::5"),
        ("FD00::/120", "fd00::", "fd00::ff"),
        ("fd00::5-fd00::1:0", "fd00::5", "fd00::1:0"),
        ("::ffff:10.0.1.5", "10.0.1.5", "10.0.1.5"),
        ("::ffff:10.0.1.0/120", "10.0.1.0", "10.0.1.255"),
        ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
        ("224.0.0.0/4", "224.0.0.0", "239.255.255.255"),
    ],
)
def test_parse(text: str, first: str, last: str) -> None:
    """An address, a CIDR of any size, or a pair; of any network, as all nodes have the same configuration."""
    start, end = ipaddress.ip_address(first), ipaddress.ip_address(last)
    assert exclusion.parse([text], WHERE) == [(start.version, int(start), int(end))]


@pytest.mark.parametrize(
    ("text", "what", "advice"),
    [
        ("", "'' is not an address", "such as 10.0.1.5"),
        ("vm-002", "'vm-002' is not an address", "such as"),
        ("10.0.1", "is not an address", "such as"),
        ("10.0.1.300", "is not an address", "such as"),
        ("10.0.1.05", "is not an address", "such as"),
        ("10.0.1.5,10.0.1.6", "is not an address", "such as"),
        ("10.0.1.5-", "is not an address", "such as"),
        ("10.0.1.5-9", "is not an address", "such as"),
        ("10.0.1.5-10.0.1.9/24", "is not an address", "such as"),
        ("10.0.1.5-10.0.1.9-10.0.1.11", "is not an address", "such as"),
        ("10.0.1.5-fd00::5", "is a pair of both IP families", "for each family"),
        ("10.0.1.9-10.0.1.5", "ends before it begins", "write 10.0.1.5-10.0.1.9"),
        ("10.0.1.5/24", "has host bits set", "write 10.0.1.0/24"),
        ("10.0.1.0/33", "has a prefix length other than 0 to 32", "such as"),
        ("10.0.1.0/255.255.255.0", "has a mask", "write 10.0.1.0/24"),
        ("fe80::1%eth0", "has a zone", "write fe80::1"),
        ("x" * 5000, "x...' is not an address", "such as"),
    ],
)
def test_parse_refuses(text: str, what: str, advice: str) -> None:
    """What is neither is an error that says what to write."""
    with pytest.raises(CniError) as caught:
        exclusion.parse(["10.0.0.1", text], WHERE)

    assert caught.value.code == INVALID_CONFIG
    assert caught.value.msg.startswith(f"{WHERE}: ")
    assert what in caught.value.msg
    assert advice in caught.value.details
    assert len(caught.value.msg) < 200


def piece(subnet: str, first: str, last: str) -> dict[str, str]:
    """A range of a part of a subnet."""
    return {"subnet": subnet, "rangeStart": first, "rangeEnd": last}


@pytest.mark.parametrize(
    ("text", "excluded", "expected"),
    [
        ("10.0.1.0/24", [], [[{"subnet": "10.0.1.0/24"}]]),
        ("10.0.1.0/24,fd00::/64", ["10.9.0.0/16", "fd01::1"], [[{"subnet": "10.0.1.0/24"}], [{"subnet": "fd00::/64"}]]),
        ("10.0.1.0/24", ["10.0.1.0", "10.0.1.1", "10.0.1.255"], [[{"subnet": "10.0.1.0/24"}]]),
        (
            "10.0.1.0/24",
            ["10.0.1.10"],
            [[piece("10.0.1.0/24", "10.0.1.2", "10.0.1.9"), piece("10.0.1.0/24", "10.0.1.11", "10.0.1.254")]],
        ),
        ("10.0.1.0/24", ["10.0.1.0/25"], [[piece("10.0.1.0/24", "10.0.1.128", "10.0.1.254")]]),
        (
            "10.0.1.0/24",
            ["10.0.1.8-10.0.1.20", "10.0.1.10", "10.0.1.16/29", "10.0.1.200-10.0.3.0"],
            [[piece("10.0.1.0/24", "10.0.1.2", "10.0.1.7"), piece("10.0.1.0/24", "10.0.1.24", "10.0.1.199")]],
        ),
        (
            "10.0.1.0/24,10.0.2.0/24",
            ["10.0.1.0/24", "10.0.2.2"],
            [[piece("10.0.2.0/24", "10.0.2.3", "10.0.2.254")]],
        ),
        (
            "10.0.1.0/24,fd00::/64",
            ["fd00::/120"],
            [[{"subnet": "10.0.1.0/24"}], [piece("fd00::/64", "fd00::100", "fd00::ffff:ffff:ffff:ffff")]],
        ),
    ],
)
def test_apply(text: str, excluded: list[str], expected: object) -> None:
    """What remains of each subnet is in the set of that subnet, in order; untouched subnets stay as they were."""
    assert exclusion.apply(ranges.from_text(text, NODE), exclusion.parse(excluded, WHERE), NODE) == expected


@pytest.mark.parametrize("excluded", [["0.0.0.0/0"], ["10.0.1.0/24"], ["10.0.1.2-10.0.1.254"], ["10.0.0.0/8"]])
def test_nothing_remains(excluded: list[str]) -> None:
    """If nothing but the gateway of a family is left, the error names key and range."""
    found = ranges.from_text("10.0.1.0/24,fd00::/64", NODE)
    with pytest.raises(CniError, match=f"{NODE}: 'ipam.exclude' leaves no address of 10.0.1.0/24") as caught:
        exclusion.apply(found, exclusion.parse(excluded, WHERE), NODE)
    assert caught.value.code == PLUGIN_FAILURE


BLOCKS = st.tuples(st.integers(0, 300), st.integers(0, 300)).map(lambda pair: f"10.0.{pair[0] >> 8}.{pair[0] & 255}")
PAIRS = st.tuples(st.integers(-20, 300), st.integers(0, 60)).map(
    lambda pair: "-".join(str(ipaddress.ip_address("10.0.0.0") + pair[0] + extra) for extra in (0, pair[1]))
)


@examples(300)
@given(st.lists(BLOCKS | PAIRS, max_size=8))
def test_exactly_what_is_excluded_is_missing(excluded: list[str]) -> None:
    """Whatever is excluded: the addresses that remain are the others, and host-local accepts the ranges."""
    blocks = exclusion.parse(excluded, WHERE)
    before = [ipaddress.ip_address("10.0.0.0") + number for number in range(2, 255)]
    expected = [each for each in before if not any(first <= int(each) <= last for _, first, last in blocks)]
    if not expected:
        return
    found = exclusion.apply([[{"subnet": "10.0.0.0/24"}]], blocks, NODE)
    spans.check(found, NODE)
    (span,) = spans.of_ipam({"ranges": found})

    assert [each for each in before if each in span] == expected
    assert (span.total, str(span.gateway)) == (len(expected), "10.0.0.1")
