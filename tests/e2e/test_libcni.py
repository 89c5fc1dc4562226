"""Lists of plugins in every CNI version through libcni, which reads and checks our results.

libcni 1.1.2, which Debian has, knows ADD, CHECK and DEL up to version 1.0.0.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import libcni
from tests.support.apiserver import ApiServer
from tests.support.dist import DIST
from tests.support.netns import Namespace, need, require
from tests.support.parts import host_local
from tests.support.runtime import Config
from tests.support.world import World

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0")
CHECKED = ("0.4.0", "1.0.0")  # the versions that have CHECK
ANNOTATION = "example.com/net"
ADDRESSES = ["11.0.1.2/24", "1100:0:0:1::2/64"]


class Libcni:
    """A node and a pod on it, and libcni between them."""

    def __init__(self, world: World, node: Namespace, pod: Namespace) -> None:
        self.world = world
        self.pod = pod
        self._command = [*node.enter, libcni.build()]
        self._environ = {"CNI_PATH": f"{DIST}:{host_local()}", "CNI_CACHE": world.path("results")}

    def run(self, command: str, config: Config) -> subprocess.CompletedProcess[str]:
        """Let libcni do this with a list: bridge with our type, and tuning, which is given bridge's result."""
        bridge = {"type": "bridge", "bridge": "cbr0", "isDefaultGateway": True, "ipam": config["ipam"]}
        whole = {"cniVersion": config["cniVersion"], "name": config["name"], "plugins": [bridge, {"type": "tuning"}]}
        path = self.world.write("net.conflist", json.dumps(whole))
        arguments = [command, path, "a" * 64, self.pod.path]
        environ = {**self._environ, **self.world.runtime.environ}
        return subprocess.run([*self._command, *arguments], env=environ, capture_output=True, text=True, check=False)

    def results(self) -> list[str]:
        """The names of the results that libcni keeps."""
        directory = self.world.path("results/results")
        return os.listdir(directory) if os.path.isdir(directory) else []


@pytest.fixture
def cni(tmp_path: Path) -> Iterator[Libcni]:
    """A node whose API server is on its own loopback."""
    require("ip")
    need("go")
    with ExitStack() as stack:
        node = stack.enter_context(Namespace())
        server = ApiServer()
        node.call(server.start)
        stack.callback(server.stop)
        yield Libcni(World(str(tmp_path), server), node, stack.enter_context(Namespace()))


def configured(world: World, kind: str, version: str) -> Config:
    """Return a network of either type."""
    if kind == "kube-node":
        return world.config(version=version)
    ranges = '"ranges": [[{"subnet": "11.0.1.0/24"}], [{"subnet": "1100:0:0:1::/64"}]]'
    world.annotate(ANNOTATION, f'{ranges}, "dataDir": "{world.path("data")}"')
    return world.annotated("k8snet", ANNOTATION, version=version)


def addresses(result: dict[str, Any]) -> list[str]:
    """Return the addresses in a result of any version."""
    if result["cniVersion"] in ("0.1.0", "0.2.0"):
        return [result["ip4"]["ip"], result["ip6"]["ip"]]
    return [each["address"] for each in result["ips"]]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["kube-node", "node-annotation"])
def test_life(cni: Libcni, kind: str, version: str) -> None:
    """libcni reads the result, finds the pod as it should be, and leaves nothing of it after DEL without a server."""
    config = configured(cni.world, kind, version)
    added = cni.run("add", config)
    assert added.returncode == 0, added.stderr
    result = json.loads(added.stdout)
    assert (result["cniVersion"], addresses(result)) == (version, ADDRESSES)
    assert all(address in cni.pod.run("ip", "address", "show", "eth0") for address in ADDRESSES)
    cni.world.server.stop()
    if version in CHECKED:
        checked = cni.run("check", config)
        assert checked.returncode == 0, checked.stderr
    deleted = cni.run("del", config)

    assert deleted.returncode == 0, deleted.stderr
    assert cni.world.leases() == cni.results() == []
    assert cni.pod.links() == set()


@pytest.mark.parametrize("version", CHECKED)
def test_check_finds_a_lost_lease(cni: Libcni, version: str) -> None:
    """CHECK fails when another has taken the pod's leases away, and DEL succeeds all the same."""
    config = cni.world.config(version=version)
    assert cni.run("add", config).returncode == 0
    for address in cni.world.leases():
        os.unlink(os.path.join(cni.world.path("data"), "k8snet", address))
    checked = cni.run("check", config)

    assert checked.returncode == 1
    assert "host-local: Failed to find address added by container" in checked.stderr
    assert cni.run("del", config).returncode == 0
