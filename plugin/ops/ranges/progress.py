"""A progress bar on stderr, if that is a terminal, for the list of all nodes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

_WIDTH = 30


@contextlib.contextmanager
def bar() -> Iterator[Callable[[int, int], None]]:
    """Return a function that shows how much is done and how much is left; remove the bar at the end."""
    is_shown = sys.stderr.isatty()

    def show(done: int, left: int) -> None:
        if is_shown and done + left:
            full = _WIDTH * done // (done + left)
            _write(f"reading nodes [{'#' * full}{' ' * (_WIDTH - full)}] {done}/{done + left}")

    try:
        yield show
    finally:
        if is_shown:
            _write("")


def _write(text: str) -> None:
    sys.stderr.write(f"\r{text}\033[K")
    sys.stderr.flush()
