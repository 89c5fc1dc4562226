"""The way to the bundled packages; beside it, for build.py alone, what is bundled and how it is fetched."""

from __future__ import annotations

import sys


def enable() -> None:
    """Let requests, urllib3, idna and yaml be imported from the archive, before any that the node has.

    Which versions is for the running Python to say. In a source checkout they are installed: nothing is done.
    """
    archive = getattr(__spec__.loader, "archive", None)
    if archive is None or f"{archive}/vendor/common" in sys.path:
        return
    tree = "py310" if sys.version_info >= (3, 10) else "py39"
    sys.path[:0] = [f"{archive}/vendor/{tree}", f"{archive}/vendor/common"]
