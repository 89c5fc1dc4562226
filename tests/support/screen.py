"""Lines for a person: titles, facts, and a table of what plugins were asked and answered."""

from __future__ import annotations

import os
import textwrap
from typing import TextIO

_COLUMNS = (9, 28, 9, 19, 16, 7)  # command, pod and interface, network, address, gateway, ranges; then GETs
_WIDTH = 100


class Screen:
    """Prints lines for a person; in colour on a terminal, unless NO_COLOR says no."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.colour = stream.isatty() and not os.environ.get("NO_COLOR")

    def title(self, text: str, more: str = "") -> None:
        """The head of a scene, and a line about it."""
        self._print(f"\n{self._ink('1', text)}" + (f"\n{self._ink('2', more)}" if more else ""))

    def fact(self, name: str, text: str) -> None:
        """One thing and what it is."""
        self._print(f"  {name:<13}{text}")

    def row(self, *cells: str, gets: str = "", head: bool = False) -> None:
        """A line of the table."""
        line = "".join(f"{cell:<{width}}" for cell, width in zip((*cells, *[""] * 6), _COLUMNS)) + f"{gets:>4}"
        self._print("  " + self._ink("2" if head else "32" if cells and cells[0] else "", line.rstrip()))

    def aside(self, text: str) -> None:
        """What a plugin said on stderr."""
        for line in textwrap.wrap(text, _WIDTH - 11):
            self._print(self._ink("33", f"{'':11}{line}"))

    def _ink(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code else text

    def _print(self, text: str) -> None:
        self.stream.write(text.rstrip(" ") + "\n")
        self.stream.flush()
