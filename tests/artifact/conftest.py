"""Fixtures of the tests that run the built archive."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import recorder
from tests.recorder import ROOT, Node
from tests.runtime import Runtime


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder with the archive and its links: the one that NODE_IPAM_DIST names, or built from this checkout."""
    folder = os.environ.get("NODE_IPAM_DIST") or str(tmp_path_factory.mktemp("dist"))
    if "NODE_IPAM_DIST" not in os.environ:
        command = [sys.executable, os.path.join(ROOT, "build.py"), "build", "--dist", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


class Built:
    """The built plugins beside a recording host-local, and nothing else that they could find on this machine."""

    def __init__(self, dist: str, node: Node) -> None:
        self.dist = dist
        self.node = node

    def environ(self) -> dict[str, str]:
        """The environment beside CNI_*: no server can be reached, everything is kept in one directory."""
        home = str(self.node.directory / "home")
        kubeconfig = os.path.join(home, "none")
        return {"PATH": os.defpath, "HOME": home, "KUBECONFIG": kubeconfig, "NODE_IPAM_CACHE": self.node.cache}

    def runtime(self, *interpreter: str) -> Runtime:
        """A runtime that runs the archive by its first line, or by this command."""
        return Runtime([self.dist, str(self.node.directory)], self.environ(), interpreter)

    def by_first_line(self, python: str, *options: str) -> tuple[str, ...]:
        """The command that the kernel would make of the archive's first line, were this the interpreter in it."""
        return (python, "-IS", *options, "-c", self._code())

    def _code(self) -> str:
        with open(os.path.join(self.dist, "node-ipam.pyz"), "rb") as file:
            return file.readline().decode().rstrip("\n").partition(" -ISc")[2]


@pytest.fixture
def built(dist: str, tmp_path: Path) -> Built:
    """The built plugins, on a node of this test's own."""
    return Built(dist, recorder.make(tmp_path))


def files(directory: Path, besides: Sequence[str] = ()) -> set[str]:
    """Every file and directory below this one, but for those below directories of these names."""
    found = set()
    for parent, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if name not in besides]
        found |= {os.path.relpath(os.path.join(parent, name), directory) for name in (*folders, *names)}
    return found
