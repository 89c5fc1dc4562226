"""What host-local makes of ranges, and which of them are not to be given to it."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import pytest

from plugin.addresses import spans
from plugin.errors import PLUGIN_FAILURE, CniError

WHERE = "annotation example.com/net1 of node vm-002"
V4 = [{"subnet": "10.0.1.0/24"}]
V6 = [{"subnet": "fd00::/64"}, {"subnet": "fd01::/64"}]


@pytest.mark.parametrize(
    ("ipam", "expected"),
    [
        ({"subnet": "10.0.0.0/24"}, [("10.0.0.0/24", 253)]),
        ({"subnet": "10.0.0.0/24", "gateway": "10.0.0.254"}, [("10.0.0.0/24", 253)]),
        ({"subnet": "10.0.0.0/24", "gateway": "10.1.0.1"}, [("10.0.0.0/24", 254)]),
        ({"ranges": [[{"subnet": "fd00::/120"}]]}, [("fd00::/120", 254)]),
        (
            {"ranges": [[{"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.10", "rangeEnd": "10.0.0.19"}]]},
            [("10.0.0.0/24 10.0.0.10-10.0.0.19", 10)],
        ),
        (
            {"ranges": [[{"subnet": "10.0.0.0/29", "rangeStart": "10.0.0.0", "rangeEnd": "10.0.0.7"}]]},
            [("10.0.0.0/29 10.0.0.0-10.0.0.7", 7)],
        ),
        (
            {"subnet": "10.0.0.0/30", "ranges": [[{"subnet": "10.1.0.0/30"}, {"subnet": "10.2.0.0/30"}]]},
            [("10.0.0.0/30", 1), ("10.1.0.0/30", 1), ("10.2.0.0/30", 1)],
        ),
        ({"ranges": [[{"subnet": "10.0.0.1/24"}], [{"subnet": "x"}], [{}], [1], {}, None]}, []),
        ({"ranges": [[{"subnet": "10.0.0.0/24", "rangeStart": "10.0.1.1"}]]}, []),
        ({"ranges": [[{"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.9", "rangeEnd": "10.0.0.8"}]]}, []),
        ({"ranges": [[{"subnet": "10.0.0.0/24", "rangeStart": "fd00::1"}]]}, []),
        (
            {"ranges": [[{"subnet": "10.0.0.0/24", "rangeStart": "::ffff:10.0.0.250"}]]},
            [("10.0.0.0/24 10.0.0.250-10.0.0.254", 5)],
        ),
        (
            {
                "ranges": [
                    [
                        {"subnet": "10.0.0.0/24", "rangeEnd": "10.0.0.9"},
                        {"subnet": "10.1.0.0/24"},
                        {"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.20"},
                    ],
                    [{"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.12", "rangeEnd": "10.0.0.13"}],
                ]
            },
            [("10.0.0.0/24 (10 left out)", 243), ("10.1.0.0/24", 253), ("10.0.0.0/24 10.0.0.12-10.0.0.13", 2)],
        ),
        ({"subnet": "10.0.0.0/30", "ranges": None}, [("10.0.0.0/30", 1)]),
        (
            {"ranges": [[{"subnet": "10.0.0.0/31"}, {"subnet": "fd00::/127"}, {"subnet": "10.0.0.0"}, {"subnet": 7}]]},
            [],
        ),
        ({"ranges": "10.0.0.0/24"}, []),
        ({}, []),
    ],
)
def test_spans(ipam: dict[str, Any], expected: list[tuple[str, int]]) -> None:
    """How many addresses host-local can hand out: not the gateway's, and not of what it refuses."""
    assert [(str(span), span.total) for span in spans.of_ipam(ipam)] == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("10.0.0.0/24", "10.0.0.128/25", True),
        ("10.0.0.128/25", "10.0.0.0/24", True),
        ("10.0.0.0/25", "10.0.0.128/25", False),
        ("10.0.0.0/24", "fd00::/64", False),
        ("::a00:0/120", "10.0.0.0/24", False),
    ],
)
def test_overlaps(one: str, other: str, expected: bool) -> None:
    """Two ranges overlap when an address of the same family is in both."""
    first, second = (spans.of_range({"subnet": subnet}) for subnet in (one, other))
    assert first.overlaps(second) is expected


def test_pieces_of_one_subnet() -> None:
    """Pieces of one subnet in one set are one range, with holes: an address of a hole is not in it."""
    pieces = [one("10.0.0.0/24", end="10.0.0.9"), one("10.0.0.0/24", "10.0.0.20")]
    (span,) = spans.of_ipam({"ranges": [pieces]})
    hole = spans.of_range(one("10.0.0.0/24", "10.0.0.10", "10.0.0.19"))

    inside = [number for number in range(256) if ipaddress.ip_address(f"10.0.0.{number}") in span]
    assert inside == [*range(1, 10), *range(20, 255)]
    assert (str(span.first), str(span.last)) == ("10.0.0.1", "10.0.0.254")
    assert not span.overlaps(hole)
    assert span.overlaps(spans.of_range(one("10.0.0.0/24", "10.0.0.15", "10.0.0.20")))


def test_sets() -> None:
    """Ranges of one set belong together, whatever family and order the sets have."""
    v4 = [one("10.0.0.0/24"), one("10.1.0.0/24")]
    found = spans.of_ipam({"ranges": [[one("fd00::/64")], [], v4, [one("x")]]})

    assert [(str(each), each.place) for each in found] == [("fd00::/64", 0), ("10.0.0.0/24", 2), ("10.1.0.0/24", 2)]
    assert [[each.subnet for each in group] for group in spans.by_set(found)] == [
        ["fd00::/64"],
        ["10.0.0.0/24", "10.1.0.0/24"],
    ]


def one(subnet: str, start: object = None, end: object = None, gateway: object = None) -> dict[str, object]:
    """A range as host-local knows it."""
    keys = {"subnet": subnet, "rangeStart": start, "rangeEnd": end, "gateway": gateway}
    return {key: value for key, value in keys.items() if value is not None}


@pytest.mark.parametrize(
    "found",
    [
        [V4],
        [V6, V4],
        [[one("10.0.0.0/24", "10.0.0.0", "10.0.0.255", "10.9.9.9")]],
        [[one("10.0.0.0/24", end="10.0.0.99")], [one("10.0.0.0/24", "10.0.0.100")]],
        [[one("10.0.0.0/24", end="10.0.0.99"), one("10.0.0.0/24", "10.0.0.100")]],
        [[one("10.0.0.0/24", "10.0.0.7", "10.0.0.7"), one("10.0.0.0/24", "10.0.0.8", "10.0.0.8")]],
        [[one("10.0.0.0/24", "::ffff:10.0.0.5", "", "fd00::1")]],
        [[one("4000::16.0.0.0/120", "4000::16.0.0.0", "4000::16.0.0.7")]],
        [[{"subnet": "10.0.0.0/24", "rangeStart": None, "note": [1]}]],
    ],
)
def test_check_accepts(found: object) -> None:
    """Ranges written by hand may do all that host-local can."""
    spans.check(found, WHERE)


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (None, "ranges is not a list of lists of objects"),
        ([], "ranges is not a list of lists of objects"),
        ({}, "ranges is not a list of lists of objects"),
        ([[]], "ranges is not a list of lists of objects"),
        ([one("10.0.0.0/24")], "ranges is not a list of lists of objects"),
        ([["10.0.0.0/24"]], "ranges is not a list of lists of objects"),
        ([[{}]], "NoneType in place of a CIDR"),
        ([[one("10.0.0.5/24")]], "'10.0.0.5/24' has host bits set"),
        ([[one("::ffff:10.0.0.0/120")]], "'::ffff:10.0.0.0/120' is IPv4 written as IPv6"),
        ([[one("10.0.0.0/24", "10.0.0.5/24")]], "rangeStart '10.0.0.5/24' is not an IP address"),
        ([[one("10.0.0.0/24", "10.0.0.05")]], "rangeStart '10.0.0.05' is not an IP address"),
        ([[one("10.0.0.0/24", end=167772165)]], "rangeEnd '167772165' is not an IP address"),
        ([[one("10.0.0.0/24", gateway="router")]], "gateway 'router' is not an IP address"),
        ([[one("10.0.0.0/24", "10.0.1.0")]], "no range from 10.0.1.0 to 10.0.0.254 in 10.0.0.0/24"),
        ([[one("10.0.0.0/24", end="10.0.1.0")]], "no range from 10.0.0.1 to 10.0.1.0 in 10.0.0.0/24"),
        ([[one("10.0.0.0/24", "fd00::1")]], "no range from fd00::1 to 10.0.0.254 in 10.0.0.0/24"),
        ([[one("10.0.0.0/24", "10.0.0.9", "10.0.0.8")]], "no range from 10.0.0.9 to 10.0.0.8 in 10.0.0.0/24"),
        ([[*V4, *V6]], "IPv4 and IPv6 in one list of ranges"),
        ([V4, V4], "10.0.1.0/24 and 10.0.1.0/24 overlap"),
        ([[*V4, *V4]], "10.0.1.0/24 and 10.0.1.0/24 overlap"),
        ([[one("10.0.0.0/8")], V6, V4], "10.0.0.0/8 and 10.0.1.0/24 overlap"),
        (
            [[one("10.0.0.0/24", end="10.0.0.9")], [one("10.0.0.0/24", "10.0.0.9")]],
            "10.0.0.0/24 and 10.0.0.0/24 overlap",
        ),
    ],
)
def test_check_refuses(found: object, what: str) -> None:
    """Ranges that host-local would refuse, or should not be given, are named before it comes to that."""
    with pytest.raises(CniError, match=re.escape(f"{WHERE}: {what}")) as caught:
        spans.check(found, WHERE)
    assert caught.value.code == PLUGIN_FAILURE
    assert caught.value.details
