"""A plugin run inside this process, thousands of times: all of it but its start, its end, and the programs it calls."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from plugin import __main__ as start
from plugin import deadline, process
from plugin.node import identity
from plugin.start import failure, warm

CODES = {1, 4, 5, 6, 7, 11, 50, 100}
DONE_WORDS = ("not found", "no such file or directory")
RESULT = b"""{
    "cniVersion": "1.0.0",
    "ips": [
        {
            "address": "10.9.0.2/24"
        }
    ]
}
"""

Ending = tuple[int, bytes]


class Called(NamedTuple):
    """How the next plugin was called."""

    command: str
    environ: dict[str, str]
    config: dict[str, Any]


class Answer(NamedTuple):
    """An exit status, and what was printed."""

    status: int
    printed: bytes

    def error(self) -> dict[str, Any]:
        """The error object; fails for anything else."""
        document = json.loads(self.printed)
        assert self.status == 1 and document["msg"] and isinstance(document["cniVersion"], str), self
        assert "unforeseen" not in document["msg"], self
        found: dict[str, Any] = document
        return found


class Inside:
    """A node of its own: a cache, a place for leases, the Node object that the server has, and a next plugin."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.bin = directory / "bin"
        self.bin.mkdir()
        for name in ("kube-node", "node-annotation", "host-local"):
            (self.bin / name).touch()
        self.node: Any = {}
        self.raw = b""
        self.calls: list[Called] = []
        self.endings: dict[str, Ending | BaseException] = {}
        monkeypatch.setattr(process, "run", self._run)
        monkeypatch.setattr(process, "read_stdin", lambda: self.raw)
        monkeypatch.setattr(identity, "identify", lambda *_: (self.node, "certificate CN", {}))

    def _run(self, _path: str, _argv: object, env: Mapping[str, str], stdin: bytes, group: bool = False) -> Ending:
        self.calls.append(Called(env["CNI_COMMAND"], dict(env), json.loads(stdin)))
        ending = self.endings.get(env["CNI_COMMAND"], (0, b""))
        if isinstance(ending, BaseException):
            raise ending
        return ending

    def afresh(self, **endings: Ending | BaseException) -> None:
        """Forget everything; the next plugin will end like this from now on, an ADD with RESULT if nothing is said."""
        shutil.rmtree(self.directory / "cache", ignore_errors=True)
        self.calls.clear()
        self.endings = {"ADD": (0, RESULT), **endings}

    def environ(self, command: str, container: str = "c1") -> dict[str, str]:
        """What a runtime sets."""
        return {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": "/var/run/netns/x",
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default",
            "CNI_PATH": str(self.bin),
            "PATH": os.defpath,
            "HOME": str(self.directory),
            "NODE_IPAM_CACHE": str(self.directory / "cache"),
        }

    def ask(self, environ: Mapping[str, str], raw: bytes, name: str = "kube-node") -> Answer:
        """What the plugin of this name answers."""
        self.raw = raw
        request = warm.Request([str(self.bin / name)])
        request.environ = dict(environ)
        try:
            if warm.is_plain(request) and warm.add(request):
                return Answer(0, request.answer)
            return Answer(*start._answer(request))
        except (Exception, deadline.DeadlineExceeded) as error:
            return Answer(1, failure.explain(error, environ.get("CNI_COMMAND", "")))
