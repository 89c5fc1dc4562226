"""The addresses of a result are looked up in other stores, whatever form the result has."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from plugin.cache import Cache
from plugin.errors import TRY_AGAIN_LATER, CniError
from plugin.leases import conflict
from tests.leases.conftest import ENVIRON

TAKEN = "10.9.0.2"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A machine on which another store of the network has a new lease."""
    other = tmp_path / "other" / "net"
    other.mkdir(parents=True)
    (other / TAKEN).write_text("c2\r\neth0")
    cache = Cache(str(tmp_path / "cache"))
    content = {"program": "/bin/host-local", "network": "net", "ipam": {"dataDir": str(tmp_path / "other")}}
    assert cache.write("used-1", json.dumps(content).encode())
    return {**ENVIRON, "NODE_IPAM_CACHE": cache.path}


@pytest.mark.parametrize(
    ("result", "is_taken"),
    [
        ({"ips": [{"address": f"{TAKEN}/24"}]}, True),
        ({"ips": [5, {}, {"address": None}, {"address": TAKEN}]}, True),
        ({"ip4": {"ip": f"{TAKEN}/24"}, "ip6": None}, True),
        ({"ips": [{"address": "10.9.0.3/24"}]}, False),
        ({"ips": 5}, False),
        ({"ips": [5, {}, {"address": {}}]}, False),
        ({"ip4": None}, False),
        ({}, False),
    ],
)
def test_result(tmp_path: Path, environ: dict[str, str], result: dict[str, Any], is_taken: bool) -> None:
    """A part of a result that is not as it should be is for the caller to judge."""
    store = str(tmp_path / "own" / "net")
    answer = json.dumps(result).encode()
    if is_taken:
        with pytest.raises(CniError, match=f"{TAKEN} is in use: container c2 eth0"):
            conflict.refuse(answer, store, environ)
    else:
        conflict.refuse(answer, store, environ)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (errno.ENFILE, f"{TAKEN} cannot be read: Too many open files in system"),
        (errno.EMFILE, f"{TAKEN} cannot be read: Too many open files"),
        (errno.ENOMEM, f"{TAKEN} cannot be read: Cannot allocate memory"),
        (errno.EIO, f"{TAKEN} is in use: .*{TAKEN} cannot be read: Input/output error"),
        (errno.EACCES, f"{TAKEN} is in use: .*{TAKEN} cannot be read: Permission denied"),
    ],
)
def test_lease_that_cannot_be_read(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, code: int, what: str
) -> None:
    """A lease that cannot be read is not an absent one: the address may be a living pod's."""
    opened = os.open

    def refuse(path: str, flags: int, *more: int, **options: int) -> int:
        if str(path).endswith(f"/other/net/{TAKEN}"):
            raise OSError(code, os.strerror(code), path)
        return opened(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CniError, match=what) as caught:
        conflict.refuse(json.dumps({"ips": [{"address": f"{TAKEN}/24"}]}).encode(), str(tmp_path / "own/net"), environ)
    assert caught.value.code == TRY_AGAIN_LATER


def test_link_named_like_the_address(tmp_path: Path, environ: dict[str, str]) -> None:
    """To host-local the address is taken in that store, whatever the link leads to."""
    (tmp_path / "other/net/10.9.0.3").symlink_to("nothing")
    with pytest.raises(CniError, match="10.9.0.3 is in use: .* is a symbolic link"):
        conflict.refuse(b'{"ips": [{"address": "10.9.0.3/24"}]}', str(tmp_path / "own/net"), environ)
