"""plugin.kube.kubelet: the --kubeconfig of the kubelet that runs, read from /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plugin.cache import Cache
from plugin.entries import location
from plugin.kube import kubelet

CONFIG = "/etc/kubernetes/kubelet.conf"
# The arguments as distributions give them, and the path in them.
LINES = {
    "kubeadm": (["/usr/bin/kubelet", f"--kubeconfig={CONFIG}", "--config=/var/lib/kubelet/config.yaml"], CONFIG),
    "kubeadm, bootstrap": (["kubelet", "--bootstrap-kubeconfig=/x", f"--kubeconfig={CONFIG}"], CONFIG),
    "EKS": (["/usr/bin/kubelet", "--config", "/c", "--kubeconfig", CONFIG, "--v=2"], CONFIG),
    "hyperkube": (["/hyperkube", "kubelet", f"--kubeconfig={CONFIG}"], CONFIG),
    "the last one counts": (["kubelet", "--kubeconfig=/a", f"--kubeconfig={CONFIG}"], CONFIG),
    "none": (["kubelet", "--config=/c"], ""),
    "relative": (["kubelet", "--kubeconfig=kubelet.conf"], ""),
    "empty": (["kubelet", "--kubeconfig="], ""),
    "at the end": (["kubelet", "--kubeconfig"], ""),
    "another program": (["/usr/bin/kubelet-exporter", f"--kubeconfig={CONFIG}"], ""),
    "hyperkube as something else": (["/hyperkube", "proxy", f"--kubeconfig={CONFIG}"], ""),
}


class Proc:
    """A /proc for a test. Its processes are in this mount namespace, unless another one is given."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "proc"
        self.process("self", [])
        self.read = 0

    def process(
        self, pid: str, line: list[str], namespace: str = "/proc/self/ns/mnt", user: int = 0, exe: str = ""
    ) -> None:
        """Let there be this process."""
        (self.path / pid / "ns").mkdir(parents=True)
        (self.path / pid / "cmdline").write_text("".join(f"{each}\0" for each in line))
        (self.path / pid / "ns/mnt").symlink_to(namespace)
        (self.path / pid / "exe").symlink_to(exe or sys.executable)
        os.chown(self.path / pid, user, user)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    """A /proc with some processes."""
    made = Proc(tmp_path)
    made.process("1", ["/sbin/init"])
    made.process("2", [])
    (made.path / "version").write_text("Linux")
    return made


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be a process of root")


def look(proc: Proc) -> str:
    """What is found there."""
    return kubelet.kubeconfig(str(proc.path), Cache(location(os.environ)))


@as_root
@pytest.mark.parametrize(("line", "expected"), LINES.values(), ids=LINES)
def test_command_lines(line: list[str], expected: str, proc: Proc) -> None:
    """Both ways of writing an option are read; a program of another name does not count."""
    proc.process("17", line)
    assert look(proc) == expected


@as_root
def test_whose_process_counts(proc: Proc) -> None:
    """A process of another user, in a container or of a setuid program does not count, whatever its name is."""
    proc.process("17", LINES["kubeadm"][0], user=1234)
    proc.process("18", LINES["kubeadm"][0], namespace="/proc/self/ns/uts")
    program = proc.path / "su"
    program.touch()
    program.chmod(0o4755)
    proc.process("19", LINES["kubeadm"][0], exe=str(program))
    assert look(proc) == ""


@as_root
def test_found_once(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which process it is, is remembered, and so is for a while that there is none; a new one is found."""
    listed: list[str] = []
    entries = os.listdir

    def listing(path: str) -> list[str]:
        listed.append(path)
        return entries(path)

    monkeypatch.setattr(os, "listdir", listing)
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    assert (look(proc), look(proc), len(listed)) == ("", "", 1)
    proc.process("17", LINES["kubeadm"][0])
    now += 61
    assert (look(proc), look(proc), len(listed)) == (CONFIG, CONFIG, 2)
    os.rename(proc.path / "17", proc.path / "18")
    assert (look(proc), look(proc), len(listed)) == (CONFIG, CONFIG, 3)
    (proc.path / "18/cmdline").write_text("kubelet\0--kubeconfig=/other\0")
    assert (look(proc), look(proc), len(listed)) == ("/other", "/other", 4)
    now = 10.0  # the clock was set back
    os.rename(proc.path / "18", proc.path / "not-a-process")
    assert (look(proc), len(listed)) == ("", 5)


def test_without_proc(tmp_path: Path) -> None:
    """Without /proc, no kubelet is found."""
    assert kubelet.kubeconfig(str(tmp_path / "none"), None) == ""


@contextmanager
def named_kubelet(*arguments: str) -> Iterator[None]:
    """A real process of this name."""
    code = "import sys; print(flush=True); sys.stdin.read()"
    argv = ["/usr/bin/kubelet", "-c", code, *arguments]
    with subprocess.Popen(argv, executable=sys.executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield
        process.communicate()


@as_root
def test_real_process() -> None:
    """A process in the real /proc is found."""
    with named_kubelet("--kubeconfig", "/somewhere/kubelet.conf"):
        assert kubelet.kubeconfig("/proc", None) == "/somewhere/kubelet.conf"
