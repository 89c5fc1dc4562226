"""The log: which lines, where to, and that it stops nobody."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from plugin.log import LEVELS, Log, level


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log file, decoded."""
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("error", "error"),
        ("warning", "warning"),
        ("info", "info"),
        ("debug", "debug"),
        ("trace", "trace"),
        (0, "info"),
        (1, "debug"),
        ("1", "debug"),
        (-1, "debug"),
        (2, "trace"),
        (-2, "trace"),
        (10**9, "trace"),
        ("", ""),
        (None, ""),
        ("DEBUG", ""),
        ("nonsense", ""),
        (True, ""),
        (1.5, ""),
        ([], ""),
        ({}, ""),
        ("-", ""),
        ("1.5", ""),
        ("9" * 5000, "trace"),
    ],
)
def test_level(setting: object, expected: str) -> None:
    """Names and numbers as the Go plugin has them; anything else is unknown."""
    assert level(setting) == expected


@pytest.mark.parametrize("setting", ["--1", "-------9", "²"])
def test_level_of_what_is_almost_a_number(setting: str) -> None:
    """What only looks like a number is no error."""
    assert level(setting) in (*LEVELS, "")


@pytest.mark.parametrize("wanted", LEVELS)
def test_levels_written(tmp_path: Path, wanted: str) -> None:
    """A line is written when its level is the wanted one or graver."""
    path = tmp_path / "log"
    log = Log(str(path), wanted)
    for name in LEVELS:
        getattr(log, name)(f"a line of {name}")

    assert [line["level"] for line in lines(path)] == list(LEVELS[: LEVELS.index(wanted) + 1])


def test_line(tmp_path: Path) -> None:
    """A line is a JSON object: an ISO 8601 time in UTC, level, message, context and fields; never a raw newline."""
    path = tmp_path / "log"
    Log(str(path), "info", plugin="kube-node", network="net").info("two\nlines ü", size=3, odd={1, 2}, name=b"x")

    (line,) = lines(path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("ts"))
    assert line == {
        "level": "info",
        "msg": "two\nlines ü",
        "plugin": "kube-node",
        "network": "net",
        "size": 3,
        "odd": "{1, 2}",
        "name": "x",
    }


@pytest.mark.parametrize(
    ("answer", "logged"),
    [
        (b'{\n    "ips": [{"address": "10.0.0.2/24"}]\n}\n', {"ips": [{"address": "10.0.0.2/24"}]}),
        (b"", ""),
        (b"oops {\n", "oops {"),
        (b"a\xff", "a\ufffd"),
        (b"[NaN]", ["NaN"]),
        (b"[" * 100000, "[" * 100000),
    ],
    ids=["json", "empty", "text", "not UTF-8", "NaN", "depth"],
)
def test_answer(tmp_path: Path, answer: bytes, logged: object) -> None:
    """An answer in JSON is in the line as what it says; any other one as text."""
    path = tmp_path / "log"
    Log(str(path)).info("ADD", answer=answer)

    assert lines(path)[0]["answer"] == logged


def test_answer_without_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read if no line is written."""
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("it was read"))

    Log().info("ADD", answer=b"{}")


def test_lines_are_appended(tmp_path: Path) -> None:
    """A log that is there is added to; a new one is not for everyone to read."""
    path = tmp_path / "log"
    for number in range(3):
        Log(str(path)).info(str(number))

    assert [line["msg"] for line in lines(path)] == ["0", "1", "2"]
    assert path.stat().st_mode & 0o007 == 0


def test_warning_goes_to_stderr_as_well(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A warning is on stderr with or without a log file; info is not."""
    for log in (Log(plugin="kube-node"), Log(str(tmp_path / "log"), "error", plugin="kube-node")):
        log.info("quiet")
        log.warning("loud \udcff")

    assert capfd.readouterr().err == "kube-node: loud \\udcff\n" * 2
    assert not (tmp_path / "log").exists()


def unwritable(tmp_path: Path, kind: str) -> str:
    """A path to which no line can be written."""
    path = tmp_path / kind
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "nowhere":
        path = tmp_path / "missing" / "log"
    return {"stdout": "/proc/self/fd/1", "full": "/dev/full"}.get(kind, str(path))


@pytest.mark.parametrize("kind", ["directory", "link", "fifo", "nowhere", "stdout", "full"])
def test_log_that_cannot_be_written(tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str) -> None:
    """It is said once on stderr, nothing is raised, and stdout is never a log."""
    path = unwritable(tmp_path, kind)
    log = Log(path, trusted=True)
    log.info("one")
    log.info("two")

    printed = capfd.readouterr()
    assert (printed.out, printed.err.count("cannot be written"), path in printed.err) == ("", 1, True)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("trusted", [False, True])
def test_pipe(tmp_path: Path, capfd: pytest.CaptureFixture[str], trusted: bool) -> None:
    """Another program can read the log from a pipe."""
    path = tmp_path / "log"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        Log(str(path), trusted=trusted).info("one")
        assert json.loads(os.read(reader, 1000))["msg"] == "one"
    finally:
        os.close(reader)
    assert capfd.readouterr().err == ""


NAMES = {
    "log": True,
    "x.log": True,
    "x.log.1": True,
    "xlog": True,
    "logs": True,
    "logfile": True,
    "logs.json": True,
    "x.log-20261126": True,
    "kube-node.json": False,
    "nologin": False,
    ".bash_logout": False,
    ".login": False,
    ".logout": False,
    "login.conf": False,
    "logrotate.conf": False,
    "x.log.conf": False,
    "x.log.sh": False,
    "10.0.0.1": False,
    "..": False,
    "": False,
}


@pytest.mark.parametrize("name", NAMES)
def test_name(tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    """Without trust, a file with another name than a log's is not made, and what to call it is said."""
    Log(f"{tmp_path}/{name}").info("one")
    assert [each.name for each in tmp_path.iterdir()] == [name] * NAMES[name]
    assert (f"{name}.log" in capfd.readouterr().err) is not NAMES[name]


@pytest.mark.parametrize("kind", ["full", "directory", "link", "stdout"])
def test_what_is_no_log(tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str) -> None:
    """A device, a directory and a link are not written to either, without trust."""
    os.symlink(unwritable(tmp_path, kind), tmp_path / "log")
    for path in (f"{tmp_path}/log", "/dev/full"):
        Log(path).info("one")
    assert capfd.readouterr().err.count("cannot be written") == 2


def test_log_with_a_path_that_no_file_can_have(capfd: pytest.CaptureFixture[str]) -> None:
    """A name that cannot be encoded is one more file that cannot be written."""
    Log("/nowhere/\ud800").info("one")

    assert "cannot be written" in capfd.readouterr().err


def test_closed_stderr(tmp_path: Path) -> None:
    """With stderr closed a warning still goes to the file."""
    path = tmp_path / "log"
    saved = os.dup(2)
    os.close(2)
    try:
        Log(str(path)).warning("one")
        Log().warning("two")
    finally:
        os.dup2(saved, 2)
        os.close(saved)

    assert [line["msg"] for line in lines(path)] == ["one"]
