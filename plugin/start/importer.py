"""Import the modules in the archive, from byte code in the cache directory if there is any, otherwise from source.

Everything is read through the descriptor that the first line has opened: replacing the archive does not affect a
running process, and neither /proc nor /dev is needed. The bundled packages come before any that the node has.
"""

from __future__ import annotations

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec
from _imp import source_hash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType, ModuleType

# The modules of the warm path in the order in which they import one another, and what runs them: they are one block at
# the front of the byte code file, without docstrings.
WARM = (
    "plugin/__init__.py",
    "plugin/deadline.py",
    "plugin/stdout.py",
    "plugin/process.py",
    "plugin/entries.py",
    "plugin/start/warm.py",
)
LAUNCH, IMPORTER = "plugin/start/launch.py", "plugin/start/importer.py"
PACKAGES = ("plugin", "requests", "urllib3", "idna", "yaml", "certifi")

FOLDERS = ("", "vendor/py310/" if sys.version_info >= (3, 10) else "vendor/py39/", "vendor/common/")
_FUTURE = b"from __future__ import annotations"
_LABEL = "node-ipam.pyz/"  # in front of the name of a file, in tracebacks
# Bytes of a local header, a directory entry, the last record: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
_LOCAL, _ENTRY, _END = 30, 46, 22
_COMMENT = 65535  # bytes that may follow the last record


class Importer:
    """A finder and loader of modules (importlib.abc)."""

    def __init__(self, archive: int, name: str, code: int, index: Mapping[str, tuple[int, int, bytes]] | None) -> None:
        self.archive = archive  # the descriptor of the archive
        self.name = name  # of its byte code file for this Python, in the cache directory
        self.compiled: dict[str, CodeType] = {}  # by file: what there was no byte code for
        self.index = index or {}  # by file: (offset from base, length, hash) in the byte code file
        self._code = code  # its descriptor, which stands where the modules begin
        self._base = posix.lseek(code, 0, 1) if index else 0
        self._entries: dict[str, tuple[int, int, int]] = {}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the spec of this module, or None if the archive does not have it."""
        if name.partition(".")[0] not in PACKAGES:
            return None
        stem = name.replace(".", "/")
        files = [folder + stem + end for folder in FOLDERS for end in ("/__init__.py", ".py")]
        found = [file for file in files if file in self.index] or [file for file in files if file in self.entries()]
        if not found:
            return None
        spec = ModuleSpec(name, self, origin=_LABEL + found[0], is_package=found[0].endswith("/__init__.py"))  # type: ignore[arg-type]
        spec.has_location = True  # the module gets a __file__
        spec.loader_state = found[0]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """Let importlib create the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the code of the module. Raises ImportError if the archive is damaged."""
        assert module.__spec__
        exec(self.code(module.__spec__.loader_state), module.__dict__)

    def code(self, file: str) -> CodeType:
        """Return the code of a module. Raises ImportError."""
        kept = self.blob(file)
        if kept:
            found: CodeType = marshal.loads(kept)
            return found
        source, flags, optimize = self.read(file), 0, 0
        if file in WARM or file == LAUNCH:  # without docstrings, and without importing what the compiler alone needs
            source, flags, optimize = source.replace(_FUTURE, b""), annotations.compiler_flag, 2
        made: CodeType = compile(source, _LABEL + file, "exec", flags, dont_inherit=True, optimize=optimize)
        self.compiled[file] = made
        return made

    def blob(self, file: str) -> bytes:
        """Return a module from the byte code file; empty if it is missing or damaged there."""
        offset, length, check = self.index.get(file, (0, 0, b""))
        data = posix.pread(self._code, length, self._base + offset) if length else b""
        return data if length and source_hash(0, data) == check else b""

    def read(self, file: str) -> bytes:
        """Return a file in the archive. Raises ImportError if it is damaged."""
        from binascii import crc32  # in an extension: not for those that find all of their byte code

        offset, length, check = self.entries()[file]
        head = posix.pread(self.archive, _LOCAL, offset)
        offset += _LOCAL + _number(head, 26, 2) + _number(head, 28, 2)
        data = posix.pread(self.archive, length, offset)
        if len(data) != length or crc32(data) != check:
            raise ImportError(f"{file} in the archive is damaged")
        return data

    def content(self) -> bytes:
        """Return the whole archive."""
        data = b""
        while part := posix.pread(self.archive, 1 << 20, len(data)):
            data += part
        return data

    def entries(self) -> dict[str, tuple[int, int, int]]:
        """Return the archive's directory: (offset of the header, length, CRC-32) by file. Raises ImportError."""
        if not self._entries:
            size = posix.fstat(self.archive).st_size
            tail = posix.pread(self.archive, _END + _COMMENT, max(size - _END - _COMMENT, 0))
            end = tail[tail.rfind(b"PK\5\6") :]
            data = posix.pread(self.archive, _number(end, 12, 4), _number(end, 16, 4))
            place = 0
            while data[place : place + 4] == b"PK\1\2":
                length = _number(data, place + 28, 2)
                name = data[place + _ENTRY : place + _ENTRY + length].decode()
                numbers = (_number(data, place + at, 4) for at in (42, 24, 16))
                self._entries[name] = tuple(numbers)  # type: ignore[assignment]
                place += _ENTRY + length + _number(data, place + 30, 2) + _number(data, place + 32, 2)
            if LAUNCH not in self._entries:
                raise ImportError("the archive has no directory, or half of one")
        return self._entries


def install(archive: int, name: str, code: int, index: Mapping[str, tuple[int, int, bytes]] | None) -> None:
    """Make the modules in the archive importable. Those of the warm path may have been run already."""
    sys.meta_path.insert(0, Importer(archive, name, code, index))
    parent = sys.modules.get("plugin")
    if parent and "plugin.process" in sys.modules:
        parent.__path__ = []
        for child in ("deadline", "stdout", "process", "entries"):
            setattr(parent, child, sys.modules[f"plugin.{child}"])


def _number(data: bytes, place: int, length: int) -> int:
    return int.from_bytes(data[place : place + length], "little")
