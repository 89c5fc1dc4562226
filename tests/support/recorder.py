"""A plugin that records its calls and then runs a given script; and our plugins, run from this checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.support import measured
from tests.support.runtime import Config, Runtime

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# As host-local prints it.
RESULT = """{
    "cniVersion": "1.0.0",
    "ips": [
        {
            "address": "10.9.0.2/24",
            "gateway": "10.9.0.1"
        }
    ],
    "dns": {}
}
"""
DUPLICATE = (
    '{"code": 999, "msg": "failed to allocate for range 0: 10.9.0.2 has been allocated to c1, '
    'duplicate allocation is not allowed"}'
)

_SCRIPT = """#!/bin/sh
PATH=/usr/bin:/bin
here={directory}
call=1
while ! mkdir "$here/calls/$call" 2>/dev/null && [ $call -lt 10000 ]; do call=$((call + 1)); done
cat /proc/$$/cmdline >"$here/calls/$call/cmdline"
cat /proc/$$/environ >"$here/calls/$call/environ"
cat >"$here/calls/$call/stdin"
. "$here/$CNI_COMMAND"
"""


class Called(NamedTuple):
    """One call as the program saw it."""

    command: str
    argv: list[str]
    environ: dict[str, str]
    stdin: bytes


class Recorder:
    """An executable that records each call; what it does then is a line of shell for each command."""

    def __init__(self, directory: Path, name: str = "host-local") -> None:
        self.directory = directory / f"{name}-told"
        self.path = str(directory / name)
        (self.directory / "calls").mkdir(parents=True)
        Path(self.path).write_text(_SCRIPT.format(directory=self.directory), encoding="utf-8")
        os.chmod(self.path, 0o755)
        for command in ("ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION"):
            self.does(command, ":")
        self.answers("ADD", RESULT)

    def does(self, command: str, script: str) -> None:
        """Set the script for a command; it runs after the call is recorded."""
        (self.directory / command).write_text(script + "\n", encoding="utf-8")

    def answers(self, command: str, text: str, then: str = "exit 0") -> None:
        """Set what to print for a command, and the script to run then."""
        (self.directory / f"{command}.answer").write_bytes(text.encode("utf-8", "surrogateescape"))
        self.does(command, f"cat '{self.directory}/{command}.answer'; {then}")

    def calls(self) -> list[Called]:
        """Return all calls, in order."""
        found = []
        for folder in sorted((self.directory / "calls").iterdir(), key=lambda each: int(each.name)):
            pairs = _fields(folder / "environ")
            environ = dict(pair.partition("=")[::2] for pair in pairs)
            argv = _fields(folder / "cmdline")[1:]  # the first is the shell
            found.append(Called(environ["CNI_COMMAND"], argv, environ, (folder / "stdin").read_bytes()))
        return found

    def commands(self) -> list[str]:
        """Return the commands of all calls, in order."""
        return [each.command for each in self.calls()]


def _fields(path: Path) -> list[str]:
    return [os.fsdecode(field) for field in path.read_bytes().split(b"\0")[:-1]]


class Node(NamedTuple):
    """A node in a directory: our plugins run from this checkout, beside a recorder."""

    directory: Path
    next: Recorder

    @property
    def cache(self) -> str:
        """The cache directory."""
        return str(self.directory / "cache")

    def config(self, version: str = "1.0.0", **ipam: Any) -> Config:
        """Return a network of type kube-node that needs no server: its ranges are pinned in kube-node.json."""
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        (data / "kube-node.json").write_text('{"ranges": [[{"subnet": "10.9.0.0/24"}]]}', encoding="utf-8")
        return {"cniVersion": version, "name": "net", "ipam": {"type": "kube-node", "dataDir": str(data), **ipam}}

    def runtime(self, before: str = "") -> Runtime:
        """Return a runtime that runs this checkout's main() after these statements."""
        start = "from plugin.__main__ import main; main(sys.argv[1:])"
        count = measured.prelude() if "COVERAGE_PROCESS_START" in os.environ else ""
        driver = f"{count}import sys; sys.path[:0] = [{ROOT!r}]\n{before}\n{start}"
        environ = {"NODE_IPAM_CACHE": self.cache, "PATH": os.defpath}
        return Runtime([str(self.directory)], environ, (sys.executable, "-c", driver))


def make(directory: Path) -> Node:
    """A node with both plugins and a recording host-local."""
    for name in ("kube-node", "node-annotation"):
        (directory / name).touch()
    return Node(directory, Recorder(directory))
