"""Reclaiming never makes things worse: what goes wrong is logged, and host-local's own error remains the answer."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from plugin import deadline
from plugin.cache import Cache
from plugin.config.settings import Settings
from plugin.leases import hostlocal, reclaim
from plugin.leases.evidence import results, verdict
from plugin.log import Log
from tests.support.fakeproc import FakeProc

AGO = time.time() - 3600


class Node:
    """A store with leases of containers that are gone since the last boot."""

    def __init__(self, directory: Path) -> None:
        self.store = directory / "data/net"
        self.store.mkdir(parents=True)
        for number in range(2, 5):
            (self.store / f"10.0.0.{number}").write_bytes(f"c{number}\r\neth0".encode())
            os.utime(self.store / f"10.0.0.{number}", (AGO, AGO))
        self.file = directory / "log"
        self.chosen = Settings({"NODE_IPAM_CACHE": str(directory / "cache")}, Log(str(self.file)), "")
        self.config: dict[str, Any] = {"name": "net", "ipam": {"dataDir": str(directory / "data")}}

    def make_room(self) -> list[str]:
        """The addresses that are released within two seconds, of which one is kept for the next ADD."""
        with deadline.within(2):
            return reclaim.make_room(self.config, self.chosen)

    def log(self) -> list[str]:
        """The messages in the log."""
        return [json.loads(line)["msg"] for line in self.file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProc:
    """A machine without containers."""
    return FakeProc(tmp_path, monkeypatch)


@pytest.fixture
def node(tmp_path: Path, proc: FakeProc, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A node that was booted after its leases were made."""
    monkeypatch.setattr(results, "DIRECTORIES", (str(tmp_path / "results"),))
    monkeypatch.setattr(reclaim, "_RESERVE", 1.0)
    proc.boot(AGO + 60)
    return Node(tmp_path)


def test_all_dead_leases(node: Node) -> None:
    """Each is in the log with its address, and there is one warning."""
    assert node.make_room() == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    assert node.log()[:3] == ["lease reclaimed"] * 3
    assert node.log()[3].endswith("containers that are gone: 10.0.0.2, 10.0.0.3, 10.0.0.4")
    assert node.make_room() == []


def test_many_addresses(node: Node) -> None:
    """The warning does not grow with the number of leases."""
    for number in range(5, 105):
        (node.store / f"10.0.0.{number}").write_bytes(b"old\r\neth0")
        os.utime(node.store / f"10.0.0.{number}", (AGO, AGO))

    assert len(node.make_room()) == 103
    assert node.log()[-1].endswith(" and 83 more")


def test_lock_that_is_held(node: Node) -> None:
    """A host-local that hangs holds the lock: reclaiming gives up in time for the error."""
    with open(node.store / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert node.make_room() == []
    assert "reclaiming leases failed" in node.log()[0]
    assert "lock has been held by another process" in node.log()[0]
    assert len(os.listdir(node.store)) == 4


def test_no_time_left(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs costs no more than the time there is."""
    monkeypatch.setattr(hostlocal, "leases", lambda _store: time.sleep(60))

    assert node.make_room() == []
    assert node.log() == ["a range is full; reclaiming leases failed: no time left"]


def test_lease_that_cannot_be_removed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was released before the failure is reported."""
    unlink = os.unlink

    def refuse(path: str, **options: Any) -> None:
        if str(path).endswith("10.0.0.3"):
            raise PermissionError(1, "Operation not permitted", path)
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", refuse)

    assert node.make_room() == ["10.0.0.2"]
    monkeypatch.undo()
    assert [message.partition(";")[0] for message in node.log()] == ["lease reclaimed"] + ["a range is full"] * 2


def test_store_that_is_absent(node: Node) -> None:
    """Without a store there is nothing to reclaim, and no store is made."""
    node.config["name"] = "other"

    assert node.make_room() == []
    assert not (node.store.parent / "other").exists()


def test_namespace_that_cannot_be_unmounted(node: Node, proc: FakeProc, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the namespace of a dead container is mounted, its interfaces answer for the address: it stays."""
    path = proc.namespace("cni-0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f")
    proc.process(50, "containerd")
    monkeypatch.setattr(verdict, "_CONTAINERD", re.compile(re.escape(path)))
    monkeypatch.setattr(os.path, "ismount", os.path.exists)  # umount2 will say that it is not one
    cache = Cache(node.chosen.environ["NODE_IPAM_CACHE"])
    cache.write("used-1", b'{"program": "/bin/host-local", "network": "net", "ipam": {}}')
    cache.link("at:c2:eth0:net", f"used-1 1 {path}")

    assert node.make_room() == []
    assert path in node.log()[0] and "reclaiming leases failed" in node.log()[0]
    assert os.path.exists(path) and (node.store / "10.0.0.2").exists()
