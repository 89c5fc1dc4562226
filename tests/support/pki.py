"""Throw-away certificate authorities and what they sign, for TLS servers and clients in tests, demo and bench."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from typing import Union

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.signer import Pair

__all__ = ["Authority", "Pair", "encrypted", "key_pem"]

Key = Union[ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey]

_DAY = datetime.timedelta(days=1)


class Authority:
    """A certificate authority that lives as long as the test.

    kind: "ecdsa" (fast) or "rsa", for its own key and those it issues. key_identifiers: without, as some home-made
    authorities are, its certificates carry neither subject nor authority key identifier nor key usage.
    issuer: the authority above, which makes this one an intermediate.
    """

    def __init__(
        self, name: str = "test-ca", kind: str = "ecdsa", key_identifiers: bool = True, issuer: Authority | None = None
    ) -> None:
        self.kind = kind
        self.key_identifiers = key_identifiers
        self.name = _name(name)
        self._key = _new_key(kind)
        self._chain = b"" if issuer is None else issuer._intermediates()
        self._is_root = issuer is None
        self.ca_pem = self._sign_authority(issuer or self)

    def server(self, *names: str, common_name: str = "kube-apiserver", expired: bool = False) -> Pair:
        """A server certificate for these DNS names and IP addresses; without any, only the common name says whose."""
        extensions: list[x509.ExtensionType] = [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])]
        if names:
            extensions.append(x509.SubjectAlternativeName([_alternative(name) for name in names]))
        return self._issue(_name(common_name), extensions, expired)

    def client(self, user: str, groups: Iterable[str] = (), expired: bool = False) -> Pair:
        """A client certificate; the API server takes the common name for the user, organisations for the groups."""
        extensions: list[x509.ExtensionType] = [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])]
        return self._issue(_name(user, groups), extensions, expired)

    def _issue(self, subject: x509.Name, extensions: list[x509.ExtensionType], expired: bool) -> Pair:
        key = _new_key(self.kind)
        builder = _builder(subject, self.name, key, expired)
        extensions = [*extensions, x509.BasicConstraints(ca=False, path_length=None)]
        if self.key_identifiers:
            extensions.append(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Pair(_pem(certificate) + self._intermediates(), key_pem(key))

    def _sign_authority(self, issuer: Authority) -> bytes:
        builder = _builder(self.name, issuer.name, self._key, expired=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        if self.key_identifiers:
            public, above = self._key.public_key(), issuer._key.public_key()
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), critical=False)
            builder = builder.add_extension(_signing_usage(), critical=True)
        return _pem(builder.sign(issuer._key, hashes.SHA256()))

    def _intermediates(self) -> bytes:
        """What a server sends after its certificate: the authorities from here up, without the root."""
        return b"" if self._is_root else self.ca_pem + self._chain


def key_pem(key: Key, password: bytes = b"") -> bytes:
    """A private key as PEM, encrypted when there is a password."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def sec1(pair: Pair) -> bytes:
    """The key of a pair in the older form of its kind (EC: SEC1), the only one of EC keys that client-go reads.

    https://github.com/kubernetes/client-go/blob/master/util/keyutil/key.go: ParsePublicKeysPEM
    """
    key = serialization.load_pem_private_key(pair.key, None)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def encrypted(pair: Pair, password: bytes = b"secret") -> Pair:
    """The same pair with its key encrypted."""
    key = serialization.load_pem_private_key(pair.key, None)
    assert isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey))
    return Pair(pair.certificate, key_pem(key, password))


def _new_key(kind: str) -> Key:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, expired: bool) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 3 * _DAY)
        .not_valid_after(now - _DAY if expired else now + _DAY)
    )


def _name(common_name: str, organisations: Iterable[str] = ()) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organisations]
        + [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _signing_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
