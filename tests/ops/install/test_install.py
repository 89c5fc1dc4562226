"""The parts of install that the built archive does not come by; tests/artifact/test_install.py runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plugin.errors import CniError
from plugin.ops.install import install


def test_own_archive_of_a_checkout() -> None:
    """What runs from its sources is no archive, and says what makes one."""
    with pytest.raises(CniError, match="this runs from its sources") as raised:
        install.own_archive()
    assert "build.py" in raised.value.details


@pytest.mark.parametrize("kind", ["file", "link"])
def test_former_file_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Where there are no hard links a copy is kept, whole, with its mode; a link stays a link."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    old, new, stage = (tmp_path / name for name in ("old", "new", "stage"))
    stage.mkdir()
    old.write_bytes(b"another program")
    old.chmod(0o750)
    if kind == "link":
        old.unlink()
        old.symlink_to("nowhere")
    monkeypatch.setattr(os, "link", refuse)

    install._duplicate(str(old), str(new), str(stage))

    if kind == "link":
        assert os.readlink(new) == os.readlink(old) == "nowhere"
    else:
        assert (new.read_bytes(), new.stat().st_mode & 0o7777) == (b"another program", 0o750)
    assert os.listdir(stage) == []
