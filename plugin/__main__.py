"""The name the program was called by, and what for: a CNI command or an operator's."""

from __future__ import annotations

import posix as os  # os itself would add 0.7 ms to each start
import sys

from plugin import deadline, stdout
from plugin.start import warm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from plugin.start.warm import Request


_KEEPING = 2.0  # seconds


def main(argv: list[str], request: Request | None = None) -> None:
    """Do what is asked for and end the process; argv[0] is the path it was called by.

    request: how far the warm path has come with it, where that has been tried.
    """
    request = request or warm.serve(argv)
    if len(argv) > 1 or not request.environ.get("CNI_COMMAND"):
        sys.exit(_operate(argv))
    try:
        if not request.error:
            # A result that the warm path could not deliver is undone, even if no time is left.
            deadline.start(max(request.left, deadline.UNDO) if request.entry else request.left)
        status, answer = _answer(request)
        deadline.stop()
    except BaseException as error:
        deadline.stop()
        from plugin.start import failure

        status, answer = 1, failure.explain(error, request.environ["CNI_COMMAND"])
    status = stdout.finish(status, answer)
    _keep_byte_code(request)
    os._exit(status)


def _answer(request: Request) -> tuple[int, bytes]:
    if request.entry:
        from plugin.leases import hostlocal
        from plugin.start import ordinary

        status, answer = ordinary.conclude(request)
        if not (status and hostlocal.is_exhausted(answer)):
            return status, answer
    if request.error:
        raise request.error
    from plugin import verbs

    return verbs.answer(request.argv[0], request.environ["CNI_COMMAND"], request.environ, request.raw)


def _keep_byte_code(request: Request) -> None:
    """Store what had to be compiled; for VERSION, which leaves no files, if install has asked for that."""
    loader: Any = sys.modules[__name__].__loader__
    prepare = warm.PREPARE in request.environ
    if not getattr(loader, "compiled", None) or (request.environ["CNI_COMMAND"] == "VERSION" and not prepare):
        return
    try:
        deadline.start(_KEEPING)
        from plugin.cache import Cache
        from plugin.entries import location
        from plugin.start import bytecode

        bytecode.keep(loader, Cache(location(request.environ)), everything=prepare)
    except BaseException:
        pass
    finally:
        deadline.stop()


def _operate(argv: list[str]) -> int | str:
    try:
        from plugin.ops import main as operator
    except ImportError as error:
        from plugin.start import failure

        return f"error: {sys.executable} lacks the module {failure.missing(error)}\n{failure.ADVICE}"
    return operator.run(argv)
