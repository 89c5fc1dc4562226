"""Fixtures: the node that doctor examines."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from plugin.ops.install.root import Root
from tests.support.operator_node import OperatorNode

_LARGE = 4 << 20  # bytes; the interpreter, which no test changes
_answers: dict[tuple[object, ...], subprocess.CompletedProcess[bytes]] = {}


@pytest.fixture(autouse=True)
def programs_answer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the same program has answered in an earlier test, it answers again; only failures are run each time."""
    run = Root.run

    def answered(
        root: Root, argv: Sequence[str], environ: Mapping[str, str], *more: Any, **named: Any
    ) -> subprocess.CompletedProcess[bytes]:
        path, *arguments = argv
        program = path if os.path.getsize(path) > _LARGE else hashlib.sha256(Path(path).read_bytes()).hexdigest()
        key = (program, os.path.basename(path), os.access(path, os.X_OK), *arguments, *sorted(environ.items()))
        if key not in _answers:
            done = run(root, argv, environ, *more, **named)
            if done.returncode:
                return done
            _answers[key] = done
        return _answers[key]

    monkeypatch.setattr(Root, "run", answered)


@pytest.fixture
def node(installed: OperatorNode) -> OperatorNode:
    """A healthy node with one network, whose podCIDRs are 10.244.1.0/24 and fd00:10:244:1::/64."""
    installed.network()
    return installed
