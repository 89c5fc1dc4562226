"""plugin.leases.hostpaths: where host-local may keep leases, and which file's lines may reach pods."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from plugin.errors import CniError
from plugin.leases import hostpaths


def check(network: str = "net1", **ipam: Any) -> list[tuple[str, str]]:
    """Check a configuration with these keys."""
    return hostpaths.check({"name": network, "ipam": {"type": "host-local", "ranges": [], **ipam}})


@pytest.mark.parametrize(
    "path",
    [
        "/run/container-ipam-state/net1",
        "/run/net1/",
        "/var/run/cni",
        "/var/lib/cni",
        "/var/lib/cni/networks",
        "/var/lib/calico-ipam",
        "/var/lib/kubelet-ipam",
        "/opt/ipam",
        "/mnt/disk/leases",
        "/data",
        "/tmp/x",
        "/srv/../run/x",
        "",
    ],
)
def test_data_dir(path: str) -> None:
    """Leases may be in any directory of their own."""
    assert check(dataDir=path) == []


@pytest.mark.parametrize(
    ("path", "network"),
    [
        ("/etc", "net1"),
        ("/etc/", "net1"),
        ("/etc/cni/net.d", "net1"),
        ("/run/../etc", "net1"),
        ("//etc", "net1"),
        ("/usr/local/lib", "net1"),
        ("/bin", "net1"),
        ("/lib64", "net1"),
        ("/boot", "net1"),
        ("/dev/shm", "net1"),
        ("/proc/sys", "net1"),
        ("/sys/fs/cgroup", "net1"),
        ("/root/.ssh", "net1"),
        ("/var/spool/cron", "crontabs"),
        ("/var/lib/kubelet", "pods"),
        ("/var/lib", "kubelet"),
        ("/opt/cni", "bin"),
        ("/opt", "cni"),
        ("/var/lib/etcd/member", "snap"),
        ("/run", "containerd"),
        ("/", "etc"),
        ("/", "net1"),
        ("/var/lib/kubelet/pods/0f4b/volumes/kubernetes.io~empty-dir/x", "net1"),
        ("/data/kubelet/pods/0f4b/volumes/kubernetes.io~empty-dir/x", "net1"),
    ],
)
def test_data_dir_of_the_system(path: str, network: str) -> None:
    """Neither the directory nor the store in it may be the system's, or one into which pods write."""
    with pytest.raises(CniError, match="dataDir") as raised:
        check(network, dataDir=path)
    assert (raised.value.code, "/run/container-ipam-state/" in raised.value.details) == (7, True)


def test_data_dir_behind_a_link(tmp_path: Path) -> None:
    """A link into a directory of the system does not hide that."""
    (tmp_path / "state").symlink_to("/etc")
    with pytest.raises(CniError, match="in the system directory /etc"):
        check(dataDir=str(tmp_path / "state"))


def test_keys_in_other_letters() -> None:
    """host-local takes keys in any letters."""
    with pytest.raises(CniError):
        check(DATADIR="/etc")
    with pytest.raises(CniError):
        check(ResolvConf="/etc/shadow")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_private_resolv_conf(mode: int, tmp_path: Path) -> None:
    """A file that not all users may read is not for pods, behind a link neither."""
    (tmp_path / "private").write_text("nameserver secret\n")
    (tmp_path / "private").chmod(mode)
    (tmp_path / "link").symlink_to("private")
    for name in ("private", "link"):
        with pytest.raises(CniError, match="its lines reach pods"):
            check(resolvConf=str(tmp_path / name))


def test_what_is_no_resolv_conf(tmp_path: Path) -> None:
    """A pipe would block host-local; what a pod or the kernel writes is not for other pods."""
    os.mkfifo(tmp_path / "pipe", 0o644)
    secret = tmp_path / "kubelet/pods/0f4b/volumes/kubernetes.io~secret/s/f"
    secret.parent.mkdir(parents=True)
    secret.write_text("nameserver secret\n")
    for path in (str(tmp_path / "pipe"), str(tmp_path), "/proc/self/environ", str(secret)):
        with pytest.raises(CniError, match="resolvConf"):
            check(resolvConf=path)


def test_public_resolv_conf(tmp_path: Path) -> None:
    """A public file is fine, and counts for how long an answer lasts; a missing one is host-local's affair."""
    (tmp_path / "resolv.conf").write_text("nameserver 10.96.0.10\n")
    (tmp_path / "resolv.conf").chmod(0o644)
    ((path, signature),) = check(resolvConf=str(tmp_path / "resolv.conf"))
    assert (path, bool(signature)) == (str(tmp_path / "resolv.conf"), True)
    assert check(resolvConf=str(tmp_path / "none")) == [(str(tmp_path / "none"), "")]
