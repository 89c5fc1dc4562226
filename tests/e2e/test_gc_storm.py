"""GC and gc clean the real host-local's store while pods come and go: exactly what is stale goes.

NODE_IPAM_STORM_SECONDS says for how long gc and the pods are at it together.
"""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from plugin.kube_node import PINNED
from tests.support import netns
from tests.support.dist import ARCHIVE
from tests.support.parts import host_local
from tests.support.runtime import Answer, Call, Config, Pod, Runtime, run
from tests.support.world import World

SECONDS = float(os.environ.get("NODE_IPAM_STORM_SECONDS", "4"))
NETWORK = "k8snet"
RANGES = [[{"subnet": "172.16.0.0/20"}]]
LIVE, STALE, LEGACY, EMPTY = 147, 50, 3, 5
RESTARTED = ("172.16.13.1", "172.16.14.1")  # far apart: the next pod gets the address after the last one
OLD = 3600.0


class Store:
    """The store of one network: 200 leases an hour old, made by host-local itself, and 5 empty files."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.live = self.reserve("live", LIVE)
        self.stale = self.reserve("stale", STALE)
        self.legacy = self.reserve("legacy", LEGACY)
        for pod, address in self.legacy.items():  # as host-local wrote them before 0.8
            self.write(address, pod.container)
        self.empty = [f"172.16.15.{number}" for number in range(1, EMPTY + 1)]
        for address in self.empty:
            self.write(address, "")
        for address in self.addresses():
            self.age(address)
        self.others = {name: self.content(name) for name in self.files() if name not in self.addresses()}

    def host_local(self, command: str, pod: Pod, **environ: str) -> Answer:
        """Run host-local itself."""
        config = {"cniVersion": "1.0.0", "name": NETWORK, "ipam": {"type": "host-local", "ranges": RANGES}}
        config["ipam"]["dataDir"] = self.directory  # type: ignore[index]
        return Runtime([host_local()], {}).run(command, config, pod, **environ)

    def reserve(self, name: str, count: int) -> dict[Pod, str]:
        """Let host-local give each of so many pods an address."""
        found = {}
        for number in range(count):
            pod = Pod(f"{name}-{number}")
            found[pod] = self.host_local("ADD", pod).document()["ips"][0]["address"].partition("/")[0]
        return found

    def path(self, name: str) -> str:
        """A file of the store."""
        return os.path.join(self.directory, NETWORK, name)

    def write(self, name: str, text: str) -> None:
        """Write a file of the store."""
        with open(self.path(name), "w", encoding="ascii") as file:
            file.write(text)

    def content(self, name: str) -> str:
        """What is in a file of the store."""
        with open(self.path(name), encoding="ascii", newline="") as file:
            return file.read()

    def age(self, name: str) -> None:
        """Let a lease be an hour old."""
        os.utime(self.path(name), (time.time() - OLD,) * 2)

    def files(self) -> list[str]:
        """All files of the store."""
        return os.listdir(os.path.join(self.directory, NETWORK))

    def addresses(self) -> list[str]:
        """The leases."""
        return [name for name in self.files() if name[0].isdigit()]

    def owner(self, address: str) -> str:
        """The container that a lease names."""
        return self.content(address).partition("\r\n")[0]

    def write_results(self, world: World, namespace: str) -> str:
        """What libcni keeps of the attachments that are in use; the directory."""
        for pod in (*self.live, *self.legacy):
            cached = {"kind": "cniCacheV1", "containerId": pod.container, "ifName": "eth0", "networkName": NETWORK}
            path = world.write(f"results/{NETWORK}-{pod.container}-eth0", json.dumps({**cached, "netns": namespace}))
            os.utime(path, (time.time() - 2 * OLD,) * 2)
        return world.path("results")


class Storm:
    """Pods that come and go, each worker's one after another, until it is over; what is left at the end is in use."""

    def __init__(self, world: World, config: Config, store: Store) -> None:
        self.runtime = world.runtime
        self.config = config
        self.store = store
        self.over = threading.Event()
        self.troubles: list[str] = []
        self.in_use: dict[str, Pod] = {}  # address -> pod
        self.made = 0
        self._lock = threading.Lock()
        self._workers: list[threading.Thread] = []

    def start(self, work: Callable[[int], None], count: int) -> None:
        """Let so many threads do this work, over and over."""
        for number in range(count):
            self._workers.append(threading.Thread(target=self._repeat, args=(work, number)))
            self._workers[-1].start()

    def stop(self) -> None:
        """Let all come to the end of what they are at."""
        self.over.set()
        for worker in self._workers:
            worker.join()

    def _repeat(self, work: Callable[[int], None], number: int) -> None:
        while not self.over.is_set():
            work(number)

    def come_and_go(self, worker: int) -> None:
        """A pod gets an address from the plugin; every other one leaves again."""
        self.made += 1
        pod = Pod(f"storm-{worker}-{self.made}")
        answer = self.runtime.run("ADD", self.config, pod)
        if answer.status:
            self.troubles.append(f"ADD {answer}")
            return
        address = answer.document()["ips"][0]["address"].partition("/")[0]
        if self.store.owner(address) != pod.container:
            self.troubles.append(f"{address} was lost at once")
        if self.made % 2:
            answer = self.runtime.run("DEL", self.config, pod)
            self.troubles += [f"DEL {answer}"] if answer.status else []
        else:
            self.use(address, pod)

    def restart(self, worker: int) -> None:
        """A container whose lease has become stale is started anew: the same id, and the same address."""
        pod, address = Pod(f"restarted-{worker}"), RESTARTED[worker]
        with self._lock:
            lost = address in self.lost()
            before = self.in_use.pop(address, None)
        if lost:
            self.troubles.append(f"{address} was lost")
        elif before:
            self.store.age(address)
        time.sleep(random.random() * 0.02)
        for verb in ("DEL", "ADD"):
            answer = self.store.host_local(verb, pod, CNI_ARGS=f"IP={address}")
            self.troubles += [f"{verb} {answer}"] if answer.status else []
        self.use(address, pod)

    def use(self, address: str, pod: Pod) -> None:
        """Note that this pod has this address; it is an error if another pod has it."""
        with self._lock:
            if self.in_use.setdefault(address, pod) != pod:
                self.troubles.append(f"{address} given to {pod} and {self.in_use[address]}")

    def lost(self) -> list[str]:
        """Return addresses in use whose lease is missing or names another container."""
        there = set(self.store.addresses())
        return [
            each for each, pod in self.in_use.items() if each not in there or self.store.owner(each) != pod.container
        ]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store to copy."""
    return Store(str(tmp_path_factory.mktemp("filled")))


@pytest.fixture
def namespace() -> Iterator[str]:
    """The path of a network namespace, for all pods."""
    netns.require()
    with netns.Namespace() as made:
        yield made.path


@pytest.fixture
def config(world: World) -> Config:
    """A network whose ranges an operator has laid down."""
    world.write(f"data/{PINNED}", json.dumps({"type": "host-local", "ranges": RANGES}))
    return world.config(NETWORK, version="1.1.0")


@pytest.fixture
def store(world: World, config: Config, filled: Store) -> Store:
    """The store of that network, as filled."""
    own = copy.copy(filled)
    own.directory = str(config["ipam"]["dataDir"])
    shutil.copytree(filled.directory, own.directory, dirs_exist_ok=True)
    return own


def assert_only_stale_leases_went(store: Store, empty_too: bool) -> None:
    """Return the leases from before the storm."""
    there = set(store.addresses())
    expected = {*store.live.values(), *store.legacy.values(), *([] if empty_too else store.empty)}
    before = {*store.live.values(), *store.stale.values(), *store.legacy.values(), *store.empty}
    # An address that has become free may have been given out again.
    kept = {address for address in before & there if os.stat(store.path(address)).st_mtime < time.time() - OLD / 2}
    assert kept == expected
    assert [store.content(address) for address in store.legacy.values()] == [pod.container for pod in store.legacy]
    assert store.others.keys() <= set(store.files())
    assert store.content("lock") == store.others["lock"]


def test_gc_verb(world: World, config: Config, store: Store) -> None:
    """GC releases what is not among the valid attachments, and no lease of a pod that comes meanwhile."""
    storm = Storm(world, config, store)
    coming = [Pod(f"storm-{worker}-{number}") for worker in range(3) for number in range(400)]
    valid = [*store.live, *store.legacy, *coming]
    key = [{"containerID": pod.container, "ifname": "eth0"} for pod in valid]
    storm.start(storm.come_and_go, 3)
    try:
        answer = world.runtime.run("GC", {**config, "cni.dev/valid-attachments": key})
    finally:
        storm.stop()

    assert (answer.status, answer.stdout) == (0, b"")
    assert storm.troubles == []
    assert storm.lost() == []
    assert_only_stale_leases_went(store, empty_too=False)


@pytest.mark.parametrize(
    ("attachments", "left"), [({}, LIVE + STALE + LEGACY), ({"cni.dev/valid-attachments": None}, 0)]
)
def test_gc_verb_without_a_list(world: World, config: Config, store: Store, attachments: Config, left: int) -> None:
    """Without the key nothing is released; null means that nothing is in use. DEL cannot name empty files."""
    answer = world.runtime.run("GC", {**config, **attachments})

    assert (answer.status, answer.stdout) == (0, b"")
    assert len(store.addresses()) == left + EMPTY


def command(store: Store, results: str) -> tuple[str, ...]:
    """gc of the built archive."""
    return (ARCHIVE, "gc", "--yes", "--data-dir", store.directory, "--results-dir", results)


def test_gc_command(world: World, config: Config, store: Store, namespace: str) -> None:
    """gc, again and again, beside pods that come and go and containers that are started anew."""
    results = store.write_results(world, namespace)
    call = Call((*command(store, results), "-o", "json"), {"PATH": os.defpath}, b"")
    released: list[str] = []
    storm = Storm(world, config, store)
    storm.start(storm.come_and_go, 2)
    storm.start(storm.restart, 2)
    ends = time.monotonic() + SECONDS
    try:
        while time.monotonic() < ends:
            answer = run(call)
            assert answer.status == 0, answer
            released += [each["address"] for each in answer.document()["leases"]]
    finally:
        storm.stop()

    assert storm.troubles == []
    assert storm.made > 0
    assert storm.lost() == []
    assert_only_stale_leases_went(store, empty_too=True)
    assert sorted(each for each in released if each not in RESTARTED) == sorted([*store.stale.values(), *store.empty])


def test_gc_does_not_run_into_a_deadlock_with_host_local(world: World, store: Store, namespace: str) -> None:
    """While host-local works gc waits, and the other way round: both come to their end."""
    results = store.write_results(world, namespace)
    argv = command(store, results)
    collectors = [subprocess.Popen(argv, stdout=subprocess.DEVNULL, env={"PATH": os.defpath}) for _ in range(3)]
    answers = [store.host_local(verb, Pod("beside")) for verb in ("ADD", "DEL") * 10]

    assert [answer.status for answer in answers] == [0] * 20
    assert [each.wait(60) for each in collectors] == [0] * 3
    assert_only_stale_leases_went(store, empty_too=True)
