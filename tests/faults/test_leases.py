"""Whatever ends an ADD: a lease is left if its result was delivered, else none; the next ADD and DEL work.

A table of situations (type, path, place of the lease) and ways to end, each checked with the same three questions.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import recorder, timeup
from tests.support.apiserver import Handler
from tests.support.parts import host_local
from tests.support.runtime import SECONDS, Call, Config, Pod, wait_for_end
from tests.support.world import World

POD, NEXT = Pod("pod"), Pod("next")
MAY_MOUNT = os.geteuid() == 0 and not subprocess.call(["unshare", "-m", "true"], stderr=subprocess.DEVNULL)
ANNOTATION = "example.com/ranges"
PIPE = subprocess.PIPE


class Ended(NamedTuple):
    """An ADD that is over: its exit status, and what came out; None if that cannot be seen."""

    status: int
    printed: bytes | None = None


# Where the lease is, by what: each gives a network whose leases are in the world's directory data.


def plain(world: World) -> Config:
    """The dataDir is in the configuration."""
    return world.config("faults-net")


def pinned(world: World) -> Config:
    """The dataDir is in a kube-node.json."""
    ranges = [[{"subnet": "10.7.0.0/24"}]]
    text = json.dumps({"type": "host-local", "ranges": ranges, "dataDir": world.path("data")})
    world.write("pinned/kube-node.json", text)
    return world.config("faults-net", dataDir=world.path("pinned"))


def annotated(world: World) -> Config:
    """The dataDir is in the annotation."""
    data = json.dumps(world.path("data"))
    world.annotate(ANNOTATION, f'ranges: [[{{"subnet": "10.7.0.0/24"}}]], dataDir: {data}')
    return world.annotated("faults-net", ANNOTATION)


PLACES = (plain, pinned, annotated)


def replace_host_local(world: World, script: str) -> None:
    """Let ADD be done by this script, in which "$real" is host-local; everything else by host-local itself."""
    world.runtime.directories.insert(0, world.path("wrapper"))
    real = os.path.join(host_local(), "host-local")
    text = f'#!/bin/sh\nreal={real}\n[ "$CNI_COMMAND" = ADD ] || exec "$real"\n{script}\n'
    os.chmod(world.write("wrapper/host-local", text), 0o755)
    for name in ("kube-node", "node-annotation"):
        link = world.path(f"wrapper/{name}")
        if not os.path.islink(link):
            os.symlink(os.path.realpath(world.runtime.find(name)), link)


def start(call: Call, stdout: Any) -> subprocess.Popen[bytes]:
    """The plugin with its request, and with this stdout."""
    process = subprocess.Popen(call.argv, env=call.environ, stdin=PIPE, stdout=stdout, stderr=PIPE)
    assert process.stdin
    process.stdin.write(call.stdin)
    process.stdin.close()
    process.stdin = None
    return process


# How it ends. Each calls ADD once.


def delivered(world: World, call: Call) -> Ended:
    """The caller gets the result."""
    process = start(call, PIPE)
    return Ended(process.wait(), process.communicate()[0])


def full(world: World, call: Call) -> Ended:
    """Standard output is a full disk."""
    with open("/dev/full", "wb") as file, start(call, file) as process:
        return Ended(process.wait())


def closed(world: World, call: Call) -> Ended:
    """Standard output is closed."""
    shell = call._replace(argv=("/bin/sh", "-c", 'exec "$@" >&-', "sh", *call.argv))
    with start(shell, PIPE) as process:
        return Ended(process.wait())


def gone(world: World, call: Call) -> Ended:
    """The caller is gone before the ADD begins."""
    source, sink = os.pipe()
    os.close(source)
    with start(call, sink) as process:
        os.close(sink)
        return Ended(process.wait())


def gone_meanwhile(world: World, call: Call) -> Ended:
    """The caller goes while host-local is at work: it has reserved the address."""
    left = world.path("left")
    replace_host_local(world, f'"$real"; touch {world.path("reserved")}; while [ ! -e {left} ]; do sleep 0.01; done')
    source, sink = os.pipe()
    with start(call, sink) as process:
        os.close(sink)
        while not os.path.exists(world.path("reserved")):
            time.sleep(0.01)
        os.close(source)
        Path(left).touch()
        return Ended(process.wait())


def own_error(world: World, call: Call) -> Ended:
    """host-local fails by its own account, after it has reserved an address."""
    replace_host_local(world, """"$real" >/dev/null; echo '{"code": 999, "msg": "no space left on device"}'; exit 1""")
    return delivered(world, call)


def killed(world: World, call: Call) -> Ended:
    """host-local is killed after it has reserved an address."""
    replace_host_local(world, '"$real" >/dev/null; kill -9 $$')
    return delivered(world, call)


def garbage(world: World, call: Call) -> Ended:
    """host-local prints more than a result."""
    replace_host_local(world, '"$real"; echo panic')
    return delivered(world, call)


FAILURES = (full, closed, gone, gone_meanwhile, own_error, killed, garbage)
WAYS = (delivered, *FAILURES)


@pytest.mark.parametrize("warm", [False, True], ids=["ordinary", "warm"])
@pytest.mark.parametrize("place", PLACES, ids=lambda each: each.__name__)
@pytest.mark.parametrize("way", WAYS, ids=lambda each: each.__name__)
def test_end_of_an_add(
    world: World, way: Callable[[World, Call], Ended], place: Callable[[World], Config], warm: bool
) -> None:
    """One document or none; a lease only if the result was delivered; the next ADD and DEL work."""
    config = place(world)
    directories = list(world.runtime.directories)
    if warm:
        if way not in (delivered, full, closed, gone):  # the wrapper is what is known then
            replace_host_local(world, 'exec "$real"')
        for _ in range(2):
            assert world.runtime.run("ADD", config, NEXT).status == 0
            assert world.runtime.run("DEL", config, NEXT).status == 0
    if way not in (delivered, full, closed, gone):
        replace_host_local(world, 'exec "$real"')
    ended = way(world, world.runtime.call("ADD", config, POD))

    if ended.printed is not None:
        document = json.loads(ended.printed)
        assert ("code" in document) == (ended.status != 0)
    assert (ended.status == 0) == (way is delivered)
    assert len(world.leases("faults-net")) == (0 if way is not delivered else 2 if place is plain else 1)
    world.runtime.directories = directories
    assert world.runtime.run("ADD", config, NEXT).status == 0
    for pod in (POD, NEXT):
        assert world.runtime.run("DEL", config, pod).status == 0
    assert world.leases("faults-net") == []


@pytest.mark.parametrize("place", [plain, annotated], ids=lambda each: each.__name__)
def test_caller_gone_while_the_server_is_slow(world: World, place: Callable[[World], Config]) -> None:
    """A1: the caller's time-out comes first, then the server's answer: host-local is not called."""
    config = place(world)
    queried, left = threading.Event(), threading.Event()

    def slow(_handler: Handler) -> bool:
        queried.set()
        left.wait(SECONDS)
        return False

    world.server.fault = slow
    call = world.runtime.call("ADD", config, POD)
    source, sink = os.pipe()
    with start(call, sink) as process:
        os.close(sink)
        assert queried.wait(SECONDS)
        os.close(source)
        left.set()
        assert process.wait() == 1
    assert not os.path.exists(world.path("data/faults-net"))
    assert world.runtime.run("DEL", config, POD).status == 0


def test_caller_that_never_reads(world: World) -> None:
    """D3: a pipe that nobody empties is waited for until the deadline; the lease is gone then."""
    config = world.config("faults-net")
    source, sink = os.pipe()
    os.set_blocking(sink, False)
    try:
        while True:
            os.write(sink, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(sink, True)
    with start(world.runtime.call("ADD", config, POD), sink) as process:
        assert process.wait() == 1
    os.close(sink)
    os.close(source)
    assert world.leases("faults-net") == []
    assert world.runtime.run("ADD", config, POD).status == 0


@pytest.mark.parametrize("way", FAILURES, ids=lambda each: each.__name__)
def test_lease_of_before_stays(world: World, way: Callable[[World, Call], Ended]) -> None:
    """A repeated ADD of an attachment that has an address fails; the address is still there."""
    config = world.config("faults-net")
    assert world.runtime.run("ADD", config, POD).status == 0
    before = world.leases("faults-net")
    time.sleep(0.02)  # a lease is told from those of this ADD by its time
    if way not in (full, closed, gone):
        replace_host_local(world, 'exec "$real"')
    way(world, world.runtime.call("ADD", config, POD))

    assert world.leases("faults-net") == before


@pytest.mark.skipif(not MAY_MOUNT, reason="needs mounts")
def test_data_dir_full_after_the_lease(world: World) -> None:
    """A3: the disk is full when host-local writes last_reserved_ip, after the lease."""
    config = world.config("faults-net", annotation=ANNOTATION)
    world.annotate(ANNOTATION, "10.7.0.0/24")
    os.makedirs(world.path("data"))
    # One each for the directory, the store in it, its lock, a lease.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=4", "small", world.path("data")], check=True)
    try:
        answer = world.runtime.run("ADD", config, POD)
        assert (answer.status, answer.document()["code"]) == (1, 999), answer
        assert world.leases("faults-net") == []
        subprocess.run(["mount", "-o", "remount,nr_inodes=100", world.path("data")], check=True)
        assert world.runtime.run("ADD", config, POD).status == 0
        assert world.runtime.run("DEL", config, POD).status == 0
        assert world.leases("faults-net") == []
    finally:
        subprocess.run(["umount", world.path("data")], check=True)


def test_log_that_hangs_after_success(world: World) -> None:
    """A2: the caller has its result before anything is stored or logged; what hangs then turns it into no error."""
    config = world.config("faults-net", logfile=world.path("log"))
    script = f'"$real"; s=$?; rm -f {world.path("log")}; mkfifo {world.path("log")}; exit $s'
    replace_host_local(world, script)
    answer = world.runtime.run("ADD", config, POD)
    assert answer.status == 0, answer
    assert len(world.leases("faults-net")) == 2


@pytest.mark.parametrize("what", ["ordinary.remember", "log.Log.info"])
def test_disk_that_hangs_after_success(tmp_path: Path, what: str) -> None:
    """A2: the cache's or the log's disk hangs past the deadline: the result is out, alone, and no error follows."""
    node = recorder.make(tmp_path)
    module, _, name = what.rpartition(".")
    hangs = tmp_path / "hangs"
    hang = f"import time, plugin.start.ordinary as ordinary, plugin.log as log; {timeup.statements(hangs)}"
    hang += f"{module}.{name} = lambda *_args, **_more: (open({str(hangs)!r}, 'w').close(), time.sleep(60))"
    answer = node.runtime(hang).run("ADD", node.config(), POD)
    assert (answer.status, answer.document()["ips"]) == (0, json.loads(recorder.RESULT)["ips"])
    assert node.next.commands() == ["ADD"]


def test_cache_that_breaks_after_success(world: World) -> None:
    """A2: the same with a cache directory that cannot be used any more."""
    config = world.config("faults-net")
    replace_host_local(world, f'"$real"; s=$?; rm -rf {world.cache}; touch {world.cache}; exit $s')
    answer = world.runtime.run("ADD", config, POD)
    assert answer.status == 0, answer
    os.unlink(world.cache)
    assert world.runtime.run("DEL", config, POD).status == 0
    assert world.leases("faults-net") == []


def break_cache(world: World, how: str) -> None:
    """Make the cache directory unusable, or what only looks so."""
    os.makedirs(os.path.dirname(world.cache), exist_ok=True)
    if how == "a file":
        world.write("cache", "")
    elif how == "mode 0755":
        os.makedirs(world.cache)
        os.chmod(world.cache, 0o755)
    elif how == "another owner":
        os.makedirs(world.cache)
        os.chown(world.cache, 1000, 1000)
    elif how == "no parent":
        world.runtime.environ["NODE_IPAM_CACHE"] = world.cache = world.path("a/b/cache")


MENDED = ("mode 0755", "no parent")


@pytest.mark.parametrize("how", ["a file", "mode 0755", "no parent", "another owner"])
@pytest.mark.parametrize("place", PLACES, ids=lambda each: each.__name__)
def test_unusable_cache(world: World, place: Callable[[World], Config], how: str) -> None:
    """A4: what a DEL needs is recorded, or no address is given, and the error says why; a plain dataDir needs none."""
    if how == "another owner" and os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    break_cache(world, how)
    config = place(world)
    for number in range(3):
        answer = world.runtime.run("ADD", config, Pod(f"pod-{number}"))
        assert (answer.status == 0) == (how in MENDED or place is plain), answer
        if answer.status:
            assert world.cache in answer.document()["msg"]
    if place is annotated:  # changed before the DELs
        world.annotate(ANNOTATION, 'ranges: [[{"subnet": "10.8.0.0/24"}]]')
    for number in range(3):
        answer = world.runtime.run("DEL", config, Pod(f"pod-{number}"))
        assert (answer.status == 0) == (how in MENDED or place is not annotated), answer
    assert world.leases("faults-net") == []


@pytest.mark.parametrize("change", ["removed", "broken", "another dataDir"])
def test_pinned_file_changes_while_pods_live(world: World, change: str) -> None:
    """A5: the dataDir of a kube-node.json that is no longer what it was is on record."""
    config = pinned(world)
    assert world.runtime.run("ADD", config, POD).status == 0
    file = world.path("pinned/kube-node.json")
    if change == "removed":
        os.unlink(file)
    else:
        elsewhere = {"ranges": [[{"subnet": "10.7.0.0/24"}]], "dataDir": world.path("elsewhere")}
        world.write("pinned/kube-node.json", "{" if change == "broken" else json.dumps(elsewhere))

    assert world.runtime.run("CHECK", config, POD).status == 0
    assert world.runtime.run("DEL", config, POD).status == 0
    assert world.leases("faults-net") == []


def test_texts_of_one_checksum(world: World) -> None:
    """A6: two texts that differ by two bytes exchanged 61 apart each have their DEL."""

    def text(first: str, second: str) -> str:
        folder = world.path("")
        name = f"{first}{'x' * 60}{second}"
        return json.dumps({"ranges": [[{"subnet": "10.7.0.0/24"}]], "dataDir": f"{folder}{name}"})

    stores = []
    for number, pair in enumerate((("a", "b"), ("b", "a"))):
        world.annotate(ANNOTATION, text(*pair))
        config = world.annotated("faults-net", ANNOTATION, cacheSeconds=0)
        world.runtime.run("ADD", config, Pod("holder"))  # so that the next address is another one in each store
        if number == 0:
            assert world.runtime.run("DEL", config, Pod("holder")).status == 0
        stores.append(f"{pair[0]}{'x' * 60}{pair[1]}")
        for _ in range(5):  # an address that is in use in the other store is refused, then comes the next
            answer = world.runtime.run("ADD", config, Pod(f"pod-{number}"))
            if answer.status == 0:
                break
        assert answer.status == 0, answer
    for pod in ("pod-0", "pod-1", "holder"):
        assert world.runtime.run("DEL", config, Pod(pod)).status == 0
    assert [world.leases("faults-net", store) for store in stores] == [[], []]


def test_signals_of_the_plugin(world: World) -> None:
    """A plugin that is killed leaves what its DEL frees, whenever that was."""
    config = annotated(world)
    for number in range(10):
        process = start(world.runtime.call("ADD", config, Pod(f"pod-{number}")), PIPE)
        time.sleep(0.05 * number)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    wait_for_end(world.directory)  # a host-local outlives its plugin
    for number in range(10):
        assert world.runtime.run("DEL", config, Pod(f"pod-{number}")).status == 0
    assert world.leases("faults-net") == []


@pytest.mark.skipif(not MAY_MOUNT, reason="needs mounts")
@pytest.mark.parametrize("place", PLACES, ids=lambda each: each.__name__)
def test_release_on_a_read_only_disk(world: World, place: Callable[[World], Config]) -> None:
    """host-local says that it has released what it could not remove: DEL and GC are errors, and can be repeated."""
    config = place(world)
    assert world.runtime.run("ADD", config, POD).status == 0
    before, data = world.leases("faults-net"), world.path("data")
    subprocess.run(["mount", "--bind", data, data], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", data], check=True)
        collect = {**config, "cniVersion": "1.1.0", "cni.dev/valid-attachments": []}
        for answer in (world.runtime.run("DEL", config, POD), world.runtime.run("GC", collect)):
            assert (answer.status, "cannot be written" in answer.stdout.decode()) == (1, True), answer
        assert world.leases("faults-net") == before != []
        assert world.runtime.run("DEL", config, NEXT).status == 0
    finally:
        subprocess.run(["umount", data], check=True)
    assert world.runtime.run("DEL", config, POD).status == 0
    assert world.leases("faults-net") == []


@pytest.mark.parametrize("warm", [False, True])
def test_record_of_a_repeated_add(world: World, warm: bool) -> None:
    """A container whose ADD failed gets another network namespace: its record names the one in which it lives."""
    config = world.config("faults-net")
    for _ in range(2 if warm else 0):
        assert world.runtime.run("ADD", config, NEXT).status == 0
        assert world.runtime.run("DEL", config, NEXT).status == 0
    full(world, world.runtime.call("ADD", config, POD))
    assert world.runtime.run("ADD", config, POD, CNI_NETNS="/run/netns/second").status == 0
    texts = [os.readlink(os.path.join(world.cache, name)) for name in os.listdir(world.cache) if name.startswith("at:")]
    assert [text.split()[-1] for text in texts] == ["/run/netns/second"]
