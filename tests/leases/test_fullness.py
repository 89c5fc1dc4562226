"""STATUS is about whether an ADD would work: a warning that cannot be given is no failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugin.cache import Cache
from plugin.config.settings import Settings
from plugin.errors import TRY_AGAIN_LATER, CniError
from plugin.leases import fullness
from plugin.leases.evidence import verdict
from plugin.log import Log


def test_machine_out_of_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Half of a range is leased, and no process can be examined."""
    store = tmp_path / "net"
    store.mkdir()
    for number in (2, 3, 4):
        (store / f"10.9.0.{number}").write_text("c2\r\neth0")
    config = {"name": "net", "ipam": {"dataDir": str(tmp_path), "ranges": [[{"subnet": "10.9.0.0/29"}]]}}
    chosen = Settings({}, Log(), "")
    chosen.cache = Cache(str(tmp_path / "cache"))

    def short(*_: object) -> None:
        raise CniError(TRY_AGAIN_LATER, "/proc/1/cgroup cannot be read")

    monkeypatch.setattr(verdict, "gather", short)
    fullness.warn(config, chosen)
    assert f"leases in {store} cannot be judged: /proc/1/cgroup cannot be read" in capfd.readouterr().err
