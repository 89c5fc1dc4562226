"""What the bundled packages bring along waits until it is used, which most of it never is: patterns, other modules.

A fifth of a cold ADD is saved: see python3 build.py bench.
"""

from __future__ import annotations

import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Of which requests, urllib3 and what they import use functions alone, and none of them for a GET: for parts of uploads,
# ids of mails, proxies of a Session, files made of archives ...
_MODULES = ("calendar", "mimetypes", "random", "tempfile", "urllib.request", "zipfile")
_compile = re.compile


class postponed:
    """Modules imported within it (with postponed(): import ...) get stand-ins for what they rarely need."""

    def __enter__(self) -> None:
        re.compile = Pattern  # type: ignore[assignment]
        stand_ins: dict[str, Any] = {**{name: Module(name) for name in _MODULES}, "logging": Silence()}
        self._placed = {name: each for name, each in stand_ins.items() if name not in sys.modules}
        sys.modules.update(self._placed)

    def __exit__(self, *_exc: object) -> None:
        re.compile = _compile
        for name, each in self._placed.items():
            if sys.modules.get(name) is each:
                del sys.modules[name]


class Pattern:
    """A regular expression compiled when something is asked of it; kept by re's own cache."""

    def __init__(self, pattern: Any, flags: Any = 0) -> None:
        self._arguments = (pattern, flags)

    def __getattr__(self, name: str) -> Any:
        return getattr(_compile(*self._arguments), name)


class Module:
    """A module whose functions import it when they are called."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system looks for
            raise AttributeError(name)

        def function(*arguments: Any, **options: Any) -> Any:
            return getattr(__import__(self._name, fromlist=["*"]), name)(*arguments, **options)

        return function


class Silence:
    """A logging module that nobody listens to: what went wrong is in the exceptions, too."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_arguments: Any, **_options: Any) -> Any:
        """Whatever was called: a logger, its handler."""
        return self
