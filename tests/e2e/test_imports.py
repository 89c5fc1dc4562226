"""The modules that an ADD imports: none for the network if the Node is known."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.support.dist import DIST
from tests.support.runtime import Call, Config, Pod
from tests.support.world import World

pytestmark = pytest.mark.exact
# What requests could do with, and a pod's start cannot.
HEAVY = {"argparse", "asyncio", "dataclasses", "importlib.metadata", "logging", "subprocess", "tempfile", "zipfile"}
HEAVY |= {"requests", "urllib3"}
NETWORK = {"http.client", "socket", "ssl", "yaml"}


def imported(world: World, config: Config) -> set[str]:
    """The modules that an ADD imports."""
    call = world.runtime.call("ADD", config, Pod("web-0"))
    with open(os.path.join(DIST, "kube-node"), "rb") as file:
        python, options = file.readline().decode().rstrip().removeprefix("#!").split(" ", 1)
    code = options.removeprefix("-ISc")
    argv = (python, "-ISX", "importtime", "-c", code, *call.argv)
    done = subprocess.run(Call(argv, {}, b"").argv, env=call.environ, input=call.stdin, capture_output=True, check=True)
    world.delete(config)
    return set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr.decode(), re.MULTILINE))


def test_cold(world: World) -> None:
    """A cold ADD imports the network, once, and nothing that only looks useful."""
    found = imported(world, world.config())

    assert found >= NETWORK - {"yaml"}
    assert found & HEAVY == set()


def test_known(world: World) -> None:
    """An ADD of a known Node imports nothing of the network, and a known request hardly anything."""
    world.addresses(world.config(), "other")
    unseen = imported(world, world.config(cacheSeconds=40))
    seen = imported(world, world.config())

    assert unseen & (NETWORK | HEAVY | {"plugin.kube"}) == set()
    assert "plugin.node.freshness" in unseen
    assert (
        seen & {"json", "os", "re", "plugin.__main__", "plugin.cni", "plugin.start.ordinary", "plugin.verbs"} == set()
    )
