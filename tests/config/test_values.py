"""Checkers for one value of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from plugin.config import values
from plugin.errors import INVALID_CONFIG, CniError

Read = Callable[[dict[str, Any], str, str], Any]
ABSENT = object()
WRONG: dict[Read, list[Any]] = {
    values.text: [0, False, [], {}, 1.5, "a\0b"],
    values.path: [0, [], "a", "./a", "~/a", "a/b", " /a", "/a\0"],
    values.node_name: [0, "VM-002", "a_b", "-a", "a-", "a..b", ".a", "a.", "a/b", "..", "a\n", "a b", "a" * 254, "ä"],
    values.annotation: [
        0,
        "net1=",
        "a b",
        "/net1",
        "a/",
        "a/b/c",
        "-a",
        "a.",
        "a" * 64,
        "a_b/net1",
        ".a/b",
        "n\n",
        "$(x)",
    ],
    values.seconds: ["30", True, False, [], -1, -0.1, 86400.1, 10**400],
    values.names: ["a", 0, {}, [1], ["a", None], [["a"]], False],
    values.addresses: ["10.0.0.1", 0, {}, [1], ["10.0.0.1", None], [["10.0.0.1"]], True],
    values.switch: ["false", 0, 1, [], {}, ""],
    values.fallback: ["podcidrs", "podCIDR", "PodCIDRs", True, ["podCIDRs"], {}],
}


def config(value: object) -> dict[str, Any]:
    """A configuration in which key has this value, or is not there."""
    return {} if value is ABSENT else {"key": value}


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (values.text, ABSENT, ""),
        (values.text, None, ""),
        (values.text, "", ""),
        (values.text, "väl", "väl"),
        (values.path, ABSENT, ""),
        (values.path, "", ""),
        (values.path, "/", "/"),
        (values.path, "/a/../b c", "/a/../b c"),
        (values.annotation, ABSENT, ""),
        (values.annotation, "", ""),
        (values.annotation, "a", "a"),
        (values.annotation, "Kube-Node.nordix.org/net_1.x", "Kube-Node.nordix.org/net_1.x"),
        (values.annotation, f"{'a' * 253}/{'b' * 63}", f"{'a' * 253}/{'b' * 63}"),
        (values.node_name, ABSENT, ""),
        (values.node_name, "vm-002", "vm-002"),
        (values.node_name, "ip-10-0-0-1.eu-west-1.compute.internal", "ip-10-0-0-1.eu-west-1.compute.internal"),
        (values.node_name, "1", "1"),
        (values.node_name, "a" * 253, "a" * 253),
        (values.seconds, ABSENT, 30.0),
        (values.seconds, None, 30.0),
        (values.seconds, 0, 0.0),
        (values.seconds, 0.5, 0.5),
        (values.seconds, 86400, 86400.0),
        (values.names, ABSENT, None),
        (values.names, None, None),
        (values.names, [], []),
        (values.names, ["a", "b"], ["a", "b"]),
        (values.addresses, ABSENT, []),
        (values.addresses, None, []),
        (values.addresses, ["10.0.0.1", "fd00::/64"], ["10.0.0.1", "fd00::/64"]),
        (values.switch, ABSENT, True),
        (values.switch, None, True),
        (values.switch, True, True),
        (values.switch, False, False),
        (values.fallback, ABSENT, ""),
        (values.fallback, "", ""),
        (values.fallback, "podCIDRs", "podCIDRs"),
    ],
)
def test_accepted(read: Read, value: object, expected: object) -> None:
    """A value of the right kind comes back; an absent one as what it stands for."""
    assert read(config(value), "key", "ipam.") == expected


@pytest.mark.parametrize(("read", "value"), [(read, value) for read, values in WRONG.items() for value in values])
def test_refused(read: Read, value: object) -> None:
    """A value of the wrong kind is an error that names the key and says what to write."""
    with pytest.raises(CniError) as caught:
        read(config(value), "key", "ipam.")

    assert caught.value.code == INVALID_CONFIG
    assert "'ipam.key'" in caught.value.msg
    assert caught.value.details


@pytest.mark.parametrize("read", [values.text, values.path])
@pytest.mark.parametrize("value", ["/a\ud800", "/\udfff/b"])
def test_text_that_is_no_text(read: Read, value: str) -> None:
    """Half a surrogate pair, which JSON can write and no file name can hold, is refused."""
    with pytest.raises(CniError) as caught:
        read(config(value), "key", "ipam.")

    assert caught.value.code == INVALID_CONFIG


def test_long_value_is_cut_in_the_message() -> None:
    """A message repeats only the beginning of a long value."""
    with pytest.raises(CniError) as caught:
        values.path(config("x" * 100_000), "key", "ipam.")

    assert len(caught.value.msg) < 200


@pytest.mark.parametrize("value", ["a" * 63 + "-" * 190 + "!", "a." * 126 + "A", "-" * 253])
def test_node_name_is_checked_in_no_time(value: str) -> None:
    """No name makes the check go through all the ways to divide it: the test would not end."""
    assert not values.is_node_name(value)
