"""README's monitoring works as it stands: systemd units, alert rules on metrics that exist, a log that rotates."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from plugin.log import Log
from tests.support.dist import ARCHIVE

README = Path(__file__).parent.parent / "README.md"
SERVICE = """\
# /etc/systemd/system/node-ipam-leases.service
[Service]
Type=oneshot
WorkingDirectory=/var/lib/prometheus/node-exporter
ExecStart=/bin/sh -c '/opt/cni/bin/node-ipam.pyz leases -o prometheus >.new && mv .new node-ipam.prom'
"""
TIMER = """\
# /etc/systemd/system/node-ipam-leases.timer
[Timer]
OnBootSec=1min
OnUnitActiveSec=1min
[Install]
WantedBy=timers.target
"""
RULES = """\
groups:
- name: node-ipam
  rules:
  - {alert: NodeIpamRangeNearlyFull, expr: node_ipam_range_used_addresses / node_ipam_range_addresses > 0.9, for: 10m}
  - {alert: NodeIpamStaleLeases, expr: 'node_ipam_leases{state="stale"} > 0', for: 30m}
  - {alert: NodeIpamNotWritten, expr: 'time() - node_textfile_mtime_seconds{file=~".*node-ipam.prom"} > 600'}
"""
LOGROTATE = """\
/var/log/node-ipam.log {
    weekly
    rotate 4
    compress
    missingok
}
"""


@pytest.fixture
def node(tmp_path: Path) -> list[str]:
    """The command line of leases on a node with one network, one lease and one that is nobody's."""
    store = tmp_path / "data" / "k8snet"
    store.mkdir(parents=True)
    (store / "10.0.0.2").write_text("c1\r\neth0")
    (store / "lock").touch()
    ipam = {"type": "host-local", "dataDir": str(tmp_path / "data"), "subnet": "10.0.0.0/24"}
    config = {"cniVersion": "1.0.0", "name": "k8snet", "type": "ptp", "ipam": ipam}
    (tmp_path / "net.d").mkdir()
    (tmp_path / "net.d" / "10-k8snet.conf").write_text(json.dumps(config))
    return [ARCHIVE, "leases", "-o", "prometheus", "--conf-dir", str(tmp_path / "net.d")]


@pytest.mark.parametrize(("name", "text"), [("node-ipam-leases.service", SERVICE), ("node-ipam-leases.timer", TIMER)])
def test_units(tmp_path: Path, name: str, text: str) -> None:
    """systemd finds nothing wrong with them, and the first line is where each goes."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    for unit, content in (("node-ipam-leases.service", SERVICE), ("node-ipam-leases.timer", TIMER)):
        (tmp_path / unit).write_text(content)

    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / name)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, "node-ipam" in done.stderr) == (0, False), done.stderr
    assert text.splitlines()[0] == f"# /etc/systemd/system/{name}"


def test_command_of_the_unit(tmp_path: Path, node: list[str]) -> None:
    """It writes the file in one step, and keeps the old one, which gets old, if leases fails."""
    script = shlex.split(SERVICE.partition("ExecStart=")[2])
    script[-1] = script[-1].replace("/opt/cni/bin/node-ipam.pyz leases -o prometheus", shlex.join(node))
    folder = tmp_path / "textfile"
    folder.mkdir()

    assert subprocess.run(script, cwd=folder, check=False).returncode == 0
    assert os.listdir(folder) == ["node-ipam.prom"]
    assert 'node_ipam_range_used_addresses{network="k8snet"' in (folder / "node-ipam.prom").read_text()

    (tmp_path / "net.d" / "20-broken.conf").write_text("{")
    assert subprocess.run(script, cwd=folder, capture_output=True, check=False).returncode == 1
    assert 'node_ipam_range_used_addresses{network="k8snet"' in (folder / "node-ipam.prom").read_text()


def test_rules(node: list[str]) -> None:
    """Each rule is about metrics, and a state, that leases prints, or about the age of the file."""
    printed = subprocess.run(node, capture_output=True, text=True, check=True).stdout
    metrics = set(re.findall(r"^(node_ipam\w+)", printed, re.MULTILINE)) | {"node_textfile_mtime_seconds"}
    (group,) = yaml.safe_load(RULES)["groups"]
    expressions = [rule["expr"] for rule in group["rules"]]

    assert len({rule["alert"] for rule in group["rules"]}) == 3
    for expression in expressions:
        named = set(re.findall(r"node_\w+", expression))
        assert named
        assert named <= metrics
    assert 'state="stale"' in printed
    assert re.search(re.findall(r'file=~"(.*)"', expressions[2])[0], "/var/lib/x/node-ipam.prom")


def test_log_is_opened_for_each_line(tmp_path: Path) -> None:
    """After the file was renamed, the next line goes to a new one: logrotate needs no signal and no copytruncate."""
    log = Log(str(tmp_path / "log"))
    log.info("one")
    os.rename(tmp_path / "log", tmp_path / "log.1")
    log.info("two")

    assert [len((tmp_path / name).read_text().splitlines()) for name in ("log", "log.1")] == [1, 1]


def test_logrotate(tmp_path: Path) -> None:
    """logrotate accepts the file."""
    if not shutil.which("logrotate"):
        pytest.skip("needs logrotate")
    (tmp_path / "node-ipam").write_text(LOGROTATE)
    os.chmod(tmp_path / "node-ipam", 0o644)

    subprocess.run(["logrotate", "--debug", str(tmp_path / "node-ipam")], check=True, capture_output=True)


@pytest.mark.parametrize("text", [SERVICE, TIMER, RULES, LOGROTATE], ids=["service", "timer", "rules", "logrotate"])
def test_readme_has_the_same(text: str) -> None:
    """What is tested here is what README says."""
    readme = README.read_text(encoding="utf-8")
    if "node-ipam-leases" not in readme:
        pytest.skip("README has no section about monitoring")

    assert text in readme
