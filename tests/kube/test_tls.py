"""The TLS context trusts whom the kubeconfig names, and keys stay in memory."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from plugin.errors import INVALID_CONFIG, CniError
from plugin.kube import tls
from plugin.kube.credentials import Credentials
from plugin.kube.kubeconfig import Kubeconfig
from tests.support.pki import Authority, Pair, encrypted

AUTHORITY = Authority()
OTHER = Authority("other")
CLIENT = AUTHORITY.client("user")
JUNK = b"-----BEGIN CERTIFICATE-----\nTm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"
EC_PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


def config(ca: bytes = AUTHORITY.ca_pem, insecure: bool = False) -> Kubeconfig:
    """A kubeconfig that trusts these authorities."""
    made = Kubeconfig.__new__(Kubeconfig)
    made.ca, made.insecure = ca, insecure
    made.path, made.cluster_name, made.user_name = "/etc/kubeconfig", "local", "u"
    return made


def credentials(certificate: bytes = b"", key: bytes = b"") -> Credentials:
    """What a user entry with a client certificate gives."""
    return Credentials("client certificate", "/etc/pem", {}, certificate, key)


def trusted(ca: bytes) -> int:
    """How many authorities the context for this certificate-authority trusts."""
    return len(tls.context(config(ca), credentials()).get_ca_certs())


def legacy(key: bytes) -> bytes:
    """The key in OpenSSL's own format: EC PRIVATE KEY."""
    private = serialization.load_pem_private_key(key, None)
    kind = serialization.PrivateFormat.TraditionalOpenSSL
    return private.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())


def test_settings() -> None:
    """TLS 1.2 or later, names checked against the alternative ones only, partial chains, not STRICT."""
    made = tls.context(config(), credentials())
    assert (made.minimum_version, made.verify_mode, made.check_hostname, made.hostname_checks_common_name) == (
        ssl.TLSVersion.TLSv1_2,
        ssl.CERT_REQUIRED,
        True,
        False,
    )
    assert made.verify_flags & 0x80000
    assert not made.verify_flags & ssl.VERIFY_X509_STRICT


def test_insecure_trusts_everybody() -> None:
    """insecure-skip-tls-verify turns off both checks."""
    made = tls.context(config(b"", insecure=True), credentials())
    assert (made.verify_mode, made.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize(
    ("ca", "expected"),
    [
        (AUTHORITY.ca_pem, 1),
        (AUTHORITY.ca_pem + OTHER.ca_pem, 2),
        (AUTHORITY.ca_pem * 2, 1),
        (AUTHORITY.ca_pem.replace(b"\n", b"\r\n"), 1),
        (b"subject=/CN=ca\n" + AUTHORITY.ca_pem + b"the end", 1),
        (AUTHORITY.ca_pem.rstrip(), 1),
        (JUNK + AUTHORITY.ca_pem, 1),
        (AUTHORITY.ca_pem + JUNK + OTHER.ca_pem, 2),
        (AUTHORITY.ca_pem + OTHER.ca_pem[:200], 1),
        (AUTHORITY.ca_pem + OTHER.ca_pem.replace(b" CERT", b" TRUSTED CERT"), 1),
        (CLIENT.key + AUTHORITY.ca_pem, 1),
    ],
    ids=["one", "two", "twice", "crlf", "text", "cut-end", "junk-first", "junk-between", "half", "trusted", "key"],
)
def test_authorities(ca: bytes, expected: int) -> None:
    """Every certificate that can be read is trusted; what is around and between them does not matter."""
    assert trusted(ca) == expected


@pytest.mark.parametrize("ca", [JUNK, b"nothing", AUTHORITY.ca_pem[:200], CLIENT.key])
def test_no_authority(ca: bytes) -> None:
    """A certificate authority without one certificate is an error that names cluster and file."""
    with pytest.raises(CniError) as error:
        trusted(ca)
    assert (error.value.code, error.value.msg) == (
        INVALID_CONFIG,
        "the certificate authority of cluster 'local' in /etc/kubeconfig holds no certificate",
    )


def test_without_authority_the_system_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No certificate authority: the system's, with SSL_CERT_FILE as Go has it. With one: that one alone."""
    (tmp_path / "roots.pem").write_bytes(AUTHORITY.ca_pem + OTHER.ca_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    assert (trusted(b""), trusted(AUTHORITY.ca_pem)) == (2, 1)


@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        (CLIENT.certificate, CLIENT.key),
        (CLIENT.certificate + CLIENT.key, CLIENT.certificate + CLIENT.key),
        (CLIENT.key + CLIENT.certificate, CLIENT.key + CLIENT.certificate),
        (CLIENT.certificate.rstrip(), CLIENT.key.rstrip()),
        (CLIENT.certificate, EC_PARAMETERS + legacy(CLIENT.key)),
        (CLIENT.certificate.replace(b"\n", b"\r\n"), CLIENT.key.replace(b"\n", b"\r\n")),
        (CLIENT.certificate + AUTHORITY.ca_pem, CLIENT.key),
        Authority(kind="rsa").client("user"),
    ],
    ids=["two", "one-file", "key-first", "cut-end", "ec-parameters", "crlf", "chain", "rsa"],
)
def test_client_certificate(certificate: bytes, key: bytes) -> None:
    """Certificate and key are taken from whatever PEM they are in, without a descriptor left open."""
    before = os.listdir("/proc/self/fd")
    tls.context(config(), credentials(certificate, key))
    assert os.listdir("/proc/self/fd") == before


def openssl_encrypted(pair: Pair) -> bytes:
    """The key encrypted the old way, with a Proc-Type header inside."""
    private = serialization.load_pem_private_key(pair.key, None)
    kind = serialization.PrivateFormat.TraditionalOpenSSL
    return private.private_bytes(serialization.Encoding.PEM, kind, serialization.BestAvailableEncryption(b"secret"))


@pytest.mark.parametrize(
    ("certificate", "key", "message"),
    [
        (*encrypted(CLIENT), "the client key of user 'u' of /etc/kubeconfig is encrypted"),
        (CLIENT.certificate, openssl_encrypted(CLIENT), "the client key of user 'u' of /etc/kubeconfig is encrypted"),
        (
            CLIENT.certificate,
            OTHER.client("other").key,
            "client certificate and key do not belong together: user 'u' of /etc/kubeconfig",
        ),
        (
            CLIENT.certificate,
            CLIENT.key.replace(b"M", b"A"),
            "client certificate or key cannot be used (unknown format): user 'u' of /etc/kubeconfig",
        ),
    ],
    ids=["encrypted", "encrypted-openssl", "mismatch", "damaged"],
)
def test_bad_client_certificate(certificate: bytes, key: bytes, message: str) -> None:
    """A pair that cannot be used is an error that says why and whose it is; nothing of it is shown."""
    with pytest.raises(CniError) as error:
        tls.context(config(), credentials(certificate, key))
    assert (error.value.code, error.value.msg.split(" (")[0]) == (INVALID_CONFIG, message.split(" (")[0])
    assert "secret" not in error.value.msg + error.value.details


def test_encrypted_key_never_prompts(tmp_path: Path) -> None:
    """With a terminal at hand OpenSSL would ask for the pass phrase there, and wait for ever."""
    (tmp_path / "pair.pem").write_bytes(b"".join(encrypted(CLIENT)))
    code = (
        "import os, pty, sys\n"
        "pid, terminal = pty.fork()\n"
        "if pid:\n"
        "    seen = b''\n"
        "    try:\n"
        "        while part := os.read(terminal, 999): seen += part\n"
        "    except OSError: pass\n"
        "    os.waitpid(pid, 0)\n"
        "    sys.stdout.buffer.write(seen)\n"
        "    sys.exit()\n"
        "from tests.kube import test_tls\n"
        "data = open(sys.argv[1], 'rb').read()\n"
        "try: test_tls.tls.context(test_tls.config(), test_tls.credentials(data, data))\n"
        "except test_tls.CniError as error: print(error.msg)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "pair.pem")]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert done.stdout.split() == b"the client key of user 'u' of /etc/kubeconfig is encrypted".split()


@pytest.mark.parametrize("last_flags", [os.MFD_CLOEXEC, None], ids=["old-kernel", "seccomp"])
def test_other_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last_flags: int | None) -> None:
    """An old kernel knows no MFD_NOEXEC_SEAL; without memfd a file in a memory file system serves, and is gone."""
    real = os.memfd_create

    def create(name: str, flags: int) -> int:
        if flags != last_flags:
            raise OSError(22, "Invalid argument")
        return real(name, flags)

    monkeypatch.setattr(os, "memfd_create", create)
    monkeypatch.setattr(tls, "_MEMORY_DIRECTORIES", (str(tmp_path / "missing"), str(tmp_path)))
    tls.context(config(), credentials(*CLIENT))
    with pytest.raises(CniError, match="encrypted"):
        tls.context(config(), credentials(*encrypted(CLIENT)))
    assert list(tmp_path.iterdir()) == []


def test_no_memory_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nowhere to put the key the error says so."""

    def create(_name: str, _flags: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", create)
    monkeypatch.setattr(tls, "_MEMORY_DIRECTORIES", (str(tmp_path / "missing"),))
    with pytest.raises(CniError, match="no memory file for the client key"):
        tls.context(config(), credentials(*CLIENT))


def test_no_descriptor_is_free() -> None:
    """With too few descriptors the error is that, which may pass, and not the directory's."""
    code = (
        "import resource\n"
        "from tests.kube import test_tls\n"
        "made, pair = test_tls.config(), test_tls.credentials(*test_tls.CLIENT)\n"
        "limits = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))\n"
        "try: test_tls.tls.context(made, pair)\n"
        "except OSError as error: print(error.strerror)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, limits)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "Too many open files\n", done.stderr


def test_key_log_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSLKEYLOGFILE would give away every connection's secrets."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    made = tls.context(config(), credentials(*CLIENT))
    assert f"{made.keylog_filename} {list(tmp_path.iterdir())}" == "None []"


_MISSING_PROVIDER = """
openssl_conf = start
[start]
providers = providers
[providers]
fips = fips
[fips]
activate = 1
"""
_OLD_PROTOCOLS = """
openssl_conf = start
[start]
ssl_conf = ssl
[ssl]
system_default = system
[system]
MaxProtocol = TLSv1.1
"""


@pytest.mark.parametrize(
    ("text", "why"), [(_MISSING_PROVIDER, "LIBRARY_HAS_NO_CIPHERS"), (_OLD_PROTOCOLS, "MaxProtocol")], ids=["p", "m"]
)
def test_configuration_of_openssl(text: str, why: str, tmp_path: Path) -> None:
    """If OpenSSL's configuration makes TLS impossible, the error says so and names the file."""
    file = tmp_path / "openssl.cnf"
    file.write_text(text)
    code = "from plugin.kube import tls\ntry: tls.bare()\nexcept Exception as e: print(type(e).__name__, e, e.details)"
    environ = {**os.environ, "OPENSSL_CONF": str(file)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("Unreachable TLS cannot be set up: "), done.stderr
    assert why in done.stdout
    assert f"correct {file}" in done.stdout
