"""Lines for a person, at most 80 columns wide: titles, facts, and a table of calls and their results."""

from __future__ import annotations

import os
import textwrap
from typing import TextIO

_COLUMNS = (9, 9, 27, 19, 8)  # command, network, pod and interface, address, ranges; then GETs
_WIDTH = 80
_NAME = 14  # columns before the text of a fact


class Screen:
    """Prints lines for a person; in colour on a terminal, unless NO_COLOR is set."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.colour = stream.isatty() and not os.environ.get("NO_COLOR")

    def title(self, text: str, more: str = "") -> None:
        """Print the title of a scene, and a line about it."""
        self._print(f"\n{self._ink('1', text)}" + (f"\n{self._ink('2', more)}" if more else ""))

    def fact(self, name: str, text: str) -> None:
        """Print a name and what it stands for."""
        for line in textwrap.wrap(text, _WIDTH - _NAME - 2):
            self._print(f"  {name:<{_NAME}}{line}")
            name = ""

    def row(self, *cells: str, gets: str = "", head: bool = False) -> None:
        """Print a line of the table."""
        line = "".join(f"{cell:<{width}}" for cell, width in zip((*cells, *[""] * 5), _COLUMNS)) + f"{gets:>4}"
        self._print("  " + self._ink("2" if head else "32" if cells and cells[0] else "", line.rstrip()))

    def aside(self, text: str) -> None:
        """Print what a plugin wrote on stderr."""
        indent = " " * (_COLUMNS[0] + 2)
        for line in textwrap.wrap(text, _WIDTH - len(indent)):
            self._print(self._ink("33", indent + line))

    def _ink(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code else text

    def _print(self, text: str) -> None:
        self.stream.write(text.rstrip(" ") + "\n")
        self.stream.flush()
