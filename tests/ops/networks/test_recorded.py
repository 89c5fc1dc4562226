"""Where earlier ADDs of a network allocated is known from their records, whatever the configuration says today."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from plugin.leases import hostlocal, records
from plugin.log import Log
from plugin.ops.networks import networks
from plugin.plan import Plan
from tests.support.operator_node import OperatorNode


@pytest.fixture
def node(installed: OperatorNode) -> OperatorNode:
    """A node without a network."""
    return installed


def record(node: OperatorNode, data_dir: str) -> None:
    """Let a pod have been added with this dataDir; its lease is there."""
    (network,) = [each for each in networks.scan(str(node.conf))[0] if each.is_ours]
    request, _ = networks.setup(network, "ADD", os.environ)
    plan = Plan(str(node.bin / "host-local"), {**network.config, "ipam": {"dataDir": data_dir}})
    records.record(request, plan, data_dir, Log())
    store = Path(hostlocal.store(data_dir, network.name))
    store.mkdir(parents=True)
    (store / "10.244.1.2").write_bytes(b"c1\r\neth0")


@pytest.mark.parametrize("now", ["default", "another"])
def test_data_dir_was_changed(node: OperatorNode, tmp_path: Path, capsys: pytest.CaptureFixture[str], now: str) -> None:
    """dataDir is removed from the configuration, or changed, while a pod runs: leases and doctor know both places."""
    former = str(node.make("former"))
    node.network(dataDir=former)
    node.result("c1")
    record(node, former)
    node.network(dataDir=None if now == "default" else str(node.make("another")))
    (network,) = [each for each in networks.scan(str(node.conf))[0] if each.is_ours]
    today = hostlocal.DATA_DIR if now == "default" else str(tmp_path / "another")

    assert networks.data_dirs(network, os.environ) == [today, former]
    assert node.run("leases", "--all", "-o", "json") == 0
    stores = {each["store"]: each for each in json.loads(capsys.readouterr().out)["networks"]}
    assert [each["address"] for each in stores[f"{former}/k8snet"]["entries"]] == ["10.244.1.2"]
    node.run("doctor", "-o", "json")
    checks = {each["check"]: each for each in json.loads(capsys.readouterr().out)["checks"]}
    assert (checks["store"]["status"], checks["store"]["finding"]) == ("fail", "store-other-store")
    assert former in checks["store"]["what"]
    assert today in checks["store"]["what"]


def test_configuration_was_removed(node: OperatorNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """leases and gc find the leases of a network whose configuration is gone, as in README's steps to remove."""
    node.network(dataDir=str(node.make("former")))
    record(node, str(tmp_path / "former"))
    lease = tmp_path / "former/k8snet/10.244.1.2"
    os.utime(lease, (time.time() - 3600,) * 2)
    (node.conf / "10-k8snet.conflist").unlink()

    assert node.run("leases", "--all", "-o", "json") == 0
    (found,) = json.loads(capsys.readouterr().out)["networks"]
    assert (found["store"], [each["address"] for each in found["entries"]]) == (str(lease.parent), ["10.244.1.2"])
    node.result("c1", alive=False)
    assert node.run("gc", "--yes") == 0, capsys.readouterr()
    assert not lease.exists()


@pytest.mark.parametrize("leased", [True, False])
def test_store_that_a_release_left(
    node: OperatorNode, tmp_path: Path, capsys: pytest.CaptureFixture[str], leased: bool
) -> None:
    """A store without leases is not listed beside another one of its network."""
    node.network(dataDir=str(node.make("former")))
    record(node, str(tmp_path / "former"))
    if not leased:
        (tmp_path / "former/k8snet/10.244.1.2").unlink()
        (tmp_path / "former/k8snet/lock").touch()
    node.write("networks/k8snet/lock", "")

    assert node.run("leases", "k8snet", "-o", "json") == 0
    found = [each["store"] for each in json.loads(capsys.readouterr().out)["networks"]]
    assert found == [str(tmp_path / "former/k8snet")]
