"""Read the subject and the end of validity of an X.509 certificate."""

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
_VALIDITY, _SUBJECT = 3, 4  # in a TBSCertificate without its version


def pem_block(pem: bytes, label: str) -> bytes:
    """Return the base64 of the first whole block with this label, or one that ends in " PRIVATE KEY"; b"" if none."""
    for part in pem.split(b"-----BEGIN ")[1:]:
        found, _, rest = part.partition(b"-----")
        body, ended, _ = rest.partition(b"-----END " + found + b"-----")
        if ended and (found == label.encode() or (label == "PRIVATE KEY" and found.endswith(b" PRIVATE KEY"))):
            return body
    return b""


def subject(pem: bytes) -> tuple[str, list[str]]:
    """Return the common name and the organisations of the first certificate. Raises ValueError."""
    common_name, organisations = "", []
    for _, names in _walk(_field(pem, _SUBJECT)):
        for _, pair in _walk(names):
            (tag, oid), (kind, value), *_ = _walk(pair)
            if tag == _OID and oid == _COMMON_NAME:
                common_name = value.decode(_WIDE.get(kind, "utf-8"))
            elif tag == _OID and oid == _ORGANIZATION:
                organisations.append(value.decode(_WIDE.get(kind, "utf-8")))
    return common_name, organisations


def not_after(pem: bytes) -> float:
    """Return when the first certificate expires, in seconds since the epoch. Raises ValueError."""
    import calendar

    _, (kind, value) = _walk(_field(pem, _VALIDITY))
    text = value.decode("ascii")
    if kind == _UTC_TIME:  # RFC 5280 4.1.2.5.1: 50 to 99 are of the last century
        text = ("19" if text[:2] >= "50" else "20") + text
    if kind not in (_UTC_TIME, _GENERALIZED_TIME) or not re.fullmatch(r"\d{14}Z", text):
        raise ValueError("notAfter is malformed")
    parts = (text[:4], text[4:6], text[6:8], text[8:10], text[10:12], text[12:14], "0", "0", "0")
    return float(calendar.timegm(tuple(int(part) for part in parts)))


def _field(pem: bytes, index: int) -> bytes:
    der = binascii.a2b_base64(pem_block(pem, "CERTIFICATE"))
    (_, certificate), *_ = _walk(der)
    (_, signed), *_ = _walk(certificate)
    fields = [content for tag, content in _walk(signed) if tag != _VERSION]
    if len(fields) <= index:
        raise ValueError("a field is missing")
    return fields[index]


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
