"""What host-local is told, and what is read in its store."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from plugin.cni import VERSIONS, Request
from plugin.errors import TRY_AGAIN_LATER, CniError
from plugin.leases import hostlocal
from tests.support.privileges import modes_count


def request(**config: Any) -> Request:
    """A DEL of network net."""
    return Request("/bin/kube-node", "DEL", {}, b"", {"name": "net", **config})


@pytest.mark.parametrize("version", VERSIONS)
def test_speak(version: str) -> None:
    """1.1.0, which older ones do not know, is said as 1.0.0; every other version, and all else, is left alone."""
    config = {"cniVersion": version, "name": "net", "x": {"y": 1}}
    assert hostlocal.translate("/opt/cni/bin/whereabouts", config) == (config, False)
    spoken, differs = hostlocal.translate("/opt/cni/bin/host-local", config)

    assert differs == (version == "1.1.0")
    assert spoken == {**config, "cniVersion": "1.0.0" if differs else version}
    assert config["cniVersion"] == version


def test_speak_without_a_version() -> None:
    """A configuration without a version stays one."""
    assert hostlocal.translate("host-local", {"name": "net"}) == ({"name": "net"}, False)


def test_release_config() -> None:
    """The least that names the lease: nothing of the request that might be wrong goes along."""
    config = {"cniVersion": "0.4.0", "ipam": {"ranges": "bad"}, "args": {"cni": {"ips": "bad"}}, "runtimeConfig": 1}

    assert hostlocal.release_config(request(**config), "/run/x") == {
        "cniVersion": "0.4.0",
        "name": "net",
        "ipam": {"type": "host-local", "dataDir": "/run/x", "ranges": [[{"subnet": "192.0.2.0/24"}]]},
    }
    assert hostlocal.release_config(request(), "") == {
        "cniVersion": "0.1.0",
        "name": "net",
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.0.2.0/24"}]]},
    }


@pytest.mark.parametrize(
    ("data_dir", "expected"), [("", "/var/lib/cni/networks/net"), ("/run/x", "/run/x/net"), ("/run//x/", "/run/x/net")]
)
def test_store(data_dir: str, expected: str) -> None:
    """The store is a directory of the network's name."""
    assert hostlocal.store(data_dir, "net") == expected


def found(store: Path) -> list[tuple[str, str, str]]:
    """(address, container, interface) of each lease."""
    return [(lease.address, lease.container, lease.interface) for lease in hostlocal.leases(str(store))]


def test_leases(tmp_path: Path) -> None:
    """Each file named by an address is a lease: of today, of before 0.8, of one that was killed half-way, damaged."""
    for name, content in (
        ("10.0.0.2", b"c1\r\neth0"),
        ("10.0.0.3", b"c2\neth1\n"),
        ("10.0.0.4", b"c3"),
        ("10.0.0.5", b""),
        ("10.0.0.6", b"\xff\xfe"),
        ("10.0.0.7", bytes(70)),
        ("10.0.0.8", b"c4\r\n" + bytes(4)),
        ("fd00::2", b"c1\r\neth0"),
    ):
        (tmp_path / name).write_bytes(content)

    assert found(tmp_path) == [
        ("10.0.0.2", "c1", "eth0"),
        ("10.0.0.3", "c2", "eth1"),
        ("10.0.0.4", "c3", ""),
        ("10.0.0.5", "", ""),
        ("10.0.0.6", "\ufffd\ufffd", ""),
        ("10.0.0.7", "", ""),
        ("10.0.0.8", "c4", ""),
        ("fd00::2", "c1", "eth0"),
    ]


@pytest.mark.parametrize("content", [b"c1\r\neth0", b"c1\r\ne\xff", b"c1"])
def test_leases_of_an_attachment(tmp_path: Path, content: bytes) -> None:
    """A lease is also found if its interface is not written, or is no text."""
    (tmp_path / "10.0.0.2").write_bytes(content)
    (tmp_path / "10.0.0.3").write_bytes(b"c2\r\neth0")
    (tmp_path / "10.0.0.4").write_bytes(b"c1\r\nnet1")
    interface = os.fsdecode(content.partition(b"\n")[2]) or "eth0"
    found = hostlocal.leases_of(str(tmp_path), {"CNI_CONTAINERID": "c1", "CNI_IFNAME": interface})
    assert [each.address for each in found] == ["10.0.0.2"]


@pytest.mark.parametrize(
    "name", ["lock", "last_reserved_ip.0", "kube-node.json", "10.0.0", "10.0.0.256", "x", ".10.0.0.2", "10.0.0.2~"]
)
def test_other_files_are_no_leases(tmp_path: Path, name: str) -> None:
    """host-local's own files, and anybody else's, are passed over."""
    (tmp_path / name).write_bytes(b"c1\r\neth0")
    assert found(tmp_path) == []


def test_directory_is_passed_over(tmp_path: Path) -> None:
    """A directory or a pipe that has the name of an address hides no lease."""
    (tmp_path / "10.0.0.1").mkdir()
    os.mkfifo(tmp_path / "10.0.0.2")
    (tmp_path / "10.0.0.3").write_bytes(b"c1\r\neth0")
    assert found(tmp_path) == [("10.0.0.3", "c1", "eth0")]


@pytest.mark.parametrize("target", ["secret", "nothing", "10.0.0.2", "/dev/zero", "."])
def test_link_is_not_followed(tmp_path: Path, target: str) -> None:
    """A symbolic link named like an address takes that address; what it leads to is not read."""
    (tmp_path / "secret").write_bytes(b"root-secret\r\neth0")
    (tmp_path / "10.0.0.2").symlink_to(target)

    (lease,) = hostlocal.leases(str(tmp_path))

    assert (lease.address, lease.container) == ("10.0.0.2", "")
    assert lease.trouble == f"{tmp_path}/10.0.0.2 is a symbolic link, which is not followed"


def test_what_may_not_be_read_is_a_lease(tmp_path: Path) -> None:
    """Somebody has the address, though it cannot be said who."""
    (tmp_path / "10.0.0.2").write_bytes(b"c1\r\neth0")
    os.utime(tmp_path / "10.0.0.2", (1.0, 1000.5))
    os.chmod(tmp_path / "10.0.0.2", 0)

    with modes_count():
        (lease,) = hostlocal.leases(str(tmp_path))

    assert (lease.address, lease.container, lease.reserved) == ("10.0.0.2", "", 1000.5)
    assert lease.trouble == f"{tmp_path}/10.0.0.2 cannot be read: Permission denied"


def test_time_of_a_lease(tmp_path: Path) -> None:
    """A lease was reserved when its file was last written."""
    (tmp_path / "10.0.0.2").write_bytes(b"c1\r\neth0")
    os.utime(tmp_path / "10.0.0.2", (1.0, 1000.5))
    assert [lease.reserved for lease in hostlocal.leases(str(tmp_path))] == [1000.5]


def test_no_store(tmp_path: Path) -> None:
    """A network that never had a pod has no leases; a file in place of its store has none either."""
    (tmp_path / "file").touch()
    assert found(tmp_path / "none") == found(tmp_path / "file") == []
    assert hostlocal.addresses(f"{tmp_path}/\0") == hostlocal.addresses(f"{tmp_path}/\ud800") == []


def test_foreign_files(tmp_path: Path) -> None:
    """host-local has no address with a scope: such a file is not its own, and gc does not remove it."""
    for name in ("fd00::2", "fd00::2%eth0", "10.0.0.02", "10.0.0"):
        (tmp_path / name).touch()
    assert hostlocal.addresses(str(tmp_path)) == ["fd00::2"]


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
@pytest.mark.parametrize("call", ["listdir", "open", "lstat"])
def test_shortage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> None:
    """A machine out of open files or memory does not show what is in a store: that is not an empty store."""
    (tmp_path / "10.0.0.2").write_bytes(b"c1\r\neth0")

    def refuse(path: str, *_more: object) -> None:
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(CniError, match=f"cannot be read: {os.strerror(code)}") as caught:
        found(tmp_path)
    assert caught.value.code == TRY_AGAIN_LATER


def test_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease of which the holder cannot be read is one."""
    (tmp_path / "10.0.0.2").write_bytes(b"c1\r\neth0")

    def refuse(path: str, *_more: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(os, "open", refuse)
    (lease,) = hostlocal.leases(str(tmp_path))
    assert lease.trouble == f"{tmp_path}/10.0.0.2 cannot be read: Input/output error"
