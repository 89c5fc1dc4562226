"""plugin.start.warm: what an answer rests on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plugin.start import warm


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nothing", True),
        ("file/in-a-file", True),
        ("file", False),
        ("directory", False),
        ("dangling", False),
        ("loop/in-a-loop", False),
        ("n" * 256, False),
    ],
)
def test_is_absent(name: str, expected: bool, tmp_path: Path) -> None:
    """Only a name of which it is certain that nothing has it; a failure of another kind is no absence."""
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    assert warm.is_absent(os.fsencode(tmp_path / name)) is expected
