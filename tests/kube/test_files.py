"""plugin.kube.files: the files that a kubeconfig names, whole, unreadable or not yet written."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from plugin.errors import IO_FAILURE, CniError
from plugin.kube import files


@pytest.mark.parametrize(
    ("key", "content", "why"),
    [
        ("certificate-authority", None, "is a directory"),
        ("tokenFile", None, "is a directory"),
        ("client-cert", b"x" * (1 << 20) + b"x", "more than 1048576 bytes"),
    ],
)
def test_unreadable(key: str, content: bytes | None, why: str, tmp_path: Path) -> None:
    """A file that cannot be read is an error that names key, entry and file, and is not tried again."""
    path = tmp_path / "file"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(CniError) as raised:
        files.referenced(str(path), key, "u")
    assert (type(raised.value), raised.value.code) == (CniError, IO_FAILURE)
    assert raised.value.msg == f"unable to read {key} {path} for u due to open {path}: {why}"
    assert raised.value.details == "it must be a file that root can read"


@pytest.mark.parametrize(("age", "expected"), [(0.0, True), (3600.0, False), (-3600.0, False), (None, False)])
def test_is_recent(age: float | None, expected: bool, tmp_path: Path) -> None:
    """Only a file of the last second may be half-written: not one of the future, nor one that is gone again."""
    path = tmp_path / "file"
    if age is not None:
        path.write_text("half")
        os.utime(path, (0, time.time() - age))
    assert files.is_recent(str(path)) is expected
