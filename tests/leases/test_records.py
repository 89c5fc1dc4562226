"""Records of attachments: what they say, and how each new store becomes known to all ADDs."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from plugin import entries
from plugin.cache import Cache
from plugin.cni import Request
from plugin.errors import CniError
from plugin.leases import records
from plugin.log import Log
from plugin.plan import Plan
from tests.leases.conftest import ENVIRON


@pytest.mark.parametrize(
    ("text", "made", "netns"),
    [
        ("used-1", 0.0, ""),
        ("used-1 ", 0.0, ""),
        ("used-1 12 /run/netns/a b", 12.0, "/run/netns/a b"),
        ("used-1 soon /run/netns/a", 0.0, "/run/netns/a"),
    ],
)
def test_text_of_a_link(tmp_path: Path, text: str, made: float, netns: str) -> None:
    """Time and namespace are missing in version 0.1.0; a time that is no number counts as missing."""
    cache = Cache(str(tmp_path / "cache"))
    cache.write("used-1", b'{"program": "/bin/host-local", "network": "net", "ipam": {}}')
    cache.link("at:c1:eth0:net", text)

    (found,) = records.everything({"NODE_IPAM_CACHE": cache.path})

    assert (found.container, found.interface, found.made, found.netns) == ("c1", "eth0", made, netns)


@pytest.mark.parametrize(("netns", "recorded"), [("/run/netns/a", "/run/netns/a"), (f"/run/{'x' * 1000}", "")])
def test_path_that_no_link_can_hold(netns: str, recorded: str) -> None:
    """A part of a path would look like a namespace that is gone."""
    assert entries.record_text("used-1", {"CNI_NETNS": netns}).split(" ", 2)[2] == recorded


class Adds:
    """ADDs of one network, each of which names a dataDir."""

    def __init__(self, directory: Path) -> None:
        self.environ = {**ENVIRON, "NODE_IPAM_CACHE": str(directory / "cache")}

    def record(self, data_dir: str) -> bool:
        """Record an ADD; return whether it could be recorded."""
        request = Request("/bin/kube-node", "ADD", self.environ, b"", {"name": "net"})
        plan = Plan("/bin/host-local", {"name": "net", "ipam": {"dataDir": data_dir}})
        return bool(records.record(request, plan, data_dir, Log()))

    def generation(self) -> str:
        """What changes with each new store."""
        return records.generation(self.environ)[1]


@pytest.fixture
def adds(tmp_path: Path) -> Adds:
    """A machine without records."""
    return Adds(tmp_path)


def test_link_that_cannot_be_made(adds: Adds, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store is announced as soon as it is known, whether or not the attachment can be recorded."""
    monkeypatch.setattr(Cache, "link", lambda *_: False)
    assert adds.generation() == ""
    assert not adds.record("/run/x")
    assert adds.generation() != ""


def test_store_that_could_not_be_announced(adds: Adds, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk comes between a store and its announcement: the next ADD makes up for it, and once is enough."""
    write = Cache.write
    monkeypatch.setattr(Cache, "write", lambda self, name, body: name != "stores" and write(self, name, body))
    adds.record("/run/x")
    assert adds.generation() == ""
    monkeypatch.undo()

    seen = []
    for data_dir in ("/run/x", "/run/x", "/run/y", "/run/y", "/run/x"):
        adds.record(data_dir)
        seen.append(adds.generation())
    assert seen[0] and seen == [seen[0], seen[0], seen[2], seen[2], seen[2]] and seen[0] != seen[2]


def test_announcement_that_becomes_impossible(adds: Adds, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a new store cannot be added to the list, what knows the list of before does not count any more."""
    adds.record("/run/x")
    before = adds.generation()
    write = Cache.write
    monkeypatch.setattr(Cache, "write", lambda self, name, body: name != "stores" and write(self, name, body))
    adds.record("/run/y")
    assert before and adds.generation() == ""


def test_damaged_content(adds: Adds) -> None:
    """A content that cannot be read counts as missing, and so does an attachment made by it; the others are found."""
    for data_dir in ("/run/x", "/run/y"):
        adds.environ["CNI_IFNAME"] = data_dir[-1]
        adds.record(data_dir)
    damaged = next(each.name for each in records.everything(adds.environ) if each.interface == "x")
    Path(adds.environ["NODE_IPAM_CACHE"], damaged).write_bytes(b"node-ipam-2 0")

    assert [each.interface for each in records.everything(adds.environ)] == ["y"]
    assert records.data_dirs(adds.environ) == ["/run/y"]


@pytest.mark.parametrize(("days", "leased", "kept"), [(1.0, False, True), (3.0, False, False), (3.0, True, True)])
def test_store_of_no_attachment(adds: Adds, tmp_path: Path, days: float, leased: bool, kept: bool) -> None:
    """A store that no attachment uses is known for two days, and for as long as it holds leases."""
    old = str(tmp_path / "old")
    (tmp_path / "old" / "net").mkdir(parents=True)
    if leased:
        (tmp_path / "old" / "net" / "10.9.0.2").write_text("c2\r\neth0")
    adds.record(old)
    records.forget(adds.environ, "c1", "eth0", "net")
    for path in Path(adds.environ["NODE_IPAM_CACHE"]).glob("used-*"):
        os.utime(path, (time.time() - days * 86400,) * 2)

    adds.record("/run/new")
    assert (old in records.data_dirs(adds.environ)) == kept


@pytest.mark.parametrize("old", ["used by this attachment", "used by none for days"])
def test_store_hidden_by_a_shortage(adds: Adds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str) -> None:
    """A store that cannot be listed now is not an empty one: the ADD fails, and the store stays known."""
    store = tmp_path / "old" / "net"
    store.mkdir(parents=True)
    (store / "10.9.0.2").write_text("c1\r\neth0")
    adds.record(str(tmp_path / "old"))
    if old == "used by none for days":
        records.forget(adds.environ, "c1", "eth0", "net")
        for path in Path(adds.environ["NODE_IPAM_CACHE"]).glob("used-*"):
            os.utime(path, (1, 1))
    listed = os.listdir

    def refuse(path: str | int) -> list[str]:
        if path == str(store):
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE), path)
        return listed(path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(CniError, match="Too many open files"):
        adds.record("/run/new")
    assert str(tmp_path / "old") in records.data_dirs(adds.environ)
