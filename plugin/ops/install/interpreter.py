"""The Python that will run the plugin on each request."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.ops.install import archive
from plugin.ops.install.root import Root

OLDEST = (3, 9)
# Where distributions put it, in the order of preference. /usr/bin/python3 comes before the file that it is a link to:
# its name survives the machine's next release.
USUAL = [
    "/usr/bin/python3",
    *(f"{place}/python3.{minor}" for minor in range(14, 8, -1) for place in ("/usr/bin", "/usr/local/bin")),
]
# Some distributions split the standard library: without one of these no request could be answered.
_NEEDED = ("json", "ssl", "socket", "http.cookiejar", "email.parser", "ipaddress", "zlib", "zipfile")
_PROBE = """
import sys
print("%d %d %d" % sys.version_info[:3])
for name in sys.argv[1:] if sys.version_info >= (3, 9) else ():
    try:
        __import__(name)
    except ImportError:
        print(name)
"""


@dataclass(frozen=True)
class Interpreter:
    """path: absolute, as the machine that it belongs to knows it. version: major, minor, micro."""

    path: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"Python {'.'.join(map(str, self.version))} at {self.path}"


def choose(root: Root, wanted: str = "") -> Interpreter:
    """Return the wanted interpreter, or the first suitable one of the usual. Raises CniError with what was tried."""
    paths = [wanted] if wanted else [*USUAL, *([sys.executable] if root.is_own() else [])]
    tried = []
    for path in paths:
        try:
            return probe(root, path)
        except CniError as error:
            tried.append(error.msg)
        except FileNotFoundError:
            if wanted:
                tried.append(f"{path} is not there")
    where = "" if root.is_own() else f" under {root.path}"
    oldest = ".".join(map(str, OLDEST))
    details = f"{'; '.join(tried) or 'none is there'}. Install one, or name it: --python PATH"
    raise CniError(PLUGIN_FAILURE, f"no Python {oldest} or later for the plugin{where}", details)


def probe(root: Root, path: str) -> Interpreter:
    """Return the interpreter at this path. Raises CniError if it is unsuitable, FileNotFoundError if there is none."""
    try:
        archive.shebang(path)
    except ValueError as error:
        raise CniError(PLUGIN_FAILURE, str(error)) from None
    if not os.path.lexists(root.outside(path)):
        raise FileNotFoundError(path)
    try:
        done = root.run([path, "-ISc", _PROBE, *_NEEDED], {})
    except OSError as error:
        raise CniError(PLUGIN_FAILURE, f"{path} cannot be run: {error.strerror}") from None
    first, *missing = done.stdout.decode("utf-8", "replace").splitlines() or [""]
    numbers = first.split()
    if done.returncode or len(numbers) != 3 or not all(number.isdigit() for number in numbers):
        raise CniError(PLUGIN_FAILURE, f"{path} does not behave like a Python (exit status {done.returncode})")
    found = Interpreter(path, tuple(map(int, numbers)))
    if found.version < OLDEST:
        raise CniError(PLUGIN_FAILURE, f"{path} is Python {'.'.join(numbers)}")
    if missing:
        hint = "install the whole of its standard library"
        raise CniError(PLUGIN_FAILURE, f"{path} lacks {', '.join(missing)} ({hint})")
    return found
