"""What operators see: tables, status words, colour, errors."""

from __future__ import annotations

import argparse
import io
import json
import types

import pytest

from plugin.errors import INVALID_CONFIG, CniError
from plugin.ops import output


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        """It is."""
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal with colours in place of stdout and stderr."""
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(output, "sys", types.SimpleNamespace(stdout=stream, stderr=stream))
    return stream


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns are as wide as their widest cell, numbers stand to the right, no line ends in blanks."""
    output.table(["RANGE", "USED", "NOTE"], [["10.0.0.0/24", 7, ""], ["fd00::/64", 1200, "full"]])

    expected = "RANGE        USED  NOTE\n10.0.0.0/24     7\nfd00::/64    1200  full\n"
    assert capsys.readouterr().out == expected


def test_table_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Without rows the headings remain."""
    output.table(["A", "B"], [])

    assert capsys.readouterr().out == "A  B\n"


def test_table_cells_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences and newlines from a file name or an annotation are shown, not sent."""
    output.table(["NAME"], [["\x1b[2Jgone\nREADY"]])

    assert capsys.readouterr().out == "NAME\n\\x1b[2Jgone\\nREADY\n"


def test_table_on_a_terminal(terminal: Terminal) -> None:
    """Headings are bold and status words have their colours; the columns stay aligned."""
    output.table(["STATUS", "CHECK"], [[output.OK, "a"], [output.FAIL, "ok"]])

    first, second, third = terminal.getvalue().splitlines()
    assert first == "\033[1mSTATUS\033[0m  \033[1mCHECK\033[0m"
    assert second == "\033[32mok    \033[0m  a"
    assert third == "\033[31mfail  \033[0m  ok"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_unwanted(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """NO_COLOR and a terminal without colours are respected."""
    monkeypatch.setenv(name, value)

    output.table(["STATUS"], [[output.WARN]])

    assert terminal.getvalue() == "STATUS\nwarn\n"


def test_status_words_are_text() -> None:
    """In JSON a status word is its text."""
    assert json.dumps([output.OK, output.WARN, output.FAIL]) == '["ok", "warn", "fail"]'


def test_document(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON keeps the order of the keys and is ASCII, which any locale can print."""
    output.document({"b": "ä", "a": [1]})

    assert capsys.readouterr().out == '{\n  "b": "\\u00e4",\n  "a": [\n    1\n  ]\n}\n'


def test_error(capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong is one line on stderr; what to do may have several, and steers no terminal."""
    output.error(CniError(INVALID_CONFIG, "it is\nbroken", "mend\n  it\x07"))

    assert capsys.readouterr() == ("", "error: it is\\nbroken\nmend\n  it\\x07\n")


def test_error_on_a_terminal(terminal: Terminal) -> None:
    """There the first word is red; without details there is no second line."""
    output.error(CniError(INVALID_CONFIG, "broken"))

    assert terminal.getvalue() == "\033[31merror:\033[0m broken\n"


def test_note(capsys: pytest.CaptureFixture[str]) -> None:
    """A note may have several lines, and steers no terminal either."""
    output.note("one\ntwo\x07")

    assert capsys.readouterr() == ("", "one\ntwo\\x07\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "in the future"),
        (float("inf"), "in the future"),
        (0, "0s"),
        (0.9, "0s"),
        (59, "59s"),
        (60, "1m"),
        (450, "7m30s"),
        (3600, "1h"),
        (3661, "1h1m"),
        (3605, "1h"),
        (86400 * 400 + 7200, "400d2h"),
    ],
)
def test_age(seconds: float, text: str) -> None:
    """Two units at most, and none that is nought."""
    assert output.age(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 leases"), (1, "1 lease"), (2, "2 leases")])
def test_counted(number: int, text: str) -> None:
    """One is one."""
    assert output.counted(number, "lease") == text


@pytest.mark.parametrize(("arguments", "format"), [([], "table"), (["-o", "json"], "json"), (["--output=csv"], "csv")])
def test_format(arguments: list[str], format: str) -> None:
    """A table unless told otherwise; a command may know more formats."""
    parser = argparse.ArgumentParser()
    output.add_format(parser, "csv")

    assert parser.parse_args(arguments).output == format


def test_unknown_format(capsys: pytest.CaptureFixture[str]) -> None:
    """Any other format is a mistake in usage."""
    parser = argparse.ArgumentParser()
    output.add_format(parser)

    with pytest.raises(SystemExit) as end:
        parser.parse_args(["-o", "xml"])

    assert end.value.code == output.USAGE
    assert "xml" in capsys.readouterr().err
