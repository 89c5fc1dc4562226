"""plugin.config.trust: as root, a file is read only if root alone can have written it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Union

import pytest

from plugin.config import trust
from plugin.errors import CniError

ROOT = Path(__file__).parents[2]
USER, GROUP = 1234, 2345

Entry = Union[tuple[str, int, int, int], tuple[str, str], tuple[str, str, int]]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")


def make(directory: Path, *entries: Entry) -> None:
    """Make directories (name/, mode, user, group), files (name, mode, user, group) and links (name, target[, user])."""
    for name, what, *owner in entries:
        path = directory / name
        if isinstance(what, str):
            path.symlink_to(what)
            os.lchown(path, owner[0] if owner else 0, 0)
            continue
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_text(name)
        os.chown(path, *owner)
        path.chmod(what)


FILE = ("d/f", 0o600, 0, 0)
# What there is below a directory of root, of which d/f or l is read.
TRUSTED: dict[str, list[Entry]] = {
    "root's own": [("d/", 0o700, 0, 0), FILE],
    "others may read": [("d/", 0o755, 0, 0), ("d/f", 0o644, 0, GROUP)],
    "root's group may write": [("d/", 0o775, 0, 0), ("d/f", 0o664, 0, 0)],
    "a sticky directory": [("d/", 0o1777, 0, 0), FILE],
    "a sticky directory of a group": [("d/", 0o1775, 0, GROUP), FILE],
    "a relative link": [("d/", 0o755, 0, 0), FILE, ("l", "d/f")],
    "a link to a link, as snap's current": [("d/", 0o755, 0, 0), FILE, ("current", "d"), ("l", "current/f")],
    "a link with .. in it": [("d/", 0o755, 0, 0), FILE, ("l", "d/../d/./f")],
    "a user's link in a directory of root": [("d/", 0o755, 0, 0), FILE, ("l", "d/f", USER)],
    "root's link in a sticky directory": [
        ("d/", 0o755, 0, 0),
        FILE,
        ("t/", 0o1777, 0, 0),
        ("t/l", "../d/f"),
        ("l", "t/l"),
    ],
}
REFUSED: dict[str, tuple[list[Entry], str, str]] = {
    "a user's file": ([("d/", 0o755, 0, 0), ("d/f", 0o600, USER, 0)], "user 1234 owns {d}/f", "chown root {d}/f"),
    "everybody may write": (
        [("d/", 0o755, 0, 0), ("d/f", 0o666, 0, 0)],
        "every user can write {d}/f",
        "chmod go-w {d}/f",
    ),
    "a group may write": (
        [("d/", 0o755, 0, 0), ("d/f", 0o664, 0, GROUP)],
        "group 2345 can write {d}/f",
        "chmod g-w {d}/f",
    ),
    "a user's directory": ([("d/", 0o755, USER, 0), FILE], "user 1234 owns {d}", "chown root {d}"),
    "a user's sticky directory": ([("d/", 0o1777, USER, 0), FILE], "user 1234 owns {d}", "chown root {d}"),
    "everybody may replace it": ([("d/", 0o777, 0, 0), FILE], "every user can write {d}", "chmod go-w {d}"),
    "a group may replace it": ([("d/", 0o775, 0, GROUP), FILE], "group 2345 can write {d}", "chmod g-w {d}"),
    "the mode alone does not make a file sticky": (
        [("d/", 0o755, 0, 0), ("d/f", 0o1666, 0, 0)],
        "every user can write {d}/f",
        "chmod go-w {d}/f",
    ),
    "a user's file behind root's link": (
        [("d/", 0o755, 0, 0), ("d/f", 0o600, USER, 0), ("l", "d/f")],
        "user 1234 owns {d}/f",
        "chown root {d}/f",
    ),
    "a link that a user's directory holds": (
        [("d/", 0o755, 0, 0), FILE, ("u/", 0o755, USER, 0), ("u/l", "../d/f"), ("l", "u/l")],
        "user 1234 owns {d}/../u",
        "chown root {d}/../u",
    ),
    "a user's link in a sticky directory": (
        [("d/", 0o755, 0, 0), FILE, ("t/", 0o1777, 0, 0), ("t/l", "../d/f", USER), ("l", "t/l")],
        "user 1234 made the link {d}/../t/l",
        "rm {d}/../t/l",
    ),
}


@as_root
@pytest.mark.parametrize("entries", TRUSTED.values(), ids=TRUSTED)
def test_trusted(entries: list[Entry], tmp_path: Path) -> None:
    """A file is read if root alone can have written it and put it there."""
    make(tmp_path, *entries)
    path = tmp_path / ("l" if (tmp_path / "l").is_symlink() else "d/f")
    assert trust.read(str(path), 100) == b"d/f"
    trust.check(str(path))


@as_root
@pytest.mark.parametrize(("entries", "what", "remedy"), REFUSED.values(), ids=REFUSED)
def test_refused(entries: list[Entry], what: str, remedy: str, tmp_path: Path) -> None:
    """What somebody else can change is not read; the error names the place and the command that mends it."""
    make(tmp_path, *entries)
    path = str(tmp_path / ("l" if (tmp_path / "l").is_symlink() else "d/f"))
    for call in (lambda: trust.check(path), lambda: trust.read(path, 100)):
        with pytest.raises(CniError) as raised:
            call()
        assert raised.value.msg == f"{path} is not used, because {_filled(what, tmp_path)}"
        assert raised.value.details == _filled(remedy, tmp_path)


def _filled(text: str, directory: Path) -> str:
    return text.replace("{d}/..", str(directory)).replace("{d}", f"{directory}/d")


@as_root
def test_remedy_mends(tmp_path: Path) -> None:
    """The commands that the errors name, one after the other, make a file usable, whatever its name."""
    make(tmp_path, ("it's me/", 0o777, USER, GROUP), ("it's me/$f", 0o666, USER, GROUP))
    path = str(tmp_path / "it's me/$f")
    for _ in range(4):
        with pytest.raises(trust.Untrusted) as raised:
            trust.read(path, 100)
        subprocess.run(["sh", "-c", raised.value.details], check=True)
    assert trust.read(path, 100) == b"it's me/$f"


@as_root
def test_access_control_list(tmp_path: Path) -> None:
    """An access control list that lets a user write shows as the group's right to write, and is refused."""
    make(tmp_path, ("d/", 0o755, 0, 0), FILE)
    # acl(5) as linux/posix_acl_xattr.h lays it out: version 2; owner, USER, group, mask, others.
    entries = [(1, 6, -1), (2, 6, USER), (4, 4, -1), (16, 6, -1), (32, 4, -1)]
    value = b"\2\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + mode.to_bytes(2, "little") + (number & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, mode, number in entries
    )
    try:
        os.setxattr(tmp_path / "d/f", "system.posix_acl_access", value)
    except OSError as error:
        pytest.skip(f"no access control lists here: {error}")
    with pytest.raises(trust.Untrusted, match="access control list"):
        trust.read(str(tmp_path / "d/f"), 100)


@as_root
def test_file_system_without_access_control_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that knows no such lists, as some in user space, lets root alone write."""
    make(tmp_path, ("d/", 0o755, 0, 0), ("d/f", 0o664, 0, 0))

    def refuse(_path: str) -> list[str]:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "listxattr", refuse)
    assert trust.read(str(tmp_path / "d/f"), 100) == b"d/f"


@as_root
def test_accounts_that_count_as_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below its own directory, an account that controls the kubelet counts as root; elsewhere it does not."""
    make(tmp_path, ("passwd", 0o644, 0, 0), ("d/", 0o755, USER, 0), FILE, ("e/", 0o755, 0, 0), ("e/f", 0o664, 0, GROUP))
    (tmp_path / "passwd").write_text(f"root:x:0:0::/:\nkube:x:{USER}:1::/:\nmicrok8s:x:{GROUP}:\n")
    passwd = str(tmp_path / "passwd")
    monkeypatch.setattr(trust, "_ACCOUNTS", ((f"{tmp_path}/d", passwd, "kube"), (f"{tmp_path}/e", passwd, "microk8s")))
    monkeypatch.setattr(trust, "_USERS", passwd)
    monkeypatch.setattr(trust, "_GROUPS", passwd)
    assert trust.read(str(tmp_path / "d/f"), 100) == b"d/f"
    assert trust.read(str(tmp_path / "e/f"), 100) == b"e/f"
    monkeypatch.setattr(trust, "_ACCOUNTS", ((f"{tmp_path}/dd", passwd, "kube"), (f"{tmp_path}/e", passwd, "nobody")))
    for name in ("d/f", "e/f"):
        with pytest.raises(trust.Untrusted):
            trust.read(str(tmp_path / name), 100)


PODS = (
    "/var/lib/kubelet/pods/0f4b/volumes/kubernetes.io~empty-dir/x/f",
    "/var/lib/k0s/kubelet/pods/0f4b/volumes/kubernetes.io~empty-dir/x/f",
    "/var/snap/microk8s/common/var/lib/kubelet/pods/0f4b/volume-subpaths/x/f",
    "/var/lib/kubelet/plugins/kubernetes.io/csi/driver/0/globalmount/f",
    "/data/pods/0f4b/volumes/kubernetes.io~empty-dir/x/f",
    "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/7/fs/f",
    "/run/containerd/io.containerd.runtime.v2.task/k8s.io/0/rootfs/f",
    "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/0/rootfs/f",
    "/var/lib/rancher/k3s/agent/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/7/fs/f",
    "/data/k3s/agent/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/7/fs/f",
    "/var/lib/k0s/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/7/fs/f",
    "/var/snap/microk8s/common/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/7/fs/f",
    "/var/lib/containers/storage/overlay/0/merged/f",
    "/run/containers/storage/overlay-containers/0/userdata/f",
    "/var/lib/docker/overlay2/0/merged/f",
    "/data/docker/overlay2/0/diff/f",
    "/var/lib/rancher/k3s/storage/pvc-1f0e6b0a-58a1-4d6e-8c43-3d0fb1a8b0d1_default_data/f",
    "/opt/local-path-provisioner/data_default/f",
    "/var/openebs/local/pvc-1f0e6b0a-58a1-4d6e-8c43-3d0fb1a8b0d1/f",
    "/var/snap/microk8s/common/default-storage/default-data-pvc-1f0e6b0a-58a1-4d6e-8c43-3d0fb1a8b0d1/f",
    "/tmp/hostpath-provisioner/default/data/f",
    "/var/log/pods/default_web_0f4b/web/0.log",
    "/proc/1/root/f",
    "/dev/shm/f",
)
# What the kubelet and the plugins of distributions really use.
NODES = (
    "/etc/kubernetes/kubelet.conf",
    "/etc/kubernetes/pki/ca.crt",
    "/var/lib/kubelet/kubeconfig",
    "/var/lib/kubelet/pki/kubelet-client-2026-11-26-14-52-13.pem",
    "/var/lib/kubelet/plugins_registry/f",
    "/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
    "/var/lib/rancher/rke2/agent/client-kubelet.key",
    "/var/lib/rancher/rke2/agent/pod-manifests/f",
    "/var/lib/k0s/kubelet.conf",
    "/var/lib/k0s/kubelet/pki/kubelet-client-current.pem",
    "/var/snap/microk8s/7394/credentials/kubelet.config",
    "/etc/cni/net.d/multus.d/multus.kubeconfig",
    "/etc/cni/node-annotation.conf",
    "/var/lib/node-ipam/kubeconfig",
    "/home/kubernetes/bin/gke-exec-auth-plugin",
    "/usr/local/aws-cli/v2/2.17.1/dist/aws",
    "/opt/pvc-tools/bin/token",
    "/etc/containerd/certs/ca.crt",
    "/opt/containerd/bin/helper",
    "/run/container-ipam-state/k8snet/kube-node.json",
    "/var/lib/cni/networks/k8snet/kube-node.json",
)


@pytest.mark.parametrize(("path", "expected"), [*((p, True) for p in PODS), *((p, False) for p in NODES)])
def test_is_pods(path: str, expected: bool) -> None:
    """Directories into which pods write are known by their names, wherever a distribution puts them."""
    assert trust.is_pods(path) is expected


@as_root
def test_pods_volume_behind_a_link(tmp_path: Path) -> None:
    """A pod's root owns its volume and can set any mode: a link into it is refused."""
    volume = tmp_path / "kubelet/pods/0f4b/volumes/kubernetes.io~empty-dir/x"
    volume.mkdir(parents=True)
    (volume / "f").write_text("f")
    (tmp_path / "l").symlink_to(volume / "f")
    with pytest.raises(trust.Untrusted) as raised:
        trust.read(str(tmp_path / "l"), 100)
    assert f"a directory into which pods write ({volume}/f)" in raised.value.msg


def read_behind_mount(script: str, source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Run a script with the source as $1, mount that on the target, and read the target's file f."""
    script += '; mount --bind "$1" "$2"; cd /; exec "$3" -c "$4" "$2/f"'
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from plugin.config import trust"
    code += "; print(trust.read(sys.argv[1], 9))"
    argv = ["unshare", "--mount", "sh", "-ec", script, "sh", str(source), str(target), sys.executable, code]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip(done.stderr)
    return done


@as_root
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_pods_volume_behind_a_mount(kind: str, tmp_path: Path) -> None:
    """A bind mount of a volume, be it part of a disk or in memory, is known for what it is."""
    volume = tmp_path / "kubelet/pods/0f4b/volumes/kubernetes.io~empty-dir/a b"
    volume.mkdir(parents=True)
    (tmp_path / "other").mkdir()
    made = "true" if kind == "bind" else 'mount -t tmpfs tmpfs "$1"'
    done = read_behind_mount(f'{made}; echo f > "$1/f"', volume, tmp_path / "other")
    assert f"a directory into which pods write ({volume}/f)" in done.stderr


@as_root
def test_other_mounts_are_no_obstacle(tmp_path: Path) -> None:
    """A file on a file system of its own, or below a bind mount of a directory of root, is read."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    make_file = 'mount -t tmpfs -o mode=755 tmpfs "$1"; echo f > "$1/f"'
    done = read_behind_mount(make_file, tmp_path / "a", tmp_path / "b")
    assert done.stdout == "b'f\\n'\n", done.stderr


@as_root
@pytest.mark.parametrize("path", ["/proc/self/root/etc/passwd", "/proc/1/root/etc/passwd", "/proc/self/cwd/x"])
def test_links_of_proc(path: str) -> None:
    """A link in /proc may lead into a container's root: it is not followed."""
    with pytest.raises(trust.Untrusted, match="/proc/"):
        trust.read(path, 100)


def test_what_is_no_file(tmp_path: Path) -> None:
    """A missing file is missing, even in a directory of somebody else; a directory, a loop and a pipe are refused."""
    make(tmp_path, ("d/", 0o777, os.getuid(), os.getgid()), ("loop", "loop"), ("l", "d"))
    os.mkfifo(tmp_path / "pipe")
    for name, error in (
        ("d/none", FileNotFoundError),
        ("d/none/none", FileNotFoundError),
        ("d", IsADirectoryError),
        ("l", IsADirectoryError),
        ("loop", OSError),
        ("pipe", OSError),
        ("pipe/f", NotADirectoryError),
    ):
        (tmp_path / "d").chmod(0o755 if name in ("d", "l") else 0o777)
        with pytest.raises(error):
            trust.read(str(tmp_path / name), 100)


@as_root
def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path starts at the working directory, whose directories count, too."""
    make(tmp_path, ("d/", 0o755, 0, 0), FILE)
    monkeypatch.chdir(tmp_path / "d")
    assert trust.read("f", 100) == b"d/f"
    (tmp_path / "d").chmod(0o777)
    with pytest.raises(trust.Untrusted):
        trust.read("./f", 100)


def test_root_in_a_user_namespace() -> None:
    """A user who is root in a namespace of his own, where the system belongs to nobody, is not held to this."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from plugin.config import trust"
    code += "; print(trust.read('/etc/passwd', 5))"
    user = ["setpriv", f"--reuid={USER}", f"--regid={GROUP}", "--clear-groups"] if os.geteuid() == 0 else []
    argv = [*user, "unshare", "--user", "--map-root-user", "/usr/bin/python3", "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if any(word in done.stderr for word in ("unshare", "setpriv", "No module named")):
        pytest.skip(done.stderr)
    assert done.stdout == "b'root:'\n", done.stderr


def test_any_other_user_reads_what_the_kernel_lets_it_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what root reads is held to this."""
    (tmp_path / "f").write_text("f")
    (tmp_path / "f").chmod(0o666)
    monkeypatch.setattr(os, "geteuid", lambda: USER)
    assert trust.read(str(tmp_path / "f"), 100) == b"f"
    trust.check(str(tmp_path / "f"))
