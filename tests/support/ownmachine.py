"""Machines of their own for the tests: empty places for what programs keep, and a worker without any neighbour.

gc, doctor and ADD look at all processes and network namespaces of a machine. Workers of pytest-xdist that shared
one would see each other's pods, and API servers would take each other's ports.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

from tests.support import cgroups

_VARIABLE = "NODE_IPAM_OWN_MACHINE"  # set in a worker that has one
_UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--net")
# gc refuses in a container that shows no program of the node. Process 1 is named like one, as in a node of kind.
_START = 'ip link set lo up; printf systemd >/proc/$$/comm; "$@"; exit $?'
PLACES = ("/var/lib/cni", "/dev/shm")  # host-local's default store, libcni's results; shared memory
# linux/sched.h, linux/mount.h
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE, _MNT_DETACH = 0x20000, 1 << 14, 1 << 18, 2

_libc = ctypes.CDLL(None, use_errno=True)


def is_possible() -> bool:
    """Return whether a worker can have a machine of its own."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        return False
    return subprocess.run([*_command(), "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0


def python() -> str:
    """Return the command that runs this Python on a machine of its own, for a specification of execnet."""
    return shlex.join([*_command(), sys.executable])


def _command() -> list[str]:
    return [*_UNSHARE, "env", f"{_VARIABLE}=1", "sh", "-ec", _START, "sh"]


class EmptyPlaces:
    """A context manager: in PLACES this process, and those that it starts, see empty directories from now on.

    That needs root and leave to mount; without, nothing changes.
    """

    def __init__(self) -> None:
        self._mounted: list[str] = []
        self._made: list[str] = []

    def __enter__(self) -> EmptyPlaces:
        if os.geteuid() == 0 and not _libc.unshare(_CLONE_NEWNS):
            _mount(None, "/", _MS_REC | _MS_PRIVATE)
            for path in PLACES:
                with contextlib.suppress(OSError):  # a disk that cannot be written to
                    self._hide(path)
        return self

    def _hide(self, path: str) -> None:
        if not os.path.isdir(path):
            os.makedirs(path)
            self._made.append(path)
        _mount("tmpfs", path)
        self._mounted.append(path)

    def __exit__(self, *_exc: object) -> None:
        for path in self._mounted:
            _libc.umount2(path.encode(), _MNT_DETACH)
        for path in self._made:
            with contextlib.suppress(OSError):  # something is in it
                os.rmdir(path)

    def clear(self) -> None:
        """Empty them again."""
        for path in self._mounted:
            for entry in os.scandir(path):
                shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else os.unlink(entry)


def _mount(kind: str | None, path: str, flags: int = 0) -> None:
    name = kind.encode() if kind else None
    if _libc.mount(name, path.encode(), name, ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), f"mount {path}")


def traces() -> set[str]:
    """Return what tests could leave behind, for people: mounts, cgroups, what is in /; of an own machine, all on it."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        found = {f"mount {line.split()[4]}" for line in file}
    found |= {f"cgroup {path}" for path in cgroups.found()}
    found |= {f"file /{name}" for name in os.listdir("/")}
    if _VARIABLE in os.environ:
        found |= {f"link {name}" for _, name in socket.if_nameindex()}
        found |= set(_processes())
    return found


def _processes() -> Iterator[str]:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
            if words:  # else it has ended
                yield f"process {pid}: {words}"
