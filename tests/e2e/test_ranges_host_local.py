"""plugin/addresses/ranges.py and plugin/addresses/spans.py agree with the real host-local."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import tempfile
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plugin.addresses import ranges, spans
from plugin.errors import CniError
from tests.support import parts
from tests.support.budget import examples

WHERE = "test"

try:
    DIRECTORY = parts.host_local()
except parts.PartMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)


def add(found: object, data_dir: str, container: str = "c1") -> dict[str, Any]:
    """host-local's answer to an ADD with these ranges: a result, or an error."""
    ipam = {"type": "host-local", "dataDir": data_dir, "ranges": found}
    config = {"cniVersion": "1.0.0", "name": "net", "ipam": ipam}
    environ = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": container, "CNI_NETNS": "/none", "CNI_IFNAME": "eth0"}
    answer = subprocess.run(
        [os.path.join(DIRECTORY, "host-local")],
        input=json.dumps(config).encode(),
        env={**environ, "CNI_PATH": DIRECTORY},
        capture_output=True,
        check=False,
    )
    return dict(json.loads(answer.stdout))


def outcome(found: object, data_dir: str) -> str:
    """What a first pod gets, in words: its addresses or the error."""
    answer = add(found, data_dir)
    return str(answer["msg"]) if "msg" in answer else " ".join(each["address"] for each in answer["ips"])


ACCEPTED = [
    "11.0.1.0/24,1100:0:0:1::/64",
    "172.20.2.0/24,fd00::2:0:0/96",
    "fc00:400::/120,172.20.4.0/24",
    " 172.20.4.0/24 ,\n fd00::/64 ",
    "10.0.0.0/30,fd00::/126",
    "128.0.0.0/1,8000::/1",
    "1.0.0.0/8,100::/64",
    "4000::16.0.0.0/120,16.0.0.0/24",
    "FD00::/64",
    "::ffff:10.0.0.0/120",
    "169.254.0.0/16,fe80::/64",
    "240.0.0.0/8,2001:db8::/32",
    "255.255.255.252/30",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepted(text: str, tmp_path: Any) -> None:
    """host-local takes what we accept, and hands out one address of each network that was named."""
    found = ranges.from_text(text, WHERE)
    answer = add(found, str(tmp_path))
    assert len(answer.get("ips", ())) == len(found), answer
    for (entry,), given_out in zip(found, answer["ips"]):
        interface = ipaddress.ip_interface(given_out["address"])
        assert interface.network == ipaddress.ip_network(entry["subnet"])


REFUSED = [
    # it refuses
    ("10.0.1.5/24", "Network has host bits set"),
    ("fd00::1/64", "Network has host bits set"),
    ("::ffff:10.0.0.0/95", "version mismatch"),
    ("10.0.0.0/31", "too small to allocate from"),
    ("10.0.0.1/32", "too small to allocate from"),
    ("fd00::/127", "too small to allocate from"),
    ("10.0.0.0", "invalid CIDR address"),
    ("10.0.0.0/", "invalid CIDR address"),
    ("10.0.0.0/33", "invalid CIDR address"),
    ("172.20.4.0/120", "invalid CIDR address"),
    ("fd00::/129", "invalid CIDR address"),
    ("10.0.0.0/+24", "invalid CIDR address"),
    ("10.0.0.0/255.255.255.0", "invalid CIDR address"),
    ("10.0.0.0/0.0.0.255", "invalid CIDR address"),
    ("fe80::%eth0/64", "invalid CIDR address"),
    ("010.0.0.0/24", "invalid CIDR address"),
    ("10.0.0/24", "invalid CIDR address"),
    ("10.0.0.0 /24", "invalid CIDR address"),
    ("", "invalid CIDR address"),
    # it misreads, in every version
    ("::10.0.0.0/120", "10.0.0.2/24"),
    # it hands out what no pod can use
    ("224.0.0.0/24", "224.0.0.2/24"),
    ("ff02::/64", "ff02::2/64"),
    ("127.0.0.0/8", "127.0.0.2/8"),
    # harmless, but nobody else reads it the same way
    ("10.0.0.0/024", "10.0.0.2/24"),
    # before 1.2.0 | from 1.2.0 on. A second pod's ADD never ends in the first two cases of the old one.
    ("64:ff9b::/96", "MarshalText|64:ff9b::2/96"),
    ("0.1.0.0/16", "MarshalText|0.1.0.2/16"),
    ("0.0.0.0/8", "no IP addresses available|0.0.0.2/8"),
    ("0.0.0.0/0", "no IP addresses available|0.0.0.2/0"),
    ("::/0", "no IP addresses available|::2/0"),
    ("::/64", "no IP addresses available|::2/64"),
]


@pytest.mark.parametrize(("cidr", "does"), REFUSED)
def test_refused(cidr: str, does: str, tmp_path: Any) -> None:
    """Of what we refuse, host-local refuses most, and does something unwanted with the rest."""
    with pytest.raises(CniError):
        ranges.from_cidrs([cidr], WHERE)
    answer = outcome([[{"subnet": cidr}]], str(tmp_path))
    assert any(words in answer for words in does.split("|")), answer


def test_mapped_must_be_rewritten(tmp_path: Any) -> None:
    """host-local refuses IPv4 written as IPv6, so we pass the IPv4 network."""
    assert "version mismatch" in outcome([[{"subnet": "::ffff:10.0.0.0/120"}]], str(tmp_path))


RUNAWAY = {"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.255"}


def runs_away(entry: object) -> bool:
    """Whether a range starts at its last address, behind the end that it has by default."""
    if not isinstance(entry, dict) or entry.get("rangeEnd"):
        return False
    return (entry["subnet"], entry.get("rangeStart")) in (("10.0.0.0/24", "10.0.0.255"), ("10.0.0.0/29", "10.0.0.7"))


def test_start_behind_default_end(tmp_path: Any) -> None:
    """The one range that host-local accepts and we refuse: it extends into the next network, another node's."""
    with pytest.raises(CniError, match="no range from 10.0.0.255 to 10.0.0.254"):
        spans.check([[RUNAWAY]], WHERE)
    given_out = [add([[RUNAWAY]], str(tmp_path), container)["ips"][0]["address"] for container in ("c1", "c2")]
    assert given_out == ["10.0.0.255/24", "10.0.1.0/24"]


V4 = ["10.0.0.0/24", "10.0.0.0/29", "10.0.1.0/24"]
V6 = ["fd00::/64", "fd00::/120", "fd00::1:0/112", "4000::16.0.0.0/120"]
V4_ADDRESSES = ["10.0.0.0", "10.0.0.1", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.255", "10.0.1.9", "::ffff:10.0.0.6"]
V6_ADDRESSES = ["fd00::", "fd00::1", "fd00::5", "fd00::ff", "fd00::1:7", "4000::1000:7"]
WRONG = ["10.0.0.5/24", "10.0.0.0/31", "::ffff:10.0.0.0/120", "10.0.0.05", "x", ""]


def some_ranges(subnets: list[str], addresses: list[str]) -> st.SearchStrategy[dict[str, str]]:
    """Ranges of these subnets, most of them without, some with, a start, an end and a gateway of these addresses."""
    address = st.sampled_from(addresses)
    optional = {"rangeStart": address, "rangeEnd": address, "gateway": address}
    return st.fixed_dictionaries({"subnet": st.sampled_from(subnets)}, optional=optional)


RANGES_V4 = some_ranges(V4, V4_ADDRESSES)
RANGES_V6 = some_ranges(V6, V6_ADDRESSES)
RANGES_ANY = some_ranges(V4 + V6 + WRONG, V4_ADDRESSES + V6_ADDRESSES + WRONG)
SET = st.lists(RANGES_V4, min_size=1, max_size=2) | st.lists(RANGES_V6, min_size=1, max_size=2)
SETS = st.lists(SET, min_size=1, max_size=3)
SETS_ANY = st.lists(st.lists(RANGES_ANY, max_size=2) | RANGES_ANY, max_size=2)


@examples(300)
@given(SETS | SETS_ANY)
def test_check_agrees(found: list[Any]) -> None:
    """A `ranges` value passes our check exactly if host-local takes it for valid, whether or not an address is left."""
    assume(not any(runs_away(entry) for each in found for entry in each))
    try:
        spans.check(found, WHERE)
        refused = ""
    except CniError as error:
        refused = error.msg
    with tempfile.TemporaryDirectory() as data_dir:
        answer = add(found, data_dir)
    valid = "ips" in answer or "no IP addresses available" in answer["msg"]
    assert valid == (not refused), (refused, answer)
