"""Byte code for an archive: zipimport takes it, and it says where it comes from."""

from __future__ import annotations

import importlib.util
import io
import marshal
import sys
import types
import zipfile

import pytest

from plugin.ops.install import compiler

SOURCE = b"from __future__ import annotations\nanswer = 42\n"


def test_byte_code_is_not_compared_with_the_source() -> None:
    """Its flags say: by hash, unchecked; so neither clocks nor time zones matter."""
    data = compiler.compiled("plugin/x.py", SOURCE)

    assert data[:4] == importlib.util.MAGIC_NUMBER
    assert data[4:16] == b"\1\0\0\0" + importlib.util.source_hash(SOURCE)


def test_byte_code_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source in the ZIP on stdin comes back as byte code beside it, under a name without anyone's directories."""
    given, made = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(given, "w") as sources:
        sources.writestr("plugin/x.py", SOURCE)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.getvalue())))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(made))

    compiler.main()

    with zipfile.ZipFile(io.BytesIO(made.getvalue())) as compiled:
        assert compiled.namelist() == ["plugin/x.pyc"]
        code = marshal.loads(compiled.read("plugin/x.pyc")[16:])
    assert isinstance(code, types.CodeType)
    names: dict[str, object] = {}
    exec(code, names)
    assert (code.co_filename, names["answer"]) == ("node-ipam.pyz/plugin/x.py", 42)
