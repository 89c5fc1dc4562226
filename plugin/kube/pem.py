"""Find the blocks in a PEM text, and read the subject and the end of validity of an X.509 certificate.

Blocks are found as Go's encoding/pem does: whole ones, whatever is around them (RFC 7468).
"""

from __future__ import annotations

import binascii
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# X.690 8.1.2 and RFC 5280 4.1
_OID, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x06, 0x17, 0x18, 0xA0
_COMMON_NAME, _ORGANIZATION = b"\x55\x04\x03", b"\x55\x04\x0a"  # 2.5.4.3, 2.5.4.10
_WIDE = {0x1E: "utf-16-be", 0x1C: "utf-32-be"}  # BMPString, UniversalString; the others are ASCII or UTF-8


def blocks(text: bytes, label: str) -> Iterator[bytes]:
    """Yield each block with this label. "PRIVATE KEY" is also the end of other labels, such as EC PRIVATE KEY."""
    for part in text.split(b"-----BEGIN ")[1:]:
        found, _, rest = part.partition(b"-----")
        end = b"-----END " + found + b"-----"
        body, ended, _ = rest.partition(end)
        if ended and (found == label.encode() or (label == "PRIVATE KEY" and found.endswith(b" PRIVATE KEY"))):
            yield b"-----BEGIN " + found + b"-----" + body + end + b"\n"


def body(text: bytes, label: str) -> bytes:
    """Return the base64 of the first block with this label; b"" if there is none."""
    return next(blocks(text, label), b"-----" * 2).split(b"-----")[2]


def subject(text: bytes) -> tuple[str, list[str]]:
    """Return the common name and the organisations of the first certificate in a PEM text. Raises ValueError."""
    common_name, organisations = "", []
    for _, names in _walk(_validity_and_subject(text)[1]):
        for _, pair in _walk(names):
            (tag, oid), (kind, value), *_ = _walk(pair)
            if tag == _OID and oid == _COMMON_NAME:
                common_name = value.decode(_WIDE.get(kind, "utf-8"))
            elif tag == _OID and oid == _ORGANIZATION:
                organisations.append(value.decode(_WIDE.get(kind, "utf-8")))
    return common_name, organisations


def not_after(text: bytes) -> float:
    """Return when the first certificate in a PEM text expires, in seconds since the epoch. Raises ValueError."""
    import calendar

    _, (kind, value) = _walk(_validity_and_subject(text)[0])
    date = value.decode("ascii")
    if kind == _UTC_TIME:  # RFC 5280 4.1.2.5.1: 50 to 99 are of the last century
        date = ("19" if date[:2] >= "50" else "20") + date
    if kind not in (_UTC_TIME, _GENERALIZED_TIME) or not re.fullmatch(r"\d{14}Z", date):
        raise ValueError("notAfter is malformed")
    parts = (date[:4], date[4:6], date[6:8], date[8:10], date[10:12], date[12:14], "0", "0", "0")
    return float(calendar.timegm(tuple(int(part) for part in parts)))


def _validity_and_subject(text: bytes) -> tuple[bytes, bytes]:
    (_, certificate), *_ = _walk(binascii.a2b_base64(body(text, "CERTIFICATE")))
    (_, signed), *_ = _walk(certificate)
    _number, _algorithm, _issuer, validity, subject, *_ = (content for tag, content in _walk(signed) if tag != _VERSION)
    return validity, subject


def _walk(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the content of each value. Raises ValueError."""
    at = 0
    while at < len(der):
        if at + 2 > len(der):
            raise ValueError("DER is cut off")
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size], "big")
            at += size
        if at + length > len(der):
            raise ValueError("DER is cut off")
        yield tag, der[at : at + length]
        at += length
