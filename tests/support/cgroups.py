"""Cgroups of containers: they belong to the kernel, not to a mount or namespace, and outlive the tests' machines."""

from __future__ import annotations

import os
from collections.abc import Iterator

NAME = f"node-ipam-test-{os.getpid()}"  # the parent of all that containers of this run get
_ROOT = "/sys/fs/cgroup"


def found() -> Iterator[str]:
    """Yield the directories of this run, in all hierarchies, children first."""
    for parent, names, _files in os.walk(_ROOT, topdown=False):
        yield from (os.path.join(parent, name) for name in names if NAME in f"{parent}/{name}".split("/"))


def remove() -> None:
    """Remove them; their processes must have ended."""
    for path in found():
        os.rmdir(path)
