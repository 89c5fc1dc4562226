"""A full range heals itself: the built file and the real host-local on a range of five addresses."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from plugin.kube_node import PINNED
from tests.support import netns
from tests.support.livepods import LivePods
from tests.support.runtime import Answer, Config, Pod
from tests.support.world import World

ADDRESSES = [f"172.16.0.{number}" for number in range(2, 7)]
RANGES = [[{"subnet": "172.16.0.0/24", "rangeStart": ADDRESSES[0], "rangeEnd": ADDRESSES[-1]}]]
LEFT = "/run/netns/cni-0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
OWN_RUN = f"""mount --bind "$0" /var/lib && mount -t tmpfs tmpfs /run && mkdir /run/netns && touch {LEFT} &&
unshare --net={LEFT} true && "$@" && ls /run/netns >&2"""
OWN_LIBRARY = 'mount --bind "$0" /var/lib && exec "$@"'
OLD = 1200.0  # seconds


class Node:
    """A node with a range of five addresses, and a /var/lib of its own in which libcni keeps results."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.config = self.pinned()
        self.library = world.path("library")
        os.makedirs(f"{self.library}/cni/results")
        world.runtime.interpreter = ("unshare", "--mount", "sh", "-c", OWN_LIBRARY, self.library)

    def pinned(self, **ipam: Any) -> Config:
        """The network; ipam: more keys."""
        self.world.write(f"data/{PINNED}", json.dumps({"type": "host-local", "ranges": RANGES}))
        self.config = self.world.config(logfile=self.world.path("log"), **ipam)
        return self.config

    def lease(self, address: str, container: str, age: float = OLD) -> None:
        """A lease as host-local writes it."""
        path = self.world.write(f"data/k8snet/{address}", "")
        with open(path, "wb") as file:
            file.write(f"{container}\r\neth0".encode())
        os.utime(path, (time.time() - age,) * 2)

    def result(self, container: str, namespace: str) -> None:
        """A result of libcni."""
        value = {"kind": "cniCacheV1", "containerId": container, "ifName": "eth0", "networkName": "k8snet"}
        path = f"{self.library}/cni/results/k8snet-{container}-eth0"
        with open(path, "w", encoding="ascii") as file:
            json.dump({**value, "netns": namespace}, file)

    def holders(self) -> dict[str, str]:
        """Container by address."""
        found = {}
        for address in self.world.leases():
            with open(self.world.path(f"data/k8snet/{address}"), encoding="ascii") as file:
                found[address] = file.readline().strip()
        return found

    def reclaimed(self) -> list[str]:
        """The addresses that the log says were reclaimed."""
        with open(self.world.path("log"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        assert all(line["evidence"] for line in lines if line["msg"] == "lease reclaimed")
        return sorted(line["address"] for line in lines if line["msg"] == "lease reclaimed")


@pytest.fixture
def node(world: World) -> Node:
    """A node of this test."""
    netns.require()
    return Node(world)


@pytest.fixture
def pods() -> Iterator[LivePods]:
    """Pods of this test."""
    with LivePods() as made:
        yield made


def dead(number: int) -> str:
    """The id of a container that is gone."""
    return Pod(f"dead-{number}").container


def fill_before_boot(node: Node) -> None:
    """All addresses are leased to containers of before the last reboot; dataDir is on a disk, /run was emptied."""
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    for number, address in enumerate(ADDRESSES):
        node.lease(address, dead(number), uptime + OLD)


def fill_and_wipe(node: Node) -> None:
    """The runtime was killed and its state wiped: results name network namespaces that are gone."""
    for number, address in enumerate(ADDRESSES):
        node.lease(address, dead(number))
        node.result(dead(number), f"/run/netns/cni-{dead(number)}")


def fill_with_empty_files(node: Node) -> None:
    """host-local was killed while it reserved, or the disk lost what it wrote."""
    for address in ADDRESSES:
        node.lease(address, "")
        with open(node.world.path(f"data/k8snet/{address}"), "wb"):
            pass
        os.utime(node.world.path(f"data/k8snet/{address}"), (time.time() - OLD,) * 2)


FILLS = [fill_before_boot, fill_and_wipe, fill_with_empty_files]


def is_full(answer: Answer) -> bool:
    """Whether this is host-local's own error."""
    document = answer.document()
    return answer.status == 1 and document["code"] == 999 and "no IP addresses available" in document["msg"]


@pytest.mark.parametrize("fill", FILLS)
def test_dead_leases(node: Node, fill: Any) -> None:
    """The next ADD gets an address; each that was reclaimed is in the log, the number on stderr."""
    fill(node)

    answer = node.world.add(node.config)

    assert answer.document()["ips"][0]["address"].partition("/")[0] in ADDRESSES
    assert list(node.holders().values()) == [Pod("web-0").container]
    assert node.reclaimed() == ADDRESSES
    assert f"reclaimed the leases of containers that are gone: {ADDRESSES[0]}, " in answer.stderr


def test_records(node: Node) -> None:
    """Records of our own ADDs are enough to know the dead, and go with their leases."""
    pods = [f"web-{number}" for number in range(len(ADDRESSES))]
    for pod in pods:
        node.world.addresses(node.config, pod)
    for address in ADDRESSES:
        os.utime(node.world.path(f"data/k8snet/{address}"), (time.time() - OLD,) * 2)
    links = [name for name in os.listdir(node.world.cache) if name.startswith("at:")]
    assert is_full(node.world.add(node.config, "too-soon"))  # by a clock that cannot be set
    for name in links:
        used, _made, netns = os.readlink(path := f"{node.world.cache}/{name}").split(" ")
        os.unlink(path)
        os.symlink(f"{used} {time.clock_gettime(time.CLOCK_BOOTTIME) - OLD} {netns}", path)

    node.world.addresses(node.config, "next")

    assert list(node.holders().values()) == [Pod("next").container]
    assert not [name for name in links if os.path.lexists(f"{node.world.cache}/{name}")]


def test_warm(node: Node) -> None:
    """A request that was seen before heals the range as well."""
    del node.config["ipam"]["logfile"]
    for number in range(len(ADDRESSES)):
        node.world.addresses(node.config, f"web-{number}")
    for address in ADDRESSES[1:]:
        os.unlink(node.world.path(f"data/k8snet/{address}"))
        node.lease(address, dead(1))
    node.result(dead(1), "/run/netns/cni-1")

    answer = node.world.add(node.config, "next")

    assert answer.status == 0, answer
    assert sorted(node.holders().values()) == sorted([Pod("web-0").container, Pod("next").container])


@pytest.mark.parametrize("age", [OLD, None])
def test_live_leases(node: Node, pods: LivePods, age: float | None) -> None:
    """Leases of live containers stay, even if they are older than the last boot by a clock that was set."""
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME) + OLD if age is None else age
    for number, address in enumerate(ADDRESSES):
        node.lease(address, dead(number), seconds)
    pods.start([dead(number) for number in range(3)])
    pods.start(["anonymous"], ADDRESSES[3:4])
    (path,) = pods.start(["anonymous"])
    node.result(dead(4), path)
    before = node.holders()

    answer = node.world.add(node.config)

    assert is_full(answer)
    assert (node.holders(), node.reclaimed()) == (before, [])


def test_young_leases(node: Node) -> None:
    """Within the grace time an ADD may still be running."""
    for number, address in enumerate(ADDRESSES):
        node.lease(address, dead(number), 60)
        node.result(dead(number), "/run/netns/cni-1")

    assert is_full(node.world.add(node.config))
    assert len(node.holders()) == len(ADDRESSES)


def test_leases_without_proof(node: Node) -> None:
    """That nothing names a container is no proof of its death."""
    if time.clock_gettime(time.CLOCK_BOOTTIME) < OLD + 60:
        pytest.skip("this machine was started a moment ago, so any lease is older")
    for number, address in enumerate(ADDRESSES):
        node.lease(address, dead(number))

    assert is_full(node.world.add(node.config))
    assert len(node.holders()) == len(ADDRESSES)


def test_status_warns_in_time(node: Node) -> None:
    """STATUS says how many leases could be reclaimed before the range is full, and then only when that changes."""
    config = {**node.config, "cniVersion": "1.1.0"}
    node.lease(ADDRESSES[0], dead(0))
    node.result(dead(0), "/run/netns/cni-0")
    assert node.world.runtime.run("STATUS", config).stderr == ""
    for number in (1, 2):
        node.lease(ADDRESSES[number], dead(number))
        node.result(dead(number), "/run/netns/cni-1")

    answers = [node.world.runtime.run("STATUS", config) for _ in range(3)]

    assert [(each.status, each.stdout) for each in answers] == [(0, b"")] * 3
    assert [each.stderr for each in answers[1:]] == ["", ""]
    assert "3 leases in " in answers[0].stderr
    assert "are of containers that are gone: a full range reclaims them" in answers[0].stderr
    assert len(node.holders()) == 3


def test_turned_off(node: Node) -> None:
    """With "reclaim": false the error of host-local is the answer."""
    fill_and_wipe(node)

    assert is_full(node.world.add(node.pinned(reclaim=False)))
    assert len(node.holders()) == len(ADDRESSES)


@pytest.mark.parametrize("reclaim", [None, False])
def test_node_annotation(node: Node, reclaim: bool | None) -> None:
    """The other type does the same; the key is in its configuration file."""
    fill_and_wipe(node)
    text = json.dumps({"dataDir": node.world.path("data"), "ranges": RANGES})
    node.world.node["metadata"]["annotations"]["example.com/net"] = text
    settings: dict[str, Any] = {} if reclaim is None else {"reclaim": reclaim}
    config = node.world.annotated("k8snet", "example.com/net", **settings)

    answer = node.world.add(config)

    assert (answer.status, len(node.holders())) == ((0, 1) if reclaim is None else (1, len(ADDRESSES)))


def test_many_at_once(node: Node) -> None:
    """Twenty pods want the five addresses of a range that is full of dead leases: five get one each."""
    fill_and_wipe(node)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: node.world.add(node.config, f"web-{number}"), range(20)))

    given = [each.document()["ips"][0]["address"].partition("/")[0] for each in answers if not each.status]
    assert sorted(given) == ADDRESSES
    assert sum(map(is_full, (each for each in answers if each.status))) == 15
    assert node.holders().keys() == set(ADDRESSES)
    assert node.reclaimed() == ADDRESSES


@pytest.mark.parametrize("running", [True, False])
def test_namespace_left_behind(node: Node, running: bool) -> None:
    """A namespace that a running containerd has forgotten is removed with the leases of its container."""
    for address in ADDRESSES:
        node.lease(address, dead(1))
    node.result(dead(1), LEFT)
    node.world.runtime.interpreter = ("unshare", "--mount", "sh", "-c", OWN_RUN, node.library)
    program = shutil.copy(shutil.which("cat") or "", node.world.path("containerd" if running else "other"))
    with subprocess.Popen([program], stdin=subprocess.PIPE) as runtime:
        answer = node.world.add(node.config)
        runtime.stdin.close()  # type: ignore[union-attr]

    assert answer.status == (0 if running else 1)
    assert len(node.holders()) == (1 if running else len(ADDRESSES))
    assert (os.path.basename(LEFT) in answer.stderr.splitlines()) is False
