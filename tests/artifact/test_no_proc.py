"""Without /proc, and with nothing but null in /dev, everything works as always."""

from __future__ import annotations

import fcntl
import glob
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.apiserver import ApiServer
from tests.support.dist import ARCHIVE
from tests.support.runtime import Call, Pod, run
from tests.support.world import World

MAY_MOUNT = os.geteuid() == 0 and not subprocess.call(["unshare", "-m", "true"], stderr=subprocess.DEVNULL)
pytestmark = pytest.mark.skipif(not MAY_MOUNT, reason="needs root and leave to mount")
BARE = "mount -t tmpfs -o mode=755 none /dev && mknod -m 666 /dev/null c 1 3 && mount -t tmpfs none /proc"
WITHOUT = ("unshare", "-m", "sh", "-c", f'{BARE} && exec "$@"', "sh")
WAYS = {"by its first line": WITHOUT, "as python FILE": (*WITHOUT, "/usr/bin/python3")}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A node with an API server."""
    with ApiServer() as server:
        yield World(str(tmp_path), server)


@pytest.mark.parametrize("way", WAYS)
def test_every_verb(world: World, way: str) -> None:
    """VERSION, ADD by the server and from the cache, CHECK, STATUS, GC and DEL, with a client certificate."""
    world.runtime.interpreter = WAYS[way]
    config = {**world.config(), "cniVersion": "1.1.0"}
    first, second = Pod("one"), Pod("two")

    answers = [world.runtime.run("ADD", config, pod) for pod in (first, second)]
    answers += [world.runtime.run("CHECK", config, first), world.runtime.run("STATUS", config)]
    attachments = [{"containerID": first.container, "ifname": "eth0"}]
    answers.append(world.runtime.run("GC", {**config, "cni.dev/valid-attachments": attachments}))
    answers += [world.runtime.run("DEL", config, pod) for pod in (first, second)]

    assert [answer for answer in answers if answer.status or answer.stderr] == []
    assert world.server.count() == 1
    assert world.runtime.version("kube-node").document()["supportedVersions"][-1] == "1.1.0"


def test_lock_that_is_held(world: World) -> None:
    """Who holds the lock, and whether that makes progress, cannot be seen: each ADD queries by itself, and says so."""
    config = world.config(logfile=world.path("log"))
    assert world.runtime.run("ADD", config, Pod("one")).status == 0
    world.age(31)
    world.runtime.interpreter = WITHOUT
    (path,) = glob.glob(f"{world.cache}/lock-*")
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        answer = world.runtime.run("ADD", config, Pod("two"))

    assert answer.status == 0
    assert "another process holds it and is stuck" in Path(world.path("log")).read_text(encoding="utf-8")
    assert world.server.count() == 2


@pytest.mark.parametrize("command", ["version", "help", "doctor", "explain", "leases", "gc"])
def test_commands(world: World, command: str) -> None:
    """An operator's command says what it has to say, with no traceback."""
    answer = run(Call((*WITHOUT, ARCHIVE, command), {"PATH": os.defpath, "HOME": "/nonexistent"}, b""))
    assert "Traceback" not in answer.stderr
    assert answer.stdout or answer.stderr.startswith(("error: ", "no leases: "))
