"""Make the TLS context: only the kubeconfig's CA is trusted, and keys stay in memory."""

from __future__ import annotations

import binascii
import errno
import os
import ssl

from plugin.errors import INVALID_CONFIG, IO_FAILURE, PLUGIN_FAILURE, CniError, Unreachable
from plugin.kube import pem
from plugin.kube.redaction import redact

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from plugin.kube.credentials import Credentials
    from plugin.kube.kubeconfig import Kubeconfig

# Accept a leaf or intermediate certificate as a trust anchor, as Go does; ssl has the name since 3.10.
_PARTIAL_CHAIN = 0x80000
_NOEXEC_SEAL = 8  # MFD_NOEXEC_SEAL, memfd_create(2): wanted where vm.memfd_noexec is 2, unknown before Linux 6.3
_MEMORY_DIRECTORIES = ("/run", "/dev/shm")


def context(config: Kubeconfig, credentials: Credentials) -> ssl.SSLContext:
    """Return the context for this server and user. Raises CniError if a certificate or key cannot be used."""
    made = _trusting(config)
    if credentials.certificate:
        _present(made, credentials, f"user {config.user_name!r} of {config.path}")
    return made


def proxy_context(config: Kubeconfig) -> ssl.SSLContext:
    """Return the context for an https:// proxy: the cluster's CA is trusted, as in client-go, and the system's.

    It has no client certificate: that is for the API server.
    """
    made = _trusting(config)
    made.load_default_certs()
    return made


def bare() -> ssl.SSLContext:
    """Return a context that verifies certificates and subject alternative names, without any CA.

    Not create_default_context(): since Python 3.13 it refuses CAs without key identifiers, which Go accepts and
    clusters have. Raises Unreachable if OpenSSL's configuration makes TLS impossible.
    """
    try:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
    except (ssl.SSLError, ValueError) as error:
        raise _no_tls(f"OpenSSL says {getattr(error, 'reason', '') or error}") from None
    if 0 < made.maximum_version < ssl.TLSVersion.TLSv1_2:
        raise _no_tls("TLS 1.2 and later are switched off (MaxProtocol)")
    made.verify_flags |= _PARTIAL_CHAIN
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    made.hostname_checks_common_name = False
    return made


def _no_tls(why: str) -> Unreachable:
    directory = os.path.dirname(ssl.get_default_verify_paths().openssl_cafile)
    file = os.environ.get("OPENSSL_CONF") or f"{directory}/openssl.cnf"
    details = f"correct {file}, OpenSSL's configuration: a provider that it names may be missing"
    return Unreachable(f"TLS cannot be set up: {why}", details, PLUGIN_FAILURE)


def names(made: ssl.SSLContext, plain: socket.socket, server_name: str) -> list[str]:
    """Return the names in the certificate of the server at the other end. Raises OSError if it is not valid otherwise.

    The context must not be used afterwards: it accepts any name.
    """
    made.check_hostname = False
    with plain, made.wrap_socket(plain, server_hostname=server_name) as connection:
        certificate: Any = connection.getpeercert()
    return [redact(str(name)) for _, name in certificate.get("subjectAltName", ())]


def _trusting(config: Kubeconfig) -> ssl.SSLContext:
    made = bare()
    if config.insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    elif config.ca:
        _trust(made, config)
    else:
        made.load_default_certs()
    return made


def _trust(made: ssl.SSLContext, config: Kubeconfig) -> None:
    """Trust each certificate that can be parsed, and skip the others, as Go does."""
    for block in pem.blocks(config.ca, "CERTIFICATE"):
        try:
            made.load_verify_locations(cadata=binascii.a2b_base64(block.split(b"-----")[2]))
        except (ssl.SSLError, ValueError):
            continue
    if not made.cert_store_stats()["x509"]:
        raise CniError(
            INVALID_CONFIG,
            f"the certificate authority of cluster {config.cluster_name!r} in {config.path} holds no certificate",
            "it must be PEM: -----BEGIN CERTIFICATE----- and so on, in *-data once more in base64",
        )


def _present(made: ssl.SSLContext, credentials: Credentials, whose: str) -> None:
    """Use this client certificate; certificate and key are known to be PEM. Raises CniError."""
    chain = b"".join(pem.blocks(credentials.certificate, "CERTIFICATE"))
    key = next(pem.blocks(credentials.key, "PRIVATE KEY"))

    def refuse() -> str:
        raise CniError(INVALID_CONFIG, f"the client key of {whose} is encrypted", "store it without a password")

    try:
        _load(made, chain + key, refuse)
    except ssl.SSLError as error:
        what = "client certificate and key do not belong together"
        if error.reason != "KEY_VALUES_MISMATCH":
            what = f"client certificate or key cannot be used ({error.reason or 'unknown format'})"
        raise CniError(INVALID_CONFIG, f"{what}: {whose}", f"they are from {credentials.source}") from None


def _load(made: ssl.SSLContext, pair: bytes, refuse: Callable[[], str]) -> None:
    """Call load_cert_chain() with data in memory: it accepts only a path, so give it a file in memory."""
    file = _memory()
    if file >= 0:
        with open(file, "wb") as memory:
            memory.write(pair)
            memory.flush()
            try:
                made.load_cert_chain(f"/proc/self/fd/{file}", password=refuse)
                return
            except FileNotFoundError:  # /proc is not mounted
                pass
    _load_from_directory(made, pair, refuse)


def _memory() -> int:
    for flags in (os.MFD_CLOEXEC | _NOEXEC_SEAL, os.MFD_CLOEXEC):
        try:
            return os.memfd_create("client", flags)
        except OSError:
            continue
    return -1


def _load_from_directory(made: ssl.SSLContext, pair: bytes, refuse: Callable[[], str]) -> None:
    """Use a short-lived file in a memory file system, if there is no memfd (a seccomp filter)."""
    directory = next((each for each in _MEMORY_DIRECTORIES if os.access(each, os.W_OK)), _MEMORY_DIRECTORIES[0])
    path = f"{directory}/.node-ipam.{os.getpid()}"
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise  # which says more than the directory does
        raise CniError(IO_FAILURE, f"no memory file for the client key: {directory}: {error.strerror}") from None
    try:
        with open(file, "wb") as memory:
            memory.write(pair)
        made.load_cert_chain(path, password=refuse)
    finally:
        os.unlink(path)
