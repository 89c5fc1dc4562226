"""The addresses of a result are looked up in other stores, whatever form the result has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugin.cache import Cache
from plugin.errors import CniError
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
