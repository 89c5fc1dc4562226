"""The wire format of Protocol Buffers, for the few messages that tests exchange with containerd.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Union

# Field number -> value; a list is a repeated field, a mapping an embedded message.
Value = Union[int, str, bytes, "Message", Sequence["Value"]]
Message = Mapping[int, Value]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def encode(message: Message) -> bytes:
    """Return a message as bytes."""
    return b"".join(_field(number, value) for number, value in message.items())


def decode(data: bytes) -> dict[int, list[bytes]]:
    """Return field number -> values in order; an integer is given as its varint, to be read by integer().

    Raises ValueError for what is not a message.
    """
    found: dict[int, list[bytes]] = {}
    for number, value in _fields(data):
        found.setdefault(number, []).append(value)
    return found


def text(data: bytes, *path: int) -> str:
    """Return the string at the end of this path of field numbers; empty if it is not set."""
    for number in path:
        data = decode(data).get(number, [b""])[-1]
    return data.decode()


def integer(data: bytes) -> int:
    """Return the value of a varint."""
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data))


def _field(number: int, value: Value) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    if isinstance(value, str):
        value = value.encode()
    elif isinstance(value, Mapping):
        value = encode(value)
    elif not isinstance(value, bytes):
        return b"".join(_field(number, each) for each in value)
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        kind = integer(key) & 7
        if kind == _VARINT:
            value, at = _read_varint(data, at)
        elif kind in (_BYTES, _FIXED64, _FIXED32):
            size, at = _read_varint(data, at) if kind == _BYTES else (bytes([8 if kind == _FIXED64 else 4]), at)
            value, at = data[at : at + integer(size)], at + integer(size)
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if at > len(data):
            raise ValueError(f"cut short: {len(data)} of {at} bytes")
        yield integer(key) >> 3, value


def _read_varint(data: bytes, at: int) -> tuple[bytes, int]:
    end = at
    while data[end : end + 1] >= b"\x80":
        end += 1
    return data[at : end + 1], end + 1
