"""host-local's lock on a store: what is said if it cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugin.errors import CniError
from plugin.leases.storelock import Locked
from tests.support.privileges import modes_count


def test_store_of_another_user(tmp_path: Path) -> None:
    """Who cannot write to the store is told to be root; nothing inside the with statement runs."""
    tmp_path.chmod(0o500)
    locked = Locked(str(tmp_path), 0.1)
    with modes_count(), pytest.raises(CniError, match="lock cannot be opened: Permission denied") as caught, locked:
        pytest.fail("not locked")
    assert caught.value.details == "run this as root"
