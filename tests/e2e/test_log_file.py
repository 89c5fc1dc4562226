"""The log file of a node whose runtime asks for STATUS every five seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.apiserver import ApiServer
from tests.support.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A node with its API server."""
    with ApiServer() as server:
        yield World(str(tmp_path), server)


def lines(path: str) -> list[tuple[str, str]]:
    """Level and message of each line."""
    with open(path, encoding="utf-8") as file:
        return [(line["level"], line["msg"]) for line in map(json.loads, file)]


@pytest.mark.parametrize("level", ["info", "debug"])
def test_status_is_logged_when_it_changes(world: World, level: str) -> None:
    """The same answer again is debug; another one is info, or an error."""
    path = world.path("log")
    config = world.config(version="1.1.0", logfile=path, loglevel=level, cacheSeconds=30)
    statuses: list[int] = []

    def ask(times: int) -> None:
        statuses.extend(world.runtime.run("STATUS", config).status for _ in range(times))

    ask(3)
    world.node["spec"] = {}
    world.age(60)
    ask(3)

    found = lines(path)
    assert statuses == [0, 0, 0, 1, 1, 1]
    expected = ["info", "error"] if level == "info" else ["info", "debug", "debug", "error", "debug", "debug"]
    mentioned = [each for each, msg in found if msg == "STATUS" or msg.startswith("No spec.podCIDRs")]
    assert mentioned == expected


def test_networks_do_not_share_what_was_logged(world: World) -> None:
    """Each network has its own first line."""
    path = world.path("log")
    for network in ("a", "b", "a", "b"):
        assert world.runtime.run("STATUS", world.config(network, version="1.1.0", logfile=path)).status == 0

    assert [msg for _level, msg in lines(path)].count("STATUS") == 2
