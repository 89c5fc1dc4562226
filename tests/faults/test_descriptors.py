"""C3, C6: no program holds what our caller waits for, and what is kept of requests is bounded."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.faults.test_leases import replace_host_local
from tests.support import makeconfig
from tests.support.apiserver import authenticated
from tests.support.runtime import Answer, Config, Pod
from tests.support.world import World

# Leaves a process behind that holds stderr, but not stdout, for longer than a caller of the tests waits.
DAEMON = "sleep 70 >/dev/null & echo $! >{file}\n"
SAYS = "echo 'what it says' >&2\n"


def add(world: World, config: Config) -> Answer:
    """ADD, by a plugin that leaves the process behind; that is ended."""
    try:
        return world.runtime.run("ADD", config, Pod("pod"))
    finally:
        os.kill(int(Path(world.path("pid")).read_text(encoding="ascii")), signal.SIGKILL)


def test_daemon_of_the_next_plugin(world: World) -> None:
    """C3: the caller gets its result, with what the next plugin says on stderr, while the daemon runs."""
    replace_host_local(world, DAEMON.format(file=world.path("pid")) + SAYS + '"$real"')
    answer = add(world, world.config())
    assert answer.status == 0
    assert "what it says" in answer.stderr


@pytest.mark.parametrize("fails", [False, True])
def test_daemon_of_an_exec_plugin(world: World, fails: bool) -> None:
    """C3: the same for a credential plugin, also if it fails: what it says is the reason."""
    world.server.rule = authenticated
    token = world.server.token()
    credential = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": token}}
    end = "exit 1" if fails else f"echo '{json.dumps(credential)}'"
    script = world.write("credentials", "#!/bin/sh\n" + DAEMON.format(file=world.path("pid")) + SAYS + end + "\n")
    os.chmod(script, 0o755)
    config = world.server.kubeconfig("none", "x")
    plugin = {"apiVersion": credential["apiVersion"], "command": script, "interactiveMode": "Never"}
    config["users"][0]["user"] = {"exec": plugin}
    makeconfig.write(world.directory, "kubelet.conf", json.dumps(config).encode())
    answer = add(world, world.config(nodeName="vm-002"))
    assert (answer.status != 0) == fails, answer
    assert "what it says" in answer.stderr


def kept(world: World) -> int:
    """The bytes in the cache, but for the byte code."""
    entries = [entry for entry in os.scandir(world.cache) if not entry.name.startswith("code-")]
    return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)


def test_large_requests(world: World) -> None:
    """C6: twenty requests of 1 MiB each leave at most a few MiB in the cache; the next request works."""
    for number in range(20):
        config = {**world.config(), "padding": "x" * ((1 << 20) - 1000), "number": number}
        assert world.runtime.run("ADD", config, Pod(f"pod-{number}")).status == 0
    kept = sum(
        entry.stat(follow_symlinks=False).st_size for entry in os.scandir(world.cache) if "code" not in entry.name
    )
    assert kept < 5 << 20
    for number in range(20):  # of a size that is kept
        config = {**world.config(), "padding": "x" * 200_000, "number": number}
        assert world.runtime.run("DEL", config, Pod(f"pod-{number}")).status == 0
        assert world.runtime.run("ADD", config, Pod(f"pod-{number}")).status == 0
    kept = sum(
        entry.stat(follow_symlinks=False).st_size for entry in os.scandir(world.cache) if "code" not in entry.name
    )
    assert kept < 5 << 20
