"""What an annotation of node-annotation gives to host-local is checked before host-local is called."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plugin.addresses import annotated, annotation
from plugin.errors import PLUGIN_FAILURE, CniError

WHERE = "annotation example.com/net1 of node vm-002"


def checked(text: str, **config: Any) -> dict[str, Any]:
    """What an annotation of this text holds, if it is accepted."""
    annotated.refuse_cidrs(text, WHERE)
    given = annotation.parse(text, "example.com/net1")
    annotated.check(given, config, WHERE)
    return given


@pytest.mark.parametrize(
    "text",
    [
        'ranges: [[{"subnet": "172.16.5.0/24"}]]',
        '{"ranges": [[{"subnet": "172.16.5.0/24"}, {"subnet": "172.16.9.0/24"}], [{"subnet": "fd00::/64"}]]}',
        'subnet: "172.16.5.0/24", gateway: "172.16.5.254"',
        'dataDir: "/run/x", ranges: [[{"subnet": "172.16.5.0/24", "_note": "rack 7"}]], "_comment": "x", "//": 1',
        'ranges: [[{"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.5", "rangeEnd": "10.0.0.9", "gateway": "fd::1"}]]',
        'ranges: [[{"subnet": "10.0.0.0/24"}]], routes: [{"dst": "0.0.0.0/0"}], resolvConf: "/etc/resolv.conf"',
        'ranges: null, subnet: "172.16.5.0/24"',
    ],
)
def test_accepted(text: str) -> None:
    """What host-local can use passes."""
    assert checked(text)


@pytest.mark.parametrize("key", ["ipRanges", "ipranges"])
def test_ranges_of_the_runtime(key: str) -> None:
    """Without ranges of its own an annotation is fine if the runtime sends some."""
    assert checked('dataDir: "/run/x"', runtimeConfig={key: [[{"subnet": "10.0.0.0/24"}]]})


RIGHT = '[[{"subnet": "10.0.1.0/24"}]]'


@pytest.mark.parametrize(
    ("text", "what", "advice"),
    [
        ("", "it is empty", f"write ranges: {RIGHT}"),
        (" \n", "it is empty", f"write ranges: {RIGHT}"),
        ("{}", "it has no ranges", f"write ranges: {RIGHT}"),
        ('dataDir: "/run/x"', "it has no ranges", f"write ranges: {RIGHT}"),
        ("ranges: []", "it has no ranges", f"write ranges: {RIGHT}"),
        ("ranges: null", "it has no ranges", f"write ranges: {RIGHT}"),
        ('{"ipam": {"ranges": [[{"subnet": "10.0.0.0/24"}]]}}', "'ipam' does not belong into it", "inside of it"),
        ('{"IPAM": {"subnet": "10.0.0.0/24"}}', "'IPAM' does not belong into it", "inside of it"),
        ('ranges: [{"subnet": "10.0.1.0/24"}]', "ranges has too few brackets", f"write ranges: {RIGHT}"),
        ('ranges: {"subnet": "10.0.1.0/24"}', "ranges has too few brackets", f"write ranges: {RIGHT}"),
        ('ranges: ["10.0.1.0/24"]', "ranges holds strings", f"write ranges: {RIGHT}"),
        ('ranges: "10.0.1.0/24"', "ranges holds strings", f"write ranges: {RIGHT}"),
        ('ranges: [["10.0.1.0/24"]]', "ranges is not a list of lists of objects", f"write ranges: {RIGHT}"),
        ('ranges: [[[{"subnet": "10.0.1.0/24"}]]]', "ranges is not a list of lists of objects", f"ranges: {RIGHT}"),
        ("ranges: [[]]", "ranges is not a list of lists of objects", f"write ranges: {RIGHT}"),
        ("ranges: true", "ranges is not a list of lists of objects", f"write ranges: {RIGHT}"),
        ("172.20.2.0/24", "it is a list of CIDRs", '[[{"subnet": "172.20.2.0/24"}]], or use type kube-node'),
        (
            "172.20.2.0/24, fd00::/64",
            "it is a list of CIDRs",
            'write ranges: [[{"subnet": "172.20.2.0/24"}], [{"subnet": "fd00::/64"}]], or',
        ),
        ('rnages: [[{"subnet": "10.0.1.0/24"}]]', "'rnages' is not a key of host-local", "write 'ranges'"),
        ('Ranges: [[{"subnet": "10.0.1.0/24"}]]', "'Ranges' is not a key of host-local", "write 'ranges'"),
        (
            'ranges: [[{"subnet": "10.0.1.0/24", "range_start": "10.0.1.9"}]]',
            "'range_start' is not a key of host-local",
            "write 'rangeStart'",
        ),
        ('ranges: [[{"subnet": "10.0.1.0/24", "rangeEndd": "10.0.1.9"}]]', "'rangeEndd' is not", "write 'rangeEnd'"),
        ('ranges: [[{"subnets": "10.0.1.0/24"}]]', "'subnets' is not a key of host-local", "write 'subnet'"),
        ('ranges: [[{"cidr": "10.0.1.0/24"}]]', "NoneType in place of a CIDR", "write a network"),
        ('ranges: [[{"subnet": "10.0.1.5/24"}]]', "'10.0.1.5/24' has host bits set", "write 10.0.1.0/24"),
        (
            'subnet: "10.0.1.0/24", ranges: [[{"subnet": "10.0.1.0/24"}]]',
            "10.0.1.0/24 and 10.0.1.0/24 overlap",
            "one range only",
        ),
    ],
)
def test_refused(text: str, what: str, advice: str) -> None:
    """Each error names the annotation and the node, and says what to write."""
    with pytest.raises(CniError) as caught:
        checked(text)

    assert caught.value.code == PLUGIN_FAILURE
    assert caught.value.msg.startswith(f"{WHERE}: ")
    assert what in caught.value.msg
    assert advice in caught.value.details


def test_advice_is_right() -> None:
    """Who writes what an error says is not sent away again."""
    for text in ("", "{}", 'ranges: [{"subnet": "10.0.1.0/24"}]', "172.20.2.0/24,fd00::/64", 'ranges: ["fd00::/64"]'):
        with pytest.raises(CniError) as caught:
            checked(text)
        advice = caught.value.details.removeprefix("write ").partition(", or use")[0]
        assert checked(advice), json.dumps(advice)
