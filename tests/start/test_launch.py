"""The second half of the bootstrap: what it says if the program cannot be started."""

from __future__ import annotations

import json
import posix
import sys
from typing import Any, NoReturn

import pytest

from plugin.start import launch


class Ended(BaseException):
    """The process has ended with this status."""


def fails(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: bytes = b"VERSION"
) -> dict[str, Any]:
    """The error of a command."""

    def leave(status: int) -> NoReturn:
        raise Ended(status)

    monkeypatch.setattr(posix, "_exit", leave)
    monkeypatch.setitem(posix.environ, b"CNI_COMMAND", command)
    monkeypatch.setattr(sys, "argv", ["/opt/cni/bin/kube-node"])
    with pytest.raises(Ended, match="1"):
        launch.launch(-1, b"/nonexistent", -1, "", -1, None)
    document: dict[str, Any] = json.loads(capfd.readouterr().out)
    return document


def test_python_that_is_too_old(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The error names the interpreter and its version, and what to do."""
    monkeypatch.setattr(sys, "version_info", (3, 8, 18))
    document = fails(monkeypatch, capfd)

    assert document["code"] == 100
    assert document["msg"] == f"node-ipam needs Python 3.9 or later, {sys.executable} is Python 3.8"
    assert "install with a newer interpreter" in document["details"]


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (MemoryError(), "too little memory or too few open files to start (MemoryError)"),
        (OSError(24, "x"), "too little memory or too few open files to start (OSError)"),
        (ImportError(), "the plugin file is damaged (ImportError)"),
        (EOFError(), "the plugin file is damaged (EOFError)"),
    ],
)
def test_failure(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], failure: Exception, words: str
) -> None:
    """A shortage and a damaged file are told apart; the runtime may try again."""

    def fail(_f: int) -> NoReturn:
        raise failure

    monkeypatch.setattr(launch, "source", fail)
    document = fails(monkeypatch, capfd)

    assert (document["code"], document["msg"]) == (11, words)
    assert fails(monkeypatch, capfd, b"STATUS") == {**document, "code": 50}  # an ADD would fail
