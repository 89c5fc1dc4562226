"""Byte code for the Python that runs this file: sources in a ZIP on stdin, byte code in one on stdout."""

from __future__ import annotations

import importlib.util
import io
import marshal
import sys
import zipfile

# https://peps.python.org/pep-0552/: by hash, and that not checked. A time stamp in a ZIP is local time: byte code made
# in one time zone is refused in another.
_UNCHECKED_HASH = (1).to_bytes(4, "little")


def compiled(name: str, source: bytes) -> bytes:
    """The content of the .pyc for a source of this name in the archive."""
    code = compile(source, f"node-ipam.pyz/{name}", "exec", dont_inherit=True)
    header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(source)
    return header + marshal.dumps(code)


def main() -> None:
    """Compile everything in the ZIP on standard input; each .pyc goes beside its .py, where zipimport looks."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read())) as given, zipfile.ZipFile(out, "w") as made:
        for name in sorted(given.namelist()):
            made.writestr(name + "c", compiled(name, given.read(name)))
    sys.stdout.buffer.write(out.getvalue())


if __name__ == "__main__":
    main()
