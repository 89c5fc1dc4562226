"""Configurations that no plugin can use, and mistakes: each error says what to do, and none is unforeseen."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from plugin.ops.networks import networks
from tests.support.operator_node import OperatorNode

KUBE_NODE = {"type": "kube-node"}


@pytest.mark.parametrize(
    "config",
    [
        {"ipam": {**KUBE_NODE, "dataDir": "/run/\0"}},
        {"ipam": {**KUBE_NODE, "dataDir": "/run/\ud800"}},
        {"ipam": {**KUBE_NODE, "cacheDir": "/run/\0"}},
        {"ipam": {**KUBE_NODE, "cacheDir": "/run/\ud800"}},
        {"ipam": {"type": "host-local", "dataDir": "/run/\0"}},
        {"ipam": KUBE_NODE, "name": "a\0b"},
        {"ipam": KUBE_NODE, "name": "a\ud800"},
        {"ipam": KUBE_NODE, "type": "bridge\0"},
        {"ipam": KUBE_NODE, "type": "bridge\ud800"},
    ],
)
def test_a_name_that_no_file_can_have(
    installed: OperatorNode, tmp_path: Path, capsys: pytest.CaptureFixture[str], config: dict[str, Any]
) -> None:
    """It has no leases and no cache; the other networks of the machine are seen as ever."""
    node = installed
    node.monkeypatch.setenv("NODE_IPAM_CACHE", str(tmp_path / "cache"))
    node.network()
    node.lease("10.244.1.9", "c1 eth0")
    node.write("net.d/20-x.conf", json.dumps({"cniVersion": "1.0.0", "name": "x", "type": "bridge", **config}))

    assert node.run("leases", "--all") == 0
    assert "10.244.1.9" in capsys.readouterr().out
    node.run("gc")
    node.run("doctor", "--bin-dir", str(node.bin))
    assert node.run("uninstall", "--bin-dir", str(node.bin)) == 1
    printed = "".join(capsys.readouterr())
    assert "10.244.1.9 (c1)" in printed
    assert "unforeseen" not in printed
    os.unlink(node.memory / "k8snet" / "10.244.1.9")
    assert node.run("uninstall", "--bin-dir", str(node.bin)) == 0
    assert "unforeseen" not in "".join(capsys.readouterr())


def test_a_damaged_node_annotation_conf(
    installed: OperatorNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its cacheDir is no path: uninstall has nothing to remove there."""
    node = installed
    node.monkeypatch.setenv("NODE_IPAM_CACHE", str(tmp_path / "cache"))
    node.monkeypatch.setenv("NODE_ANNOTATION_CFG", node.write("na.conf", json.dumps({"cacheDir": "/run/\0"})))

    assert node.run("uninstall", "--bin-dir", str(node.bin)) == 0, capsys.readouterr()


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda path: path.write_text("{"), "correct or remove the file"),
        (lambda path: path.symlink_to(path.name), "correct or remove it"),
        (lambda path: os.mkfifo(path), "correct or remove it"),
    ],
)
def test_remedy_of_a_file(node: OperatorNode, make: Any, remedy: str) -> None:
    """A file that is not a configuration is there: the remedy is not to put one there."""
    make(node.conf / "10-x.conf")

    (trouble,) = networks.scan(str(node.conf))[1]
    assert trouble.details == remedy


def test_remedy_of_a_directory(node: OperatorNode) -> None:
    """A file in place of the directory is no matter of permissions."""
    (trouble,) = networks.scan(node.write("file", ""))[1]
    assert (trouble.msg.endswith("cannot be read: Not a directory"), trouble.details) == (True, "correct or remove it")


def test_remedy_of_standard_input(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard input is not a file to correct or remove."""
    for command in ("explain", "doctor"):
        node.feed(b"{")
        assert node.run(command, "-") == 1
        printed = "".join(capsys.readouterr())
        assert "write a configuration to it, such as {" in printed
        assert "remove the file" not in printed


def test_a_misspelt_network_beside_a_broken_file(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The name is what is wrong; the file that cannot be read may have it."""
    node.network()
    node.write("net.d/11-broken.conf", "{")

    assert node.run("explain", "k8snett") == 1
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == f"error: no network 'k8snett' in {node.conf}"
    assert second == "known networks: k8snet; to name a file, include a slash"
    assert third.startswith(f"{node.conf}/11-broken.conf is not JSON")
