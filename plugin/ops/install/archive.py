"""The archive: one line for the kernel, then a ZIP whose bytes depend on nothing but its contents."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping

from plugin import TYPES
from plugin.start.launch import BOOTSTRAP as BOOTSTRAP

FILE = "node-ipam.pyz"
LINKS = TYPES
INTERPRETER = "/usr/bin/python3"

# The kernel passes all that follows the interpreter as ONE argument: -I -S -c CODE. Starting with -c rather than by
# way of __main__.py saves importing runpy and what that drags in. argv[1] is the archive, by the name it was called.
_OPTIONS = (f"-IScimport sys,posix as p;f=p.open(sys.argv[1],0);exec(p.read(f,{BOOTSTRAP}))", "-IS")
# For that, and for `python3 node-ipam.pyz`, which has the archive in sys.path.
_MAIN = (
    b"""\
import posix
import sys

del sys.path[0]
f = posix.open(sys.argv[0], 0)
exec(posix.read(f, %d))
"""
    % BOOTSTRAP
)
_SHEBANG_LIMIT = 127  # bytes without the newline, Linux before 5.1: BINPRM_BUF_SIZE in include/uapi/linux/binfmts.h

# Read one after the other where there is no byte code.
_FIRST = ("plugin/start/launch.py", "plugin/start/importer.py")
_LOCAL = 30  # bytes of a ZIP's local header, without the name
_MODE = 0o100644


def shebang(interpreter: str) -> bytes:
    """Return the first line for this interpreter, an absolute path without blanks.

    A path too long for the best form gets the next. Raises ValueError if even the last does not fit.
    """
    if not interpreter.startswith("/") or interpreter.split() != [interpreter]:
        raise ValueError(f"an interpreter in a first line is an absolute path without blanks, not {interpreter!r}")
    for options in _OPTIONS:
        line = os.fsencode(f"#!{interpreter} {options}")
        if len(line) <= _SHEBANG_LIMIT:
            return line + b"\n"
    raise ValueError(f"the interpreter's path is too long for a first line of {_SHEBANG_LIMIT} bytes: {interpreter}")


def pack(entries: Mapping[str, bytes], interpreter: str = INTERPRETER) -> bytes:
    """Return the archive of these files (name to content): the same bytes on any machine, at any time, by any Python.

    Stored, not deflated: zlib's output differs between its implementations, and reading needs no zlib.
    """
    entries = {**entries, "__main__.py": _MAIN}
    stream = io.BytesIO()
    stream.write(_bootstrap(shebang(interpreter), entries))
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries, key=_position):
            info = zipfile.ZipInfo(name)  # of 1980, and of Unix
            info.external_attr = _MODE << 16
            archive.writestr(info, entries[name])
    return stream.getvalue()


def with_interpreter(data: bytes, interpreter: str) -> bytes:
    """Return this archive with a first line for this interpreter; unchanged if it has that already."""
    return data if data.startswith(shebang(interpreter)) else pack(_entries(data), interpreter)


def unpack(path: str) -> dict[str, bytes]:
    """Return the files in an archive, name to content. Raises OSError, or zipfile.BadZipFile if it is not whole."""
    with open(path, "rb") as file:
        return _entries(file.read())


def _entries(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except Exception as error:  # RuntimeError, NotImplementedError, zlib.error …: by what the damage looks like
        raise zipfile.BadZipFile(type(error).__name__) from None


def place(path: str, data: bytes, mode: int = 0o755) -> None:
    """Put a file where programs may be using it: the old one or the new one is there at any moment, and whole."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with _replacing(path) as temporary, open(os.open(temporary, flags, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def link(path: str, target: str) -> None:
    """Make path a symbolic link to target; whatever was there before is there until the link is."""
    with _replacing(path) as temporary:
        os.symlink(target, temporary)


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[str]:
    """Return a path beside this one; what is made there then replaces it in one step."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}")
    remove(temporary)  # of a process that was killed and had our number
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        raise
    _sync(folder or ".")


def remove(path: str) -> None:
    """Remove a file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _bootstrap(line: bytes, entries: Mapping[str, bytes]) -> bytes:
    """Return the first line and what follows it: bootstrap.py without its docstring, with what it has to know."""
    parts = [part for name in sorted(entries) for part in (name.encode(), b"%d" % len(entries[name]), entries[name])]
    identity = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16].encode()
    code = entries["plugin/start/bootstrap.py"].split(b'"""\n', 1)[1].strip()
    begin = _LOCAL + len(_FIRST[0])
    values = {b"IDENTITY": identity, b"BEGIN": b"%d" % begin, b"END": b"%d" % (begin + len(entries[_FIRST[0]]))}
    for word, value in values.items():
        code = code.replace(word, value)
    if len(line + code) >= BOOTSTRAP:
        raise ValueError(f"first line and bootstrap.py are longer than {BOOTSTRAP} bytes")
    return (line + code).ljust(BOOTSTRAP - 1) + b"\n"


def _position(name: str) -> tuple[int, str]:
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
