"""doctor sees what makes the real bridge plugin refuse: an address of an earlier range, an unknown cniVersion."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.dist import ARCHIVE, DIST
from tests.support.netns import Namespace, require
from tests.support.parts import host_local


class Node:
    """A node in a network namespace, with one pod and ranges that an operator has pinned."""

    def __init__(self, directory: Path, node: Namespace, pod: Namespace) -> None:
        self.node = node
        self.pod = pod
        self.data = directory / "data"
        self.conf = directory / "net.d"
        self.cache = str(directory / "cache")
        self.data.mkdir()
        self.conf.mkdir()
        self.configure("1.0.0")

    def configure(self, version: str) -> None:
        """Write the network's configuration."""
        ipam = {"type": "kube-node", "dataDir": str(self.data)}
        config = {"cniVersion": version, "name": "n", "type": "bridge", "bridge": "cbr9", "isGateway": True}
        self.config = {**config, "ipam": ipam}
        (self.conf / "10-n.conf").write_text(json.dumps(self.config))

    def ranges(self, *cidrs: str) -> None:
        """Give the node these ranges."""
        sets = [[{"subnet": cidr}] for cidr in cidrs]
        (self.data / "kube-node.json").write_text(json.dumps({"ranges": sets}))

    def bridge(self, command: str) -> tuple[int, dict[str, Any]]:
        """Let the real bridge plugin do a command; its exit status and what it printed."""
        environ = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": "c1",
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": self.pod.path,
            "CNI_PATH": f"{DIST}:{host_local()}",
            "NODE_IPAM_CACHE": self.cache,
            "PATH": os.environ["PATH"],
        }
        argv = [*self.node.enter, os.path.join(host_local(), "bridge")]
        raw = json.dumps(self.config).encode()
        done = subprocess.run(argv, env=environ, input=raw, capture_output=True, check=False)
        return done.returncode, json.loads(done.stdout or b"{}")

    def doctor(self, check: str) -> dict[str, Any]:
        """What doctor finds in this check."""
        places = ["--conf-dir", str(self.conf), "--bin-dir", f"{DIST}:{host_local()}"]
        argv = [*self.node.enter, ARCHIVE, "doctor", "-o", "json", *places]
        environ = {**os.environ, "NODE_IPAM_CACHE": self.cache}
        done = subprocess.run(argv, env=environ, capture_output=True, check=False)
        (line,) = [line for line in json.loads(done.stdout)["checks"] if line["check"] == check]
        return dict(line)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node, and a pod's network namespace."""
    require()
    with Namespace() as machine, Namespace() as pod:
        yield Node(tmp_path, machine, pod)


def test_an_address_of_an_earlier_range(node: Node) -> None:
    """The ranges change, the bridge keeps its address: doctor says what bridge would, and its remedy works."""
    node.ranges("10.8.0.0/24", "fd08::/64")
    assert node.bridge("ADD")[0] == 0
    assert node.doctor("bridge")["status"] == "ok"

    node.ranges("10.9.0.0/24", "fd09::/64")
    in_use = node.doctor("bridge")
    assert in_use["finding"] == "bridge-address"
    assert in_use["remedy"].startswith("pods use it (veth")
    assert in_use["remedy"].endswith("): drain the node, then ip link del cbr9")
    assert "cbr9 has 10.8.0.1/24, of an earlier range; the gateway is now 10.9.0.1/24" in in_use["what"]

    assert node.bridge("DEL")[0] == 0
    status, answer = node.bridge("ADD")
    assert (status, "already has an IP address different from 10.9.0.1/24" in answer["msg"]) == (1, True)
    assert node.bridge("DEL")[0] == 0  # as a runtime does after a failed ADD
    assert node.doctor("bridge")["remedy"] == "no pod uses it: ip link del cbr9"

    node.node.run("ip", "link", "del", "cbr9")
    assert node.doctor("bridge")["status"] == "ok"
    assert node.bridge("ADD")[0] == 0


def test_only_the_ipv6_range_is_another(node: Node) -> None:
    """bridge puts a second IPv6 address beside the first, so there is nothing to do."""
    node.ranges("10.8.0.0/24", "fd08::/64")
    assert node.bridge("ADD")[0] == 0
    assert node.bridge("DEL")[0] == 0
    node.ranges("10.8.0.0/24", "fd09::/64")

    assert node.doctor("bridge")["status"] == "ok"
    assert node.bridge("ADD")[0] == 0


def test_a_version_that_bridge_does_not_speak(node: Node) -> None:
    """doctor finds out before the first pod does."""
    node.ranges("10.8.0.0/24")
    node.configure("1.1.0")
    if node.bridge("ADD")[0] == 0:
        pytest.skip("this bridge speaks 1.1.0")

    line = node.doctor("plugins")

    assert (line["finding"], line["what"]) == (
        "plugins-version",
        "bridge speaks up to 1.0.0, not cniVersion 1.1.0: every ADD and DEL fails",
    )
