"""plugin.config.directories: where a configuration may let root write, and settings, which holds it to that."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugin.config import directories, keys, settings
from plugin.errors import CniError


@pytest.mark.parametrize(
    "path",
    ["/var/log/cni/kube-node.log", "/run/node-ipam", "/tmp/x", "/var/cache/x", "/etcetera", "/home/a"],
)
def test_may_be_written(path: str) -> None:
    """A directory of one's own, whatever its name begins with."""
    assert directories.fault(path) == ""


@pytest.mark.parametrize(
    "path", ["/", "//", "/etc/cron.d/x", "/usr/bin/x", "/run/../etc/x", "/var/lib/kubelet/config.yaml", "/root/.bashrc"]
)
def test_system(path: str) -> None:
    """A file of the system is none that a configuration may name to be written."""
    assert directories.fault(path).startswith("in the system directory /")


def test_links_do_not_hide_it(tmp_path: Path) -> None:
    """What a link leads to counts."""
    (tmp_path / "l").symlink_to("/etc")
    assert directories.fault(str(tmp_path / "l/x")) == "in the system directory /etc"


@pytest.mark.parametrize(
    ("key", "value"),
    [("cacheDir", "/etc"), ("cacheDir", "/srv"), ("logfile", "/etc/cron.d/x"), ("logfile", "/var/lib/kubelet/x")],
)
def test_settings_refuse_it(key: str, value: str) -> None:
    """cacheDir is made private, and a log is written to: neither may be the system's."""
    found = keys.read({key: value}, keys.KUBE_NODE, "ipam.")
    with pytest.raises(CniError, match=f"'{key}' {value} is ") as raised:
        settings.read({}, found, "ipam.kubeconfig")
    assert raised.value.details
    assert settings.for_release({}, {key: value}, "ipam.kubeconfig").cache.path == "/run/node-ipam"
