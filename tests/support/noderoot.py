"""The root of a machine in a directory, with this machine's programs; only the test's processes see the mounts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

PYTHON = "/usr/bin/python3"
_SYSTEM = ("bin", "dev", "lib", "lib32", "lib64", "proc", "sbin", "usr")
_MOUNT = 'while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done; shift; exec "$@"'


def why_not() -> str:
    """Return why this machine cannot mount such a root; empty if it can."""
    if os.geteuid() != 0:
        return "needs root"
    if not shutil.which("busybox"):
        return "needs busybox"
    if subprocess.run([PYTHON, "-ISc", "import sys; sys.exit(sys.version_info < (3, 9))"], check=False).returncode:
        return f"needs a {PYTHON} from 3.9 on"
    done = subprocess.run(["unshare", "--mount", "sh", "-ec", _MOUNT, "sh", "/", "/mnt", "--", "true"], check=False)
    return "needs leave to mount" if done.returncode else ""


class NodeRoot:
    """A node's root: the programs are this machine's, the rest is the test's. Mounts exist in run() only."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.mounts: list[tuple[str, str]] = []
        os.mkdir(path)
        for name in _SYSTEM:
            if os.path.islink(f"/{name}"):
                os.symlink(os.readlink(f"/{name}"), os.path.join(path, name))
            elif os.path.isdir(f"/{name}"):
                self.mount(f"/{name}", name)

    def mount(self, source: str, name: str) -> None:
        """Mount a directory of this machine under this name."""
        target = os.path.join(self.path, name)
        os.makedirs(target, exist_ok=True)
        self.mounts.append((source, target))

    def make(self, name: str) -> str:
        """Make a directory and its parents; return its path on this machine."""
        path = os.path.join(self.path, name)
        os.makedirs(path)
        return path

    def run(
        self, argv: Sequence[str], environ: Mapping[str, str], also: Sequence[tuple[str, str]] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of this machine with the mounts; also: further pairs of (source, target)."""
        command = self.command(argv, also)
        return subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=False)

    def command(self, argv: Sequence[str], also: Sequence[tuple[str, str]] = ()) -> list[str]:
        """Return the command that run() runs."""
        pairs = [path for pair in (*self.mounts, *also) for path in pair]
        return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _MOUNT, "sh", *pairs, "--", *argv]
