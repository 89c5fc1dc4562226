"""Ranges count as fresh only while everything that they rest on is unchanged (reference: faults B, G3)."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin.node.identity import machine_id
from tests.support.apiserver import Handler, authenticated
from tests.support.nodes import make_node
from tests.support.runtime import SECONDS
from tests.support.world import World

OTHER = "vm-003"
CERTIFICATE = "kubelet-client-current.pem"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for mounts")
OURS, THEIRS = "11.0.1.", "11.0.3."


@pytest.fixture
def other(world: World) -> World:
    """A world with the Node of a second machine."""
    world.server.add(make_node(OTHER, ("11.0.3.0/24",), machine_id="f" * 32))
    return world


def address(world: World, config: dict[str, Any], pod: str) -> str:
    """The IPv4 address that an ADD gives."""
    return world.addresses(config, pod)[0]


def their_kubeconfig(world: World) -> str:
    """The kubeconfig of the other node's kubelet, in a directory of its own."""
    os.makedirs(world.path("other"), exist_ok=True)
    return world.server.write_kubeconfig(world.path("other/kubelet.conf"), "kubelet", OTHER)


def swap_kubeconfig(world: World) -> None:
    """Put the kubeconfig of the other node in place of ours."""
    os.replace(their_kubeconfig(world), world.kubeconfig)


def test_kubeconfig_replaced_during_the_query(other: World) -> None:
    """B1: the kubeconfig is replaced while the server is answering; the answer does not count for the new one."""
    swapped: list[bool] = []

    def fault(_handler: Handler) -> bool:
        if not swapped:
            swap_kubeconfig(other)
            swapped.append(True)
        return False

    other.server.fault = fault
    config = other.config(cacheSeconds=86400)
    address(other, config, "one")

    assert address(other, config, "two").startswith(THEIRS)


def test_configuration_file_replaced_during_the_query(other: World) -> None:
    """The same with the configuration file of node-annotation, which names the kubeconfig."""
    ranges = "ranges: [[{subnet: %s}]]"
    for node, subnet in (("vm-002", "11.0.1.0/24"), (OTHER, "11.0.3.0/24")):
        other.server.nodes[node]["metadata"]["annotations"]["e/x"] = ranges % json.dumps(subnet)
    config = other.annotated("faults-net", "e/x", cacheSeconds=86400)
    conf = other.path("node-annotation.conf")
    theirs = their_kubeconfig(other)
    text = Path(conf).read_text(encoding="utf-8").replace(other.kubeconfig, theirs)
    swapped: list[str] = []

    def fault(_handler: Handler) -> bool:
        if not swapped:
            swapped.append(other.write("node-annotation.conf", text))
        return False

    other.server.fault = fault
    address(other, config, "one")

    assert address(other, config, "two").startswith(THEIRS)


def test_certificate_is_replaced(other: World) -> None:
    """B2: the file that an unchanged kubeconfig names holds the certificate of another node now."""
    config = other.config(cacheSeconds=86400)
    assert address(other, config, "one").startswith(OURS)
    os.replace(f"{os.path.dirname(their_kubeconfig(other))}/{CERTIFICATE}", other.path(CERTIFICATE))

    assert address(other, config, "two").startswith(THEIRS)


def test_token_file_is_replaced(world: World) -> None:
    """B2: another token may be another node's, so the server is queried again."""
    world.server.rule = authenticated
    world.server.write_kubeconfig(world.kubeconfig, "token-file")
    config = world.config(cacheSeconds=86400, nodeName="vm-002")
    address(world, config, "one")
    world.write("token.new", world.server.token())
    os.replace(world.path("token.new"), world.path("token"))
    address(world, config, "two")

    assert world.server.count() == 2


@AS_ROOT
@pytest.mark.parametrize("away", [False, True], ids=["server up", "server away"])
@pytest.mark.parametrize("changed", ["machine-id", "hostname"])
def test_cache_of_another_machine(world: World, away: bool, changed: str) -> None:
    """B3: what the cache knows of another machine is neither fresh nor a fallback."""
    config = world.config(cacheSeconds=86400)
    address(world, config, "one")
    before = world.server.count()
    if away:
        world.server.stop()
        world.age(90000)
    call = world.runtime.call("ADD", config, None, CNI_CONTAINERID="two", CNI_NETNS="/n", CNI_IFNAME="eth0")
    other_id = world.write("machine-id", "e" * 32 + "\n")
    change = f"mount --bind {other_id} /etc/machine-id" if changed == "machine-id" else "hostname elsewhere"
    command = ["unshare", "--mount", "--uts", "sh", "-c", f'{change}; exec "$@"', "sh", *call.argv]
    done = subprocess.run(command, env=call.environ, input=call.stdin, capture_output=True, check=False)

    if away:
        assert done.returncode == 1, done
        assert json.loads(done.stdout)["code"] == 11
    else:
        assert world.server.count() > before


def test_facts_of_an_unused_network_are_kept(world: World) -> None:
    """B4: a network that was not used for 40 days has its ranges still, when the server is away."""
    world.annotate("e/x", "10.7.0.0/24")
    quiet, busy = world.config("quiet", kubeconfig=world.path("quiet.conf")), world.config("busy", annotation="e/x")
    shutil.copy(world.kubeconfig, world.path("quiet.conf"))
    address(world, quiet, "one")
    for path in glob.glob(f"{world.cache}/node-*"):
        os.utime(path, (time.time() - 40 * 86400,) * 2)
    world.age(0)
    for path in glob.glob(f"{world.cache}/node-*"):
        os.utime(path, (time.time() - 40 * 86400,) * 2)
    address(world, busy, "one")
    world.server.stop()
    world.age(1000)

    assert address(world, quiet, "two").startswith(OURS)


@contextlib.contextmanager
def stopped_holder(world: World) -> Iterator[int]:
    """A stopped process that holds every lock of the cache; its number."""
    code = "import fcntl, sys; files = [open(name) for name in sys.argv[1:]]\n"
    code += "for file in files: fcntl.flock(file, fcntl.LOCK_EX)\nprint(flush=True); sys.stdin.read()"
    locks = glob.glob(f"{world.cache}/lock-*")
    assert locks
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, *locks], stdin=pipe, stdout=pipe) as holder:
        assert holder.stdin and holder.stdout
        holder.stdout.readline()
        holder.send_signal(signal.SIGSTOP)
        try:
            yield holder.pid
        finally:
            holder.send_signal(signal.SIGCONT)
            holder.stdin.close()


@pytest.mark.parametrize("known", [True, False], ids=["known node", "unknown node"])
def test_holder_of_the_lock_is_stopped(world: World, known: bool) -> None:
    """B5: each ADD queries the server itself, and the message names the process that holds the lock."""
    config = world.config()
    address(world, config, "one")
    world.age(31)
    if not known:
        for path in glob.glob(f"{world.cache}/node-*"):
            os.unlink(path)
    before = world.server.count()
    with stopped_holder(world) as pid:
        answer = world.add(config, "two")

    assert answer.status == 0, answer
    assert world.server.count() == before + 1
    assert f"process {pid} " in answer.stderr, answer


def test_plugin_that_holds_the_lock_is_stopped(world: World) -> None:
    """The same where the holder is one of ours: stopped in the middle of its query."""
    config = world.config()
    seen: list[int] = []
    answered = threading.Event()

    def fault(_handler: Handler) -> bool:
        seen.append(1)
        if len(seen) == 1:
            answered.wait(SECONDS)
        return False

    world.server.fault = fault
    call = world.runtime.call("ADD", config, None, CNI_CONTAINERID="one", CNI_NETNS="/n", CNI_IFNAME="eth0")
    pipe = subprocess.PIPE
    with subprocess.Popen(call.argv, env=call.environ, stdin=pipe, stdout=pipe, stderr=pipe) as first:
        assert first.stdin
        first.stdin.write(call.stdin)
        first.stdin.close()
        first.stdin = None
        while not seen:
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)
        try:
            answer = world.add(config, "two")
        finally:
            answered.set()
            first.send_signal(signal.SIGCONT)
        first.communicate()
    assert answer.status == 0, answer
    assert f"process {first.pid} (" in answer.stderr


def test_lock_is_waited_for_while_its_holder_works(world: World) -> None:
    """Of several ADDs one queries a slow server, the others wait for it for longer than a moment."""
    world.server.delay = 2.5
    config = world.config()
    calls = [
        world.runtime.call("ADD", config, None, CNI_CONTAINERID=f"c{n}", CNI_NETNS="/n", CNI_IFNAME="eth0")
        for n in range(4)
    ]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(call.argv, env=call.environ, stdin=pipe, stdout=pipe, stderr=pipe) for call in calls]
    outputs = [process.communicate(call.stdin) for process, call in zip(running, calls)]

    assert [process.returncode for process in running] == [0] * 4, outputs
    assert world.server.count() == 1


TEXTS: list[tuple[str, Callable[[World], dict[str, Any]], str]] = [
    ("kube-node", lambda world: world.config("n", annotation="e/x", cacheSeconds=86400), "11.0.9.0/24"),
    ("node-annotation", lambda world: world.annotated("n", "e/x", cacheSeconds=86400), ""),
]


@pytest.mark.parametrize(("kind", "config", "right"), TEXTS, ids=[each[0] for each in TEXTS])
def test_corrected_annotation(world: World, kind: str, config: Callable[[World], dict[str, Any]], right: str) -> None:
    """B6: a wrong text is read anew at once, at most once a second; the error says how old the text is."""
    data = json.dumps(world.path("data"))
    right = right or f'ranges: [[{{subnet: "11.0.9.0/24"}}]], dataDir: {data}'
    world.annotate("e/x", "11.0.9.0/24/8 nonsense")
    network = config(world)
    first = world.add(network, "one")
    assert first.status == 1
    assert "the Node was read" in first.document()["details"]
    world.age(1.5)
    asked = world.server.count()
    world.add(network, "one")
    assert world.server.count() == asked + 1
    world.annotate("e/x", right)
    world.age(1.5)

    assert address(world, network, "one") == "11.0.9.2/24"


def test_status_after_an_outage(world: World) -> None:
    """G3: after a failure STATUS queries again within 5 s, not each time; a remembered failure says how old it is."""
    config = world.config(version="1.1.0")
    world.server.stop()
    assert world.runtime.run("STATUS", config).status == 1
    world.age(2)
    world.server.start()
    known = world.runtime.run("STATUS", config)
    assert (known.status, world.server.count()) == (1, 0)
    assert re.search(r"\([2-4] s ago\)", known.document()["msg"])
    world.age(5)

    assert world.runtime.run("STATUS", config).status == 0


def test_lock_file_is_a_lock(world: World) -> None:
    """The tests above rest on this: the cache's locks are flock(2) on files of this name."""
    address(world, world.config(), "one")
    (path,) = glob.glob(f"{world.cache}/lock-*")
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert machine_id()
