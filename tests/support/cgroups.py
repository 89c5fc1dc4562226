"""Cgroups of containers: they belong to the kernel, not to a mount or namespace, and outlive the tests' machines.

https://docs.kernel.org/admin-guide/cgroup-v1/memory.html, https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

NAME = f"node-ipam-test-{secrets.token_hex(4)}"  # the parent of all that containers of this process get
_ROOT = "/sys/fs/cgroup"


class Memory:
    """A cgroup whose processes together may use this many bytes of memory. Raises OSError if that cannot be limited."""

    def __init__(self, limit: int) -> None:
        version_1 = os.path.isdir(os.path.join(_ROOT, "memory"))
        self.path = os.path.join(_ROOT, "memory" if version_1 else "", NAME)
        self._peak = "memory.max_usage_in_bytes" if version_1 else "memory.peak"
        os.makedirs(self.path, exist_ok=True)
        with open(os.path.join(self.path, "memory.limit_in_bytes" if version_1 else "memory.max"), "w") as file:
            file.write(str(limit))

    @property
    def processes(self) -> str:
        """The file to write the id of a process to that shall be in it."""
        return os.path.join(self.path, "cgroup.procs")

    def peak(self) -> int:
        """Return the most bytes that were ever used."""
        with open(os.path.join(self.path, self._peak)) as file:
            return int(file.read())


def found() -> Iterator[str]:
    """Yield the directories of this run, in all hierarchies, children first."""
    for parent, names, _files in os.walk(_ROOT, topdown=False):
        yield from (os.path.join(parent, name) for name in names if NAME in f"{parent}/{name}".split("/"))


def remove() -> None:
    """Remove them; their processes must have ended."""
    for path in found():
        os.rmdir(path)
