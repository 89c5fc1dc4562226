"""The node of a test; hypothesis gives it to all examples of that test, so each begins with afresh()."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.inside import Inside


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """A plugin inside this process."""
    return Inside(tmp_path, monkeypatch)
