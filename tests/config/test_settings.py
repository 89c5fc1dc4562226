"""The settings of both types, from the keys of a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugin.config import keys, settings
from plugin.entries import DIRECTORY, DIRECTORY_VARIABLE
from plugin.errors import CniError


def read(environ: dict[str, str], **config: object) -> settings.Settings:
    """What these keys of an ipam say."""
    found = keys.read(config, keys.KUBE_NODE, "ipam.")
    return settings.read(environ, found, "ipam.kubeconfig", plugin="x")


def test_settings_to_begin_with() -> None:
    """Nothing configured: 30 s, the usual cache, no log."""
    found = read({})

    assert (found.cache.path, found.cache_seconds, found.rate_limited, found.log.file) == (DIRECTORY, 30.0, False, "")
    assert found.reclaim
    assert (found.kubeconfig, found.node_name, found.label) == ("", "", "ipam.kubeconfig")


def test_every_setting() -> None:
    """Each key is where it belongs; a cache directory in the configuration comes before that of the environment."""
    keys = {
        "kubeconfig": "/k",
        "nodeName": "a.b",
        "cacheSeconds": 5,
        "cacheDir": "/here",
        "logfile": "/l",
        "reclaim": False,
    }
    found = read({DIRECTORY_VARIABLE: "/elsewhere"}, loglevel="trace", **keys)

    assert (found.kubeconfig, found.node_name, found.cache_seconds) == ("/k", "a.b", 5.0)
    assert (found.cache.path, found.reclaim) == ("/here", False)
    assert (found.log.file, found.log.limit, found.log.context) == ("/l", 4, {"plugin": "x"})


def test_log_directory_that_becomes_a_link(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A link to a directory is resolved and checked; one that is made after the check is not followed."""
    for name in ("logs", "system"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("logs")
    log = read({}, logfile=f"{tmp_path}/link/log").log
    assert log.file == f"{tmp_path}/logs/log"
    log.info("a line")
    (tmp_path / "logs").rename(tmp_path / "before")
    (tmp_path / "logs").symlink_to("system")
    log.info("another line")
    assert (tmp_path / "before/log").read_text().count("\n") == 1
    assert not list((tmp_path / "system").iterdir())
    assert "cannot be written: Not a directory" in capfd.readouterr().err


def test_cache_directory_of_the_environment() -> None:
    """The environment can name another cache directory."""
    assert read({DIRECTORY_VARIABLE: "/elsewhere"}).cache.path == "/elsewhere"


@pytest.mark.parametrize(("cache_dir", "expected"), [("/here", "/here"), (None, DIRECTORY), ("relative", DIRECTORY)])
def test_for_release(cache_dir: str | None, expected: str) -> None:
    """For a DEL only the cache directory matters, and a bad one is as good as none."""
    found = settings.for_release(
        {}, {"cacheDir": cache_dir, "kubeconfig": 5, "cacheSeconds": "soon"}, "ipam.kubeconfig"
    )

    assert (found.cache.path, found.kubeconfig, found.log.file) == (expected, "", "")


@pytest.mark.parametrize("key", ["kubeconfig", "cacheDir", "logfile"])
def test_paths_are_absolute(key: str) -> None:
    """The directory a plugin runs in is the runtime's: a relative path is refused."""
    with pytest.raises(CniError, match=f"'ipam.{key}' is not an absolute path"):
        read({}, **{key: "relative"})


def test_json_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file is for the caller to judge; one that is there and cannot be read is an error that names it."""
    with pytest.raises(FileNotFoundError):
        settings.read_json(f"{tmp_path}/none")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(CniError, match=f"{tmp_path}/loop cannot be read"):
        settings.read_json(f"{tmp_path}/loop")
