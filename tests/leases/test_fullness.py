"""STATUS is about whether an ADD would work: a warning that cannot be given is no failure."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from plugin.cache import Cache
from plugin.config.settings import Settings
from plugin.errors import TRY_AGAIN_LATER, CniError
from plugin.leases import fullness, hostlocal
from plugin.leases.evidence import results, verdict
from plugin.log import Log
from tests.support.fakeproc import FakeProc

AGO = time.time() - 3600


class Node:
    """A range of which half is leased, since before the last boot."""

    def __init__(self, directory: Path) -> None:
        self.store = directory / "net"
        self.store.mkdir()
        for number in (2, 3, 4):
            (self.store / f"10.9.0.{number}").write_text("c2\r\neth0")
            os.utime(self.store / f"10.9.0.{number}", (AGO, AGO))
        self.config = {"name": "net", "ipam": {"dataDir": str(directory), "ranges": [[{"subnet": "10.9.0.0/29"}]]}}
        self.chosen = Settings({"NODE_IPAM_CACHE": str(directory / "cache")}, Log(), "")
        self.chosen.cache = Cache(str(directory / "cache"))


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProc:
    """A machine without containers."""
    monkeypatch.setattr(results, "DIRECTORIES", (str(tmp_path / "results"),))
    return FakeProc(tmp_path, monkeypatch)


@pytest.fixture
def node(tmp_path: Path, proc: FakeProc) -> Node:
    """A node that was booted after its leases were made."""
    proc.boot(AGO + 60)
    return Node(tmp_path)


def refuse(*_: object) -> Any:
    """Fail as on a machine out of open files."""
    raise CniError(TRY_AGAIN_LATER, "/proc/1/cgroup cannot be read")


def test_once_per_period(node: Node, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The number of dead leases is a warning; kubelet asks every 5 s, and the store is not judged each time."""
    fullness.warn(node.config, node.chosen)
    monkeypatch.setattr(verdict, "gather", refuse)
    fullness.warn(node.config, node.chosen)
    assert capfd.readouterr().err.count(f"3 leases in {node.store} are of containers that are gone") == 1


def test_leases_in_use(node: Node, proc: FakeProc, capfd: pytest.CaptureFixture[str]) -> None:
    """A range that fills up with living containers is no news."""
    proc.process(4711, cgroup="/c2")
    fullness.warn(node.config, node.chosen)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("module", "name"), [(verdict, "gather"), (hostlocal, "addresses")])
def test_machine_out_of_open_files(
    node: Node, module: Any, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No process can be examined, or the store cannot be listed."""
    monkeypatch.setattr(module, name, refuse)
    fullness.warn(node.config, node.chosen)
    assert f"leases in {node.store} cannot be judged: /proc/1/cgroup cannot be read" in capfd.readouterr().err


def test_unusable_cache(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it cannot be noted that the store was judged, it is not: that would cost every STATUS."""
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setattr(verdict, "gather", refuse)
    fullness.warn(node.config, node.chosen)
    assert (tmp_path / "cache").read_text() == "a file"
