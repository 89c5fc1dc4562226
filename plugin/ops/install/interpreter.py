"""The Python that will run the plugin on each request: which one, and byte code that only it can make."""

from __future__ import annotations

import io
import os
import pkgutil
import sys
import zipfile
from dataclasses import dataclass

from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.ops.install import archive
from plugin.ops.install.root import last_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugin.ops.install.root import Root

OLDEST = (3, 9)
# Where distributions put it, in the order of preference. /usr/bin/python3 rather than the file it is a link to: the
# name survives the machine's next release.
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
_MAGIC = "import sys, importlib.util; sys.stdout.buffer.write(importlib.util.MAGIC_NUMBER)"


@dataclass(frozen=True)
class Interpreter:
    """path: absolute, as the machine that it belongs to knows it. version: major, minor, micro."""

    path: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"Python {'.'.join(map(str, self.version))} at {self.path}"

    def uses(self, name: str) -> bool:
        """Whether it may import this file of the archive; plugin.vendor chooses in the same way."""
        vendored = "vendor/py310/" if self.version >= (3, 10) else "vendor/py39/"
        return name.endswith(".py") and name.startswith(("__main__.", "plugin/", "vendor/common/", vendored))


def choose(root: Root, wanted: str = "") -> Interpreter:
    """The wanted one, or the first fit one of the usual. Raises CniError that says what was tried."""
    paths = [wanted] if wanted else [*USUAL, *([sys.executable] if root.is_own() else [])]
    tried = []
    for path in paths:
        try:
            return _probe(root, path)
        except CniError as error:
            tried.append(error.msg)
        except FileNotFoundError:
            if wanted:
                tried.append(f"{path} is not there")
    where = "" if root.is_own() else f" under {root.path}"
    oldest = ".".join(map(str, OLDEST))
    details = f"{'; '.join(tried) or 'none is there'}. Install one, or name it: --python PATH"
    raise CniError(PLUGIN_FAILURE, f"no Python {oldest} or later for the plugin{where}", details)


def with_byte_code(entries: Mapping[str, bytes], root: Root, python: Interpreter) -> dict[str, bytes]:
    """The archive's files and, beside each source that this interpreter may import, its byte code.

    The sources stay: a later interpreter does not take the byte code of this one. Raises CniError.
    """
    kept = {name: data for name, data in entries.items() if not name.endswith(".pyc")}
    sources = {name: data for name, data in kept.items() if python.uses(name)}
    compiler = (pkgutil.get_data("plugin.ops.install", "compiler.py") or b"").decode()
    # The seed decides the order of frozen sets: the same sources must give the same bytes. -I would ignore it.
    done = root.run(
        [python.path, "-sSB", "-Wignore", "-c", compiler], {"PYTHONHASHSEED": "0"}, archive.pack(sources), 300.0
    )
    if done.returncode:
        reason = last_line(done.stderr)
        raise CniError(PLUGIN_FAILURE, f"{python} cannot compile the plugin: {reason}", "name another: --python PATH")
    with zipfile.ZipFile(io.BytesIO(done.stdout)) as compiled:
        return {**kept, **{name: compiled.read(name) for name in compiled.namelist()}}


def takes(root: Root, python: Interpreter, byte_code: bytes) -> bool:
    """Whether it takes this content of a .pyc; what another version has made it passes over. Raises CniError."""
    try:
        done = root.run([python.path, "-ISc", _MAGIC], {})
    except OSError as error:
        raise CniError(PLUGIN_FAILURE, f"{python.path} cannot be run: {error.strerror}") from None
    return bool(done.stdout) and byte_code.startswith(done.stdout)


def _probe(root: Root, path: str) -> Interpreter:
    """Raises CniError for one that will not do, FileNotFoundError where there is none."""
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
