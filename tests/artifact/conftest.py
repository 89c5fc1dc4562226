"""Fixtures of the tests that run the built archive."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from plugin.start import warm
from tests.support import recorder
from tests.support.dist import ARCHIVE, DIST
from tests.support.recorder import Node
from tests.support.runtime import Pod, Runtime, run


class Built:
    """The built plugins beside a recording host-local, and nothing else that they could find on this machine."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def environ(self) -> dict[str, str]:
        """The environment beside CNI_*: no server can be reached, everything is kept in one directory."""
        home = str(self.node.directory / "home")
        kubeconfig = os.path.join(home, "none")
        return {"PATH": os.defpath, "HOME": home, "KUBECONFIG": kubeconfig, "NODE_IPAM_CACHE": self.node.cache}

    def runtime(self, *interpreter: str) -> Runtime:
        """A runtime that runs the archive by its first line, or by this command."""
        return Runtime([DIST, str(self.node.directory)], self.environ(), interpreter)

    def by_first_line(self, python: str, *options: str) -> tuple[str, ...]:
        """The command that the kernel would make of the archive's first line, were this the interpreter in it."""
        return (python, "-IS", *options, "-c", self._code())

    def prepare(self, python: str) -> None:
        """Have byte code made for this Python, as install does."""
        call = self.runtime(*self.by_first_line(python)).call("ADD", self.node.config(), Pod("a"))
        environ = {**call.environ, "CNI_COMMAND": "VERSION", warm.PREPARE: "1"}
        assert run(call._replace(environ=environ)).status == 0

    def _code(self) -> str:
        with open(ARCHIVE, "rb") as file:
            return file.readline().decode().rstrip("\n").partition(" -ISc")[2]


@pytest.fixture
def built(tmp_path: Path) -> Built:
    """The built plugins, on a node of this test's own."""
    return Built(recorder.make(tmp_path))


def files(directory: Path, besides: Sequence[str] = ()) -> set[str]:
    """Every file and directory below this one, but for those below directories of these names."""
    found = set()
    for parent, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if name not in besides]
        found |= {os.path.relpath(os.path.join(parent, name), directory) for name in (*folders, *names)}
    return found
