"""The output of the operator's commands: tables, status words in colour, JSON, metrics, errors; exit statuses."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from plugin.errors import INVALID_CONFIG, CniError

# Exit statuses.
FINE = 0
FOUND = 1  # something is wrong, or could not be done
USAGE = 2  # the command line is wrong, whatever the machine and the cluster are like
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it

# What to do if the API server cannot be reached.
UNREACHABLE = "check that the API server runs, that server: in the kubeconfig is its address, and firewalls"

_GAP = "  "
_BOLD = "1"
_HUGE = 10**9
_SILENCE = 1.0  # seconds
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


class UsageError(CniError):
    """A command line that argparse accepts and that is wrong all the same: the exit status is USAGE."""

    def __init__(self, msg: str, details: str) -> None:
        super().__init__(INVALID_CONFIG, msg, details)


class Status(str):
    """A status word: the same text everywhere, in colour on a terminal."""

    colour: str

    def __new__(cls, word: str, colour: str) -> Status:
        """colour: the parameter of SGR, ECMA-48 section 8.3.117."""
        self = super().__new__(cls, word)
        self.colour = colour
        return self


OK = Status("ok", "32")
WARN = Status("warn", "33")
FAIL = Status("fail", "31")


def add_format(parser: argparse.ArgumentParser, *more: str) -> None:
    """Add -o table|json, and more formats, to a command; arguments.output has the format."""
    choices = ("table", "json", *more)
    text = f"the output format: {', '.join(choices[:-1])} or {choices[-1]} (default: table)"
    parser.add_argument("-o", "--output", choices=choices, default="table", metavar="FORMAT", help=text)


def not_empty(text: str) -> str:
    """Return the text; an argument of this type must not be empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def checked(is_valid: Callable[[str], object], what: str) -> Callable[[str], str]:
    """Return the type of an argument that must be valid."""

    def check(text: str) -> str:
        if not is_valid(text):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return text

    return check


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under headings, one line each; columns of numbers are aligned to the right."""
    grid = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *grid)]
    right = [bool(rows) and all(isinstance(row[i], (int, float)) for row in rows) for i in range(len(headings))]
    tint = is_coloured(sys.stdout)
    lines = [[_painted(_BOLD, cell, tint) for cell in _padded(headings, widths, right)]]
    for row, texts in zip(rows, grid):
        padded = _padded(texts, widths, right)
        lines.append([_painted(getattr(cell, "colour", ""), text, tint) for cell, text in zip(row, padded)])
    for cells in lines:
        line(_GAP.join(cells).rstrip())


def document(value: Any) -> None:
    """Print a value as indented ASCII JSON; the keys keep their order."""
    line(json.dumps(value, indent=2))


def gauge(name: str, text: str, samples: Iterable[tuple[Mapping[str, str], int]]) -> None:
    """Print one metric, with labels and value of each sample, in the text format of Prometheus.

    https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
    """
    line(f"# HELP {name} {text}\n# TYPE {name} gauge")
    for labels, value in samples:
        written = ",".join(f"{key}={_quoted(label)}" for key, label in labels.items())
        line(f"{name}{{{written}}} {value}")


def line(text: str = "") -> None:
    """Print a text of one or more lines."""
    sys.stdout.write(text + "\n")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the known word that this one resembles most; empty if it resembles none."""
    import difflib

    return next(iter(difflib.get_close_matches(word.lower(), list(known), 1)), "")


def read_stdin(what: str, limit: int) -> bytes:
    """Return at most so many bytes of standard input; at a terminal, or if they do not come, say what they are."""
    if sys.stdin.isatty():
        note(f"reading {what} from standard input; end it with Ctrl-D")
        return sys.stdin.buffer.read(limit)
    reminder = threading.Timer(_SILENCE, note, [f"waiting for {what} on standard input"])
    reminder.start()
    try:
        return sys.stdin.buffer.read(limit)
    finally:
        reminder.cancel()


def note(text: str) -> None:
    """Print a message of one or more lines on stderr, as it is not part of the output."""
    sys.stderr.write("\n".join(map(printable, text.split("\n"))) + "\n")


def error(failure: CniError) -> None:
    """Print an error on stderr: what is wrong, then what to do, which may have several lines."""
    word = _painted(FAIL.colour, "error:", is_coloured(sys.stderr))
    sys.stderr.write(f"{word} {printable(failure.msg)}\n")
    if failure.details:
        note(failure.details)


def conclude(troubles: Sequence[CniError]) -> int:
    """Print these errors and return the exit status: FOUND if there are any."""
    for trouble in troubles:
        error(trouble)
    return FOUND if troubles else FINE


def listed(troubles: Sequence[CniError]) -> list[dict[str, str]]:
    """Return these errors as objects for a JSON document."""
    return [{"what": trouble.msg, "remedy": trouble.details} for trouble in troubles]


def advice(text: str) -> list[str]:
    """Return the lines of a remedy as they stand below what is wrong."""
    return [f"  {'  ' if at else '->'} {line}" for at, line in enumerate(text.splitlines())]


def is_coloured(stream: TextIO) -> bool:
    """Return whether to use colour: on a terminal that has it, unless NO_COLOR is set (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def printable(value: object) -> str:
    """Return a value as text with control characters escaped, as annotations and file names may have some."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))


def amount(count: int) -> int | str:
    """Return a number of addresses, in scientific notation if it is a billion or more."""
    return count if count < _HUGE else f"{float(count):.1e}"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, as 1 lease or 2 leases."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def age(seconds: float) -> str:
    """Return a time span in seconds in its two largest units, as kubectl does: 45s, 7m30s, 3h5m, 12d4h.

    A negative or infinite one, from a clock that was set back, is "in the future".
    """
    if not 0 <= seconds < float("inf"):
        return "in the future"
    left, parts = int(seconds), []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        parts.append((count, unit))
    first = next((place for place, (count, _) in enumerate(parts) if count), 0)
    return "".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count) or "0s"


def _quoted(label: str) -> str:
    escaped = label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _padded(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    return [cell.rjust(width) if end else cell.ljust(width) for cell, width, end in zip(cells, widths, right)]


def _painted(colour: str, text: str, wanted: bool) -> str:
    return f"\033[{colour}m{text}\033[0m" if wanted and colour else text
