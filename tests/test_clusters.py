"""How a real kube-apiserver is started for tests, with Debian's etcd and a script in the place of kube-apiserver."""

from __future__ import annotations

import gc
import os
import re
import shutil
import socket
import urllib.parse
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests.support import clusters
from tests.support.clusters import KubeApiServer
from tests.support.netns import need

SCRIPT = """#!/bin/sh
printf '%s\\n' "$@" > {options}
{then}
"""
# As client-go's ParsePublicKeysPEM reads them: EC private keys in SEC1 only.
KEYS = ("EC PRIVATE KEY", "RSA PRIVATE KEY", "PUBLIC KEY", "CERTIFICATE")


class Fake:
    """A folder as setup-envtest makes it."""

    def __init__(self, directory: Path, then: str) -> None:
        self.folder = directory / "assets"
        self.folder.mkdir()
        self.server = KubeApiServer(str(self.folder), str(directory))
        self._options = directory / "options"
        os.symlink(shutil.which("etcd") or "", self.folder / "etcd")
        program = self.folder / "kube-apiserver"
        program.write_text(SCRIPT.format(options=self._options, then=then), encoding="utf-8")
        program.chmod(0o755)

    def fail(self) -> str:
        """Return why it does not start."""
        with pytest.raises(OSError) as caught:
            self.server.start()
        return str(caught.value)

    def options(self) -> dict[str, str]:
        """Return the options that kube-apiserver was started with."""
        lines = self._options.read_text(encoding="utf-8").splitlines()
        return dict(line[2:].partition("=")[::2] for line in lines)

    def etcd_answers(self) -> bool:
        """Return whether something listens where etcd was to."""
        address = urllib.parse.urlsplit(self.options()["etcd-servers"])
        with socket.socket() as connection:
            return connection.connect_ex((address.hostname, address.port)) == 0


@pytest.fixture(autouse=True)
def etcd() -> None:
    """All of these run etcd."""
    need("etcd")


def test_service_account_key(tmp_path: Path) -> None:
    """The key of service accounts is in a form that kube-apiserver reads, for signing and for checking."""
    fake = Fake(tmp_path, "exit 1")
    fake.fail()

    for option in ("service-account-key-file", "service-account-signing-key-file"):
        data = Path(fake.options()[option]).read_bytes()
        label = re.match(rb"-----BEGIN ([A-Z ]+)-----", data)
        assert label and label[1].decode() in KEYS
        serialization.load_pem_private_key(data, None)


def test_failed_start_leaves_nothing(tmp_path: Path) -> None:
    """When kube-apiserver ends at once, etcd is ended too, and nothing is left that Python would warn of."""
    fake = Fake(tmp_path, "sleep 0.5; exit 1")
    fake.fail()
    assert not fake.etcd_answers()
    del fake
    gc.collect()


KLOG = """I1126 13:59:58.1 1 options.go:228] external host was not specified
E1126 14:00:00.1 1 run.go:72] "command failed" err="data does not contain any valid RSA or ECDSA public keys"
"""


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (KLOG, KLOG.splitlines()[1:]),
        ("Error: unknown flag: --nope", ["Error: unknown flag: --nope"]),
        ("not found", ["not found"]),
        ("", []),
    ],
)
def test_failed_start_says_why(tmp_path: Path, printed: str, shown: list[str]) -> None:
    """The error has the last errors that the server has logged; its last lines, if none looks like one."""
    text = tmp_path / "printed"
    text.write_text(printed, encoding="utf-8")
    fake = Fake(tmp_path, f"cat {text} >&2; exit 1")
    assert fake.fail().splitlines() == ["kube-apiserver ended", *(f"kube-apiserver: {line}" for line in shown)]


def test_failed_etcd_says_why(tmp_path: Path) -> None:
    """The error is etcd's own if that is what fails."""
    fake = Fake(tmp_path, "exec sleep 99")
    (fake.folder / "etcd").unlink()
    (fake.folder / "etcd").symlink_to(shutil.which("false") or "")
    assert fake.fail() == "etcd ended"


def test_never_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never serves is ended; the error has the last lines of its log."""
    monkeypatch.setattr(clusters, "_SECONDS", 1.0)
    fake = Fake(tmp_path, "echo 'W1126 retrying' >&2; exec sleep 99")
    why = fake.fail()

    assert re.match(r"not ready after 1 s: .*Connection refused", why)
    assert why.endswith("kube-apiserver: W1126 retrying")
    assert not fake.etcd_answers()
