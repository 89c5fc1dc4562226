"""CIDRs become host-local ranges, or are refused with what to write instead."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plugin.addresses import ranges, spans
from plugin.errors import PLUGIN_FAILURE, CniError
from tests.support.budget import examples

WHERE = "annotation example.com/net1 of node vm-002"

# (text, the subnets in canonical form)
ACCEPTED = [
    ("11.0.1.0/24,1100:0:0:1::/64", ["11.0.1.0/24", "1100:0:0:1::/64"]),
    ("172.20.2.0/24,fd00::2:0:0/96", ["172.20.2.0/24", "fd00::2:0:0/96"]),
    ("fc00:400::/120,172.20.4.0/24", ["fc00:400::/120", "172.20.4.0/24"]),
    ("fc00:400::/120", ["fc00:400::/120"]),
    ("172.20.4.0/24", ["172.20.4.0/24"]),
    (" 172.20.4.0/24 ,\n\tfd00::/64\r\n", ["172.20.4.0/24", "fd00::/64"]),
    ("10.0.0.0/30,fd00::/126", ["10.0.0.0/30", "fd00::/126"]),
    ("128.0.0.0/1,8000::/1", ["128.0.0.0/1", "8000::/1"]),
    ("1.0.0.0/8,100::/64", ["1.0.0.0/8", "100::/64"]),
    ("4000::16.0.0.0/120,16.0.0.0/24", ["4000::1000:0/120", "16.0.0.0/24"]),
    ("FD00:0:0:0001:0::/64", ["fd00:0:0:1::/64"]),
    ("::ffff:10.0.0.0/120", ["10.0.0.0/24"]),
    ("0:0:0:0:0:FFFF:0a00:0/104", ["10.0.0.0/8"]),
    ("::ffff:10.0.0.0/126,fd00::/64", ["10.0.0.0/30", "fd00::/64"]),
    ("169.254.0.0/16,fe80::/64", ["169.254.0.0/16", "fe80::/64"]),
    ("240.0.0.0/8,2001:db8::/32", ["240.0.0.0/8", "2001:db8::/32"]),
    ("100.64.0.0/10", ["100.64.0.0/10"]),
]

# (text, what the message says, what the details say)
REFUSED = [
    # as host-local would
    ("10.0.1.5/24", "'10.0.1.5/24' has host bits set", "write 10.0.1.0/24"),
    ("fd00::1/64", "'fd00::1/64' has host bits set", "write fd00::/64"),
    ("::ffff:10.0.0.5/120", "has host bits set", "write 10.0.0.0/24"),
    ("10.0.0.0/31", "is too small", "prefix length 30 or less"),
    ("10.0.0.1/32", "is too small", "prefix length 30 or less"),
    ("fd00::/127", "is too small", "prefix length 126 or less"),
    ("::ffff:10.0.0.0/127", "is too small", "prefix length 30 or less"),
    ("10.0.0.0", "has no prefix length", "such as 10.0.1.0/24"),
    ("fd00::", "has no prefix length", "or fd00:0:0:1::/64"),
    ("10.0.0.0/", "has a prefix length other than 0 to 32", "such as"),
    ("10.0.0.0/33", "has a prefix length other than 0 to 32", "such as"),
    ("172.20.4.0/120", "has a prefix length other than 0 to 32", "such as"),
    ("fd00::/129", "has a prefix length other than 0 to 128", "such as"),
    ("10.0.0.0/-1", "has a prefix length other than 0 to 32", "such as"),
    ("10.0.0.0/+24", "has a prefix length other than 0 to 32", "such as"),
    ("10.0.0.0/\u0662\u0664", "has a prefix length other than 0 to 32", "such as"),
    ("10.0.0.0/24/24", "has a prefix length other than 0 to 32", "such as"),
    ("10.0.0.0/255.0.255.0", "has a prefix length other than 0 to 32", "such as"),
    ("10.0.0.0/255.255.255.0", "has a mask, or zeros, in place of", "write 10.0.0.0/24"),
    ("10.0.0.9/255.255.255.248", "has a mask, or zeros, in place of", "write 10.0.0.8/29"),
    ("10.0.0.0/0.0.0.255", "has a mask, or zeros, in place of", "write 10.0.0.0/24"),
    ("10.0.0.0/024", "has a mask, or zeros, in place of", "write 10.0.0.0/24"),
    ("fe80::%eth0/64", "has a zone", "write fe80::/64"),
    ("010.0.0.0/24", "has leading zeros", "such as"),
    ("10.0.00.0/24", "has leading zeros", "such as"),
    ("10.0.0.00/24", "has leading zeros", "such as"),
    ("fd00::010.0.0.0/120", "has leading zeros", "such as"),
    ("10.0.0/24", "is not an IP network", "such as"),
    ("10/8", "is not an IP network", "such as"),
    ("167772160/8", "is not an IP network", "such as"),
    ("300.0.0.0/8", "is not an IP network", "such as"),
    ("fd00:::/64", "is not an IP network", "such as"),
    ("fd00::00001:0/120", "is not an IP network", "such as"),
    ("[fd00::]/64", "is not an IP network", "such as"),
    ("\uff11\uff10.0.0.0/8", "is not an IP network", "such as"),
    ("/24", "is not an IP network", "such as"),
    ("%eth0/64", "is not an IP network", "such as"),
    ("node-1", "is not an IP network", "such as"),
    ('["10.0.0.0/24"]', "is not an IP network", "such as"),
    ("10.0.0.0/24;fd00::/64", "has a prefix length other than", "a comma between two"),
    ("10.0.0.0/24 fd00::/64", "has a prefix length other than", "a comma between two"),
    ("10.0.0.0 /24", "has white space in it", "write 10.0.0.0/24"),
    ("10.0.0.0/\u00a024", "has white space in it", "write 10.0.0.0/24"),
    ("10.0.0.0/24\x00", "'10.0.0.0/24\\x00' has a prefix length other than", "such as"),
    # in the form of another plugin, or of a template
    ("10.1.2.0-10.1.2.20/24", "'10.1.2.0-10.1.2.20/24' is a pair of addresses, not a CIDR", "write 10.1.2.0/24, and"),
    ("10.1.2.5-10.1.2.20/24", "is a pair of addresses, not a CIDR", "write 10.1.2.0/24, and"),
    ("10.1.2.0 - 10.1.2.20", "is a pair of addresses, not a CIDR", "write a CIDR, and leave addresses out with"),
    ("fd00::-fd00::ff/120", "is a pair of addresses, not a CIDR", "write fd00::/120, and"),
    ("10.1.2.0\\/24", "'10.1.2.0\\\\/24' has a backslash in it", "write 10.1.2.0/24"),
    ('ranges: [[{"subnet": "172.16.5.0/24"}]]', "is a configuration of host-local, not a CIDR", "type node-annotation"),
    # as host-local would not: it hands out what is meant for no pod
    ("::10.0.0.0/120", "would make host-local hand out IPv4 addresses", "write 10.0.0.0/24"),
    ("::10.0.0.5/120", "would make host-local hand out IPv4 addresses", "write 10.0.0.0/24"),
    ("::ffff:0/112", "would make host-local hand out IPv4 addresses", "write 255.255.0.0/16"),
    ("::ffff:0:0/95", "is IPv4 written as IPv6, with a prefix length below 96", "such as 10.0.1.0/24"),
    ("::ffff:10.0.0.0/24", "is IPv4 written as IPv6, with a prefix length below 96", "such as 10.0.1.0/24"),
    ("::10.0.0.0/64", "is IPv4 written as IPv6, with a prefix length below 96", "such as 10.0.1.0/24"),
    ("64:ff9b::/96", "begins with a zero byte", "such as"),
    ("::fffe:0:0/95", "begins with a zero byte", "such as"),
    ("::ffff:0:0/96", "begins with a zero byte", "such as"),
    ("::/0", "begins with a zero byte", "such as"),
    ("::/104", "begins with a zero byte", "such as"),
    ("0.0.0.0/0", "begins with a zero byte", "such as"),
    ("0.0.0.0/8", "begins with a zero byte", "such as"),
    ("224.0.0.0/24", "is a multicast or loopback network", "such as"),
    ("ff02::/64", "is a multicast or loopback network", "such as"),
    ("127.0.0.0/8", "is a multicast or loopback network", "such as"),
    ("::ffff:127.0.0.0/104", "is a multicast or loopback network", "such as"),
    # lists
    ("", "'' is not an IP network", "such as"),
    (" ", "'' is not an IP network", "such as"),
    ("10.0.0.0/24,", "'' is not an IP network", "such as"),
    (",10.0.0.0/24", "'' is not an IP network", "such as"),
    ("10.0.0.0/24,10.0.0.0/24", "10.0.0.0/24 and 10.0.0.0/24 overlap", "remove 10.0.0.0/24"),
    ("10.0.1.0/24,fd00::/64,10.0.0.0/16", "10.0.0.0/16 and 10.0.1.0/24 overlap", "remove 10.0.1.0/24"),
    ("fd00::/64,10.0.0.0/24,fd00::/48", "fd00::/48 and fd00::/64 overlap", "remove fd00::/64"),
    ("10.0.0.0/24,::ffff:10.0.0.128/121", "10.0.0.0/24 and 10.0.0.128/25 overlap", "remove 10.0.0.128/25"),
    ("," * 5000, "'' is not an IP network", "such as"),
    ("9" * 5000, "'" + "9" * 60 + "...' is not an IP network", "such as"),
    ("10.0.0.0/" + "9" * 5000, "9...' is not an IP network", "such as"),
]


@pytest.mark.parametrize(("text", "subnets"), ACCEPTED)
def test_accepted(text: str, subnets: list[str]) -> None:
    """One or two CIDRs become one set of ranges each, in their order and canonical form."""
    expected = [[{"subnet": subnet}] for subnet in subnets]
    assert ranges.from_text(text, WHERE) == expected
    assert ranges.from_cidrs([item.strip() for item in text.split(",")], WHERE) == expected
    assert ranges.from_cidrs(subnets, WHERE) == expected


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        ("172.20.2.0/24,172.20.9.0/24", [["172.20.2.0/24", "172.20.9.0/24"]]),
        ("172.20.2.0/24,172.20.9.0/24,fd00::2:0:0/96", [["172.20.2.0/24", "172.20.9.0/24"], ["fd00::2:0:0/96"]]),
        ("172.20.9.0/24,fd00::/96,172.20.2.0/24", [["172.20.9.0/24", "172.20.2.0/24"], ["fd00::/96"]]),
        (
            "fd01::/64,10.0.0.0/24,fd00::/64,::ffff:10.0.1.0/120",
            [["fd01::/64", "fd00::/64"], ["10.0.0.0/24", "10.0.1.0/24"]],
        ),
        ("10.0.0.0/25,10.0.0.128/25", [["10.0.0.0/25", "10.0.0.128/25"]]),
    ],
)
def test_one_set_for_each_family(text: str, sets: list[list[str]]) -> None:
    """Several CIDRs of one family are one set, in their order; the sets are in the order of their first."""
    found = ranges.from_text(text, WHERE)

    assert found == [[{"subnet": subnet} for subnet in subnets] for subnets in sets]
    spans.check(found, WHERE)


@pytest.mark.parametrize(("text", "what", "advice"), REFUSED)
def test_refused(text: str, what: str, advice: str) -> None:
    """What host-local would reject or misread is refused, saying where it is and what to write instead."""
    error = refusal(text)
    assert error.code == PLUGIN_FAILURE
    assert error.msg.startswith(f"{WHERE}: ")
    assert what in error.msg
    assert advice in error.details
    assert error.msg.isprintable()
    assert len(error.msg) < 200


@pytest.mark.parametrize(
    ("cidrs", "what"),
    [
        ([], "0 ranges"),
        (["10.0.0.0/24", "10.0.1.0/24"], "two ranges of one family, 10.0.0.0/24 and 10.0.1.0/24"),
        (["fd00::/64", "fd01::/64"], "two ranges of one family"),
        (["10.0.0.0/24", "::ffff:10.0.1.0/120"], "two ranges of one family"),
        (["10.0.0.0/24", "fd00::/64", "fd01::/64"], "3 ranges"),
        ([None], "NoneType in place of a CIDR"),
        (["10.0.0.0/24", 7], "int in place of a CIDR"),
        ([["10.0.0.0/24"]], "list in place of a CIDR"),
        ([b"10.0.0.0/24"], "bytes in place of a CIDR"),
        ([" 10.0.0.0/24"], "' 10.0.0.0/24' has white space in it"),
        (["10.0.0.0/24,fd00::/64"], "'10.0.0.0/24,fd00::/64' has a prefix length other than"),
    ],
)
def test_refused_lists(cidrs: Any, what: str) -> None:
    """A list that a server sent may hold anything; blanks are tolerated only where a person separates by commas."""
    with pytest.raises(CniError, match=re.escape(what)) as caught:
        ranges.from_cidrs(cidrs, WHERE)
    assert caught.value.code == PLUGIN_FAILURE


def test_advice_is_right() -> None:
    """Who writes what a message says is not sent away again."""
    advices = [refusal(text).details for text, *_ in REFUSED]
    networks = [advice[len("write ") :] for advice in advices if re.match("write [0-9a-f:.]+/[0-9]+$", advice)]
    assert len(networks) > 10
    for network in networks:
        assert ranges.from_cidrs([network], WHERE) == [[{"subnet": network}]]


def refusal(text: str) -> CniError:
    """The error for this text."""
    with pytest.raises(CniError) as caught:
        ranges.from_text(text, WHERE)
    return caught.value


V4 = [{"subnet": "10.0.1.0/24"}]
V6 = [{"subnet": "fd00::/64"}, {"subnet": "fd01::/64"}]


@pytest.mark.parametrize(
    ("found", "ipv6"),
    [
        ([], []),
        ([V4], []),
        ([V6], [V6]),
        ([V4, V6], [V6]),
        ([V6, V4, V6], [V6, V6]),
        # what an operator's file may hold; host-local refuses each of these
        ([V6 + V4], []),
        ([[], {}, None, "fd00::/64", [None], [{}], [{"subnet": None}], ["fd00::/64"], V6], [V6]),
    ],
)
def test_ipv6_only(found: Any, ipv6: Any) -> None:
    """Only what is surely IPv6 counts as such: else pods that may have no IPv4 address get one."""
    assert ranges.ipv6_only(found) == ipv6


def network_of(address: Any, bits: int) -> str:
    """The network with so many of the bits of this address."""
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))


ADDRESSES = st.ip_addresses() | st.ip_addresses(network="10.0.0.0/8") | st.ip_addresses(network="fc00::/7")
LENGTHS = st.integers(0, 130).map(str) | st.sampled_from(["255.255.255.0", "0.0.0.255", "024", "-1", ""])
FORMS = ["{}/{}", " {}/{}", "{}%1/{}", "{}", "{}/{}/8", "::{}/{}", "::ffff:{}/{}"]
CIDRS = st.builds(network_of, ADDRESSES, st.integers(8, 32))
MAPPED = st.builds("::ffff:{}/{}".format, st.sampled_from(["10.0.0.0", "0.0.0.0", "127.0.0.0"]), st.integers(88, 128))
TEXTS = st.text("0123456789abcdefF:./% ,\n\u0663", max_size=45) | st.text()
TEXTS |= st.builds(str.format, st.sampled_from(FORMS), ADDRESSES, LENGTHS) | CIDRS | MAPPED


@examples(600)
@given(st.lists(TEXTS, min_size=1, max_size=3) | st.lists(CIDRS | MAPPED, min_size=1, max_size=2))
@example(["::ffff:10.0.0.0/120", "fd00::/64"])
def test_any_text(texts: list[str]) -> None:
    """Whatever the texts, the ranges are the very networks that Python's strict reader sees, or there is an error."""
    try:
        found = ranges.from_cidrs(texts, WHERE)
    except CniError as error:
        assert error.msg.isprintable()
        return
    expected = [ipaddress.ip_network(text, strict=True) for text in texts]
    mapped = ipaddress.IPv6Network("::ffff:0:0/96")
    for (entry,), network in zip(found, expected):
        subnet = ipaddress.ip_network(entry["subnet"], strict=True)
        if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(mapped):
            assert int(subnet[0]) == int(network[0]) & 0xFFFFFFFF
            assert subnet.num_addresses == network.num_addresses
        else:
            assert subnet == network
        assert entry == {"subnet": str(subnet)}
    assert len(found) == len(texts) == len({":" in entry["subnet"] for (entry,) in found})
    spans.check(found, WHERE)
