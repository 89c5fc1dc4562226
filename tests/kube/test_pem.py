"""plugin.kube.pem: which blocks of a text count."""

from __future__ import annotations

import pytest

from plugin.kube import pem


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
