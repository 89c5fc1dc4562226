"""Ctrl-C at any moment of an operator's command."""

from __future__ import annotations

import signal
import subprocess

import pytest

from plugin.ops.install import archive
from tests.artifact.conftest import Built
from tests.support.dist import ARCHIVE

# Sends SIGINT to this very process when the module is compiled, which is while the program starts.
INTERRUPT = """import os,sys;sys.addaudithook(
lambda event, values: event == "compile" and values[1] == "node-ipam.pyz/{module}" and os.kill(os.getpid(), {number}))
"""


def interrupted(built: Built, module: str, *before: str) -> subprocess.CompletedProcess[str]:
    """The command `version` that gets SIGINT at the start of a module."""
    *options, code = built.by_first_line(archive.INTERPRETER)
    code = INTERRUPT.format(module=module, number=int(signal.SIGINT)) + code
    command = [*before, *options, code, ARCHIVE, "version"]
    return subprocess.run(command, env=built.environ(), capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["plugin/__main__.py", "plugin/deadline.py", "plugin/ops/main.py"])
def test_interrupted_at_the_start(built: Built, module: str) -> None:
    """The process ends by the signal, as a shell expects, without a traceback of an import."""
    done = interrupted(built, module)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_interrupt_that_is_ignored(built: Built) -> None:
    """A command in the background of a script, or under nohup, goes on."""
    done = interrupted(built, "plugin/deadline.py", "sh", "-c", "trap '' INT; exec \"$@\"", "sh")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("node-ipam ")
