"""The built archive that the tests, the demo and the bench run."""

from __future__ import annotations

import os
import subprocess
import sys

from plugin.ops.install import archive
from tests.support.recorder import ROOT

_NAME = "NODE_IPAM_DIST"


def _folder() -> str:
    """Return the directory in the variable, which build.py sets; if it is not set, build now and set it."""
    if not os.environ.get(_NAME):
        folder = os.path.join(ROOT, "dist")
        command = [sys.executable, os.path.join(ROOT, "build.py"), "build", "--dist", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        os.environ[_NAME] = folder
    return os.path.abspath(os.environ[_NAME])


DIST = _folder()
ARCHIVE = os.path.join(DIST, archive.FILE)


def with_lease(directory: str, seconds: float) -> str:
    """Make an archive in this directory whose Lease of `ranges assign` lasts so long; return its path."""
    entries, name = archive.unpack(ARCHIVE), "plugin/ops/ranges/lease.py"
    changed = entries[name].replace(b"\nDURATION = 15.0 ", b"\nDURATION = %.1f " % seconds)
    assert changed != entries[name]
    path = os.path.join(directory, archive.FILE)
    archive.place(path, archive.pack({**entries, name: changed}))
    return path


# Statements that make the modules in the archive sys.argv[1] importable, as its first line does.
FROM_ARCHIVE = """
import posix, sys
sys.path.insert(0, sys.argv[1])
from plugin.start import importer
importer.install(posix.open(sys.argv[1], posix.O_RDONLY), "", -1, None)
del sys.path[0]
"""
