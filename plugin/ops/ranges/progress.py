"""A progress bar on stderr, if that is a terminal."""

from __future__ import annotations

import sys

_WIDTH = 30


class Progress:
    """Shows how far something is; clear() removes it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._is_shown = sys.stderr.isatty()

    def show(self, done: int, left: int) -> None:
        """Replace the bar."""
        if self._is_shown and done + left:
            full = _WIDTH * done // (done + left)
            sys.stderr.write(f"\r{self._what} [{'#' * full}{' ' * (_WIDTH - full)}] {done}/{done + left}\033[K")
            sys.stderr.flush()

    def clear(self) -> None:
        """Remove the bar."""
        if self._is_shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
