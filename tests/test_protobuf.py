"""Messages as bytes, against examples of the specification."""

from __future__ import annotations

import pytest

from tests.support import protobuf


@pytest.mark.parametrize(
    ("message", "data"),
    [
        ({}, ""),
        ({1: 150}, "08 96 01"),
        ({2: "testing"}, "12 07 74 65 73 74 69 6e 67"),
        ({3: {1: 150}}, "1a 03 08 96 01"),
        ({4: "hello", 6: [1, 2, 3]}, "22 05 68 65 6c 6c 6f 30 01 30 02 30 03"),
        ({16: b"\xff"}, "82 01 01 ff"),
    ],
)
def test_encode(message: protobuf.Message, data: str) -> None:
    """As in https://protobuf.dev/programming-guides/encoding/."""
    assert protobuf.encode(message) == bytes.fromhex(data)


def test_decode() -> None:
    """All that is encoded comes back, repeated fields in order."""
    data = protobuf.encode({1: 300, 2: ["a", "b"], 3: {1: "inner"}})
    found = protobuf.decode(data)

    assert protobuf.integer(found[1][0]) == 300
    assert found[2] == [b"a", b"b"]
    assert protobuf.text(data, 3, 1) == "inner"
    assert protobuf.text(data, 4, 1) == ""


@pytest.mark.parametrize("data", ["0b", "1203 61", "09 00"])
def test_no_message(data: str) -> None:
    """A group, and what is cut short, is an error."""
    with pytest.raises(ValueError, match=r"wire type|cut short"):
        protobuf.decode(bytes.fromhex(data))
