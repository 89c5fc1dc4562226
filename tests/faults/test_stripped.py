"""F1: DEL and CHECK find the lease whatever is left of the request."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.test_leases import annotated, pinned, plain
from tests.support.apiserver import ApiServer
from tests.support.netns import Namespace, require
from tests.support.runtime import Config, Pod
from tests.support.world import World

PLACES = (plain, pinned, annotated)


def stripped(config: Config) -> Config:
    """What Multus leaves of a delegate's request in some of its releases."""
    ipam = {"type": config["ipam"]["type"]}
    return {"cniVersion": config["cniVersion"], "name": config["name"], "ipam": ipam}


@pytest.mark.parametrize("place", PLACES, ids=lambda each: each.__name__)
def test_stripped_request(world: World, place: Callable[[World], Config]) -> None:
    """Two interfaces of a pod, one after the other; ordinary and warm ADDs."""
    config = place(world)
    pods = [Pod(f"pod-{number}", interface=interface) for number in range(3) for interface in ("eth0", "net1")]
    for pod in pods:
        assert world.runtime.run("ADD", config, pod).status == 0
    for pod in pods:
        assert world.runtime.run("CHECK", stripped(config), pod).status == 0
        before = len(world.leases("faults-net"))
        assert world.runtime.run("DEL", stripped(config), pod).status == 0
        assert len(world.leases("faults-net")) < before
        assert world.runtime.run("CHECK", stripped(config), pod).status != 0
    assert world.leases("faults-net") == []


def test_two_networks_on_one_interface_name(world: World) -> None:
    """Each network's DEL frees its own lease."""
    one = world.config("one", dataDir=world.path("one"))
    world.annotate("e/x", f'ranges: [[{{"subnet": "10.7.0.0/24"}}]], dataDir: {json.dumps(world.path("two"))}')
    two = world.annotated("two", "e/x")
    pod = Pod("pod", interface="net1")
    for config in (one, two):
        assert world.runtime.run("ADD", config, pod).status == 0
    assert world.runtime.run("DEL", stripped(one), pod).status == 0
    assert (world.leases("one", "one"), len(world.leases("two", "two"))) == ([], 1)
    assert world.runtime.run("DEL", stripped(two), pod).status == 0
    assert world.leases("two", "two") == []


def test_without_a_record(world: World) -> None:
    """The record is lost: the stores that this network's ADDs named are looked into."""
    from plugin.cache import Cache

    config = annotated(world)
    for name in ("one", "two"):
        assert world.runtime.run("ADD", config, Pod(name)).status == 0
    cache = Cache(world.cache)
    for name in cache.starting_with("at:"):
        cache.remove(name)
    for name in cache.starting_with("node-"):
        cache.remove(name)
    for name in ("one", "two"):
        assert world.runtime.run("DEL", stripped(config), Pod(name)).status == 0
    assert world.leases("faults-net") == []


def test_cache_dir_of_the_configuration(world: World) -> None:
    """A DEL that does not name the cacheDir finds the record all the same."""
    config = world.config("faults-net", cacheDir=world.path("other/cache"))
    assert world.runtime.run("ADD", config, Pod("pod")).status == 0
    assert world.runtime.run("DEL", stripped(config), Pod("pod")).status == 0
    assert world.leases("faults-net") == []


def test_record_of_the_last_version(world: World) -> None:
    """A pod of version 0.1.0, which recorded node-annotation's ADDs under other names, is freed after an upgrade."""
    from plugin.cache import Cache

    config = annotated(world)
    pod = Pod("pod")
    assert world.runtime.run("ADD", config, pod).status == 0
    cache = Cache(world.cache)
    for name in [*cache.starting_with("at:"), *cache.starting_with("node-"), *cache.starting_with("used-")]:
        cache.remove(name)
    ipam = {"type": "host-local", "dataDir": world.path("data"), "ranges": [[{"subnet": "10.7.0.0/24"}]]}
    program = world.runtime.find("host-local")
    cache.write("used-0123", json.dumps({"program": program, "ipam": ipam}).encode())
    cache.link(f"at:{pod.container}:{pod.interface}", "used-0123")
    assert world.runtime.run("DEL", stripped(config), pod).status == 0
    assert world.leases("faults-net") == []


def test_two_hundred_pods(world: World) -> None:
    """200 pods of both types, then DEL of all: no lease and no record is left."""
    from plugin.cache import Cache

    configs = [world.config("one", dataDir=world.path("one"))]
    world.annotate("e/x", f'ranges: [[{{"subnet": "10.7.0.0/24"}}]], dataDir: {json.dumps(world.path("two"))}')
    configs.append(world.annotated("two", "e/x"))
    pods = [(Pod(f"pod-{number}"), configs[number % 2]) for number in range(200)]
    for pod, config in pods:
        assert world.runtime.run("ADD", config, pod).status == 0
    for pod, config in pods:
        assert world.runtime.run("DEL", stripped(config), pod).status == 0
    assert (world.leases("one", "one"), world.leases("two", "two")) == ([], [])
    assert Cache(world.cache).starting_with("at:") == []


def test_two_hundred_pods_through_bridge(tmp_path: Path) -> None:
    """The same through the real bridge, which passes on what Multus leaves of its own request; CHECK works, too."""
    require()
    with ExitStack() as stack:
        node, pods = stack.enter_context(Namespace()), stack.enter_context(Namespace())
        server = ApiServer()
        node.call(server.start)
        stack.callback(server.stop)
        world = World(str(tmp_path), server)
        world.runtime.interpreter, world.runtime.main = node.enter, True
        world.annotate("e/x", f'ranges: [[{{"subnet": "10.7.0.0/24"}}]], dataDir: {json.dumps(world.path("two"))}')
        bridges = [{"type": "bridge", "bridge": name} for name in ("br-one", "br-two")]
        one = world.config("one", dataDir=world.path("one"), version="0.4.0")
        configs = [{**one, **bridges[0]}, {**world.annotated("two", "e/x", version="0.4.0"), **bridges[1]}]
        for config in configs:
            config.pop("isDefaultGateway", None)
        attachments = [(Pod(f"pod-{number}", interface=f"n{number}"), configs[number % 2]) for number in range(200)]

        def run(command: str, config: Config, pod: Pod) -> None:
            answer = world.runtime.run(command, config, pod, CNI_NETNS=pods.path)
            assert answer.status == 0, answer

        for number, (pod, config) in enumerate(attachments):
            run("ADD", config, pod)
            if number < len(configs):  # later the bridge has another MAC than in its own prevResult
                run("CHECK", {**stripped(config), "type": "bridge", "bridge": config["bridge"]}, pod)
        assert len(world.leases("one", "one")) + len(world.leases("two", "two")) == 300
        for pod, config in attachments:
            run("DEL", {**stripped(config), "type": "bridge"}, pod)
        assert (world.leases("one", "one"), world.leases("two", "two")) == ([], [])
