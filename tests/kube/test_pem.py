"""plugin.kube.pem: which blocks of a text count, and what the certificate in one says; damaged ones are no surprise."""

from __future__ import annotations

import base64
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from plugin.kube import pem
from tests.support.pki import Authority

_UTC = datetime.timezone.utc


def _certificate(subject: list[x509.NameAttribute[str]], end: datetime.datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(x509.Name([]), x509.Name(subject), key.public_key(), 1)
    builder = builder.not_valid_before(datetime.datetime(1950, 1, 1, tzinfo=_UTC)).not_valid_after(end)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _cn(name: str, kind: _ASN1Type = _ASN1Type.UTF8String) -> x509.NameAttribute[str]:
    return x509.NameAttribute(NameOID.COMMON_NAME, name, kind)


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ([], ("", [])),
        ([_cn("a")], ("a", [])),
        ([_cn("a"), _cn("b")], ("b", [])),
        ([_cn("\u00fc")], ("\u00fc", [])),
        ([_cn("\u00fc", _ASN1Type.BMPString)], ("\u00fc", [])),
        ([_cn("a", _ASN1Type.PrintableString)], ("a", [])),
        (
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "o"),
                _cn("a"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "p"),
            ],
            ("a", ["o", "p"]),
        ),
        ([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "u"), _cn("x" * 60)], ("x" * 60, [])),
    ],
)
def test_subject(subject: list[x509.NameAttribute[str]], expected: tuple[str, list[str]]) -> None:
    """Common name (the last, as Go has it) and organisations, in each encoding that occurs."""
    assert pem.subject(_certificate(subject, datetime.datetime(2030, 1, 1, tzinfo=_UTC))) == expected


@pytest.mark.parametrize("year", [1950, 1969, 1970, 1999, 2000, 2024, 2049, 2050, 2051, 9999])
def test_not_after(year: int) -> None:
    """Both ways to write a time: with two digits of the year up to 2049, with four after that."""
    end = datetime.datetime(year, 2, 28, 23, 59, 58, tzinfo=_UTC)
    assert pem.not_after(_certificate([], end)) == end.timestamp()


def test_first_of_several_certificates() -> None:
    """The first one is ours, the others are authorities."""
    authority = Authority()
    assert pem.subject(b"text\n" + authority.client("me").certificate + authority.ca_pem)[0] == "me"


def test_damaged_certificate() -> None:
    """Cut or altered at any byte, a certificate gives an answer or ValueError, and nothing else."""
    body = base64.b64decode(pem.body(Authority().client("me", ["o"]).certificate, "CERTIFICATE"))
    damaged = [body[:end] for end in range(len(body))]
    damaged += [body[:at] + bytes([value]) + body[at + 1 :] for at in range(len(body)) for value in (0, 0x84, 0xFF)]
    refused = 0
    for each in damaged:
        text = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(each) + b"\n-----END CERTIFICATE-----\n"
        for read in (pem.subject, pem.not_after):
            try:
                read(text)
            except ValueError:
                refused += 1
    assert refused > len(body)


@pytest.mark.parametrize(
    ("text", "label", "expected"),
    [
        (b"-----BEGIN CERTIFICATE-----\nZm9v\n-----END CERTIFICATE-----\n", "CERTIFICATE", b"\nZm9v\n"),
        (b"a\r\n-----BEGIN CERTIFICATE-----\r\nZm9v\r\n-----END CERTIFICATE-----", "CERTIFICATE", b"\r\nZm9v\r\n"),
        (b"-----BEGIN TRUSTED CERTIFICATE-----\nZm9v\n-----END TRUSTED CERTIFICATE-----\n", "CERTIFICATE", b""),
        (b"-----BEGIN CERTIFICATE-----\nZm9v\n-----END CERTIFIC", "CERTIFICATE", b""),
        (b"-----BEGIN CERTIFICATE-----\nZm9v\n-----END PRIVATE KEY-----", "CERTIFICATE", b""),
        (b"-----BEGIN EC PRIVATE KEY-----\nZm9v\n-----END EC PRIVATE KEY-----\n", "PRIVATE KEY", b"\nZm9v\n"),
        (b"-----BEGIN PRIVATE KEY-----\nZm9v\n-----END PRIVATE KEY-----\n", "PRIVATE KEY", b"\nZm9v\n"),
        (b"", "CERTIFICATE", b""),
    ],
)
def test_body(text: bytes, label: str, expected: bytes) -> None:
    """Only a whole block with the right label counts."""
    assert pem.body(text, label) == expected


def test_trusted_certificate_before_a_plain_one() -> None:
    """A block of OpenSSL's own kind is skipped, as Go does, not the end of the search."""
    text = b"-----BEGIN TRUSTED CERTIFICATE-----\nYQ==\n-----END TRUSTED CERTIFICATE-----\n"
    text += b"-----BEGIN CERTIFICATE-----\nZm9v\n-----END CERTIFICATE-----\n"
    assert pem.body(text, "CERTIFICATE") == b"\nZm9v\n"
