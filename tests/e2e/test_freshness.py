"""Ranges follow the Node object, and outlive the server: what is asked when, and what is used when nobody answers."""

from __future__ import annotations

import os
import shutil
import threading
import time

import pytest

from tests.support.apiserver import Handler
from tests.support.nodes import make_node
from tests.support.runtime import Answer
from tests.support.world import NODE, World

ANNOTATION = "kube-node.nordix.org/net1"


def test_known_ranges_are_not_asked_for_again(world: World) -> None:
    """Within cacheSeconds any number of pods, of several networks, cost one GET."""
    world.annotate(ANNOTATION, "172.20.2.0/24")
    for number in range(5):
        world.addresses(world.config(), f"pod-{number}")
        world.addresses(world.config("net1", annotation=ANNOTATION), f"pod-{number}")

    assert world.server.count() == 1


def test_changed_annotation_after_cache_seconds(world: World) -> None:
    """The first ADD after cacheSeconds uses the new range, the one before still the old."""
    config = world.config("net1", annotation=ANNOTATION)
    world.annotate(ANNOTATION, "172.20.2.0/24")
    assert world.addresses(config, "one") == ["172.20.2.2/24"]
    world.annotate(ANNOTATION, "172.20.3.0/24")
    assert world.addresses(config, "two") == ["172.20.2.3/24"]
    world.age(31)
    assert world.addresses(config, "three") == ["172.20.3.2/24"]


def test_cache_seconds_zero_asks_every_time(world: World) -> None:
    """With cacheSeconds 0 the very next ADD uses the new range."""
    config = world.config("net1", annotation=ANNOTATION, cacheSeconds=0)
    for number in range(3):
        world.annotate(ANNOTATION, f"172.20.{number}.0/24")
        assert world.addresses(config, f"pod-{number}") == [f"172.20.{number}.2/24"]

    assert world.server.count() == 3


def test_new_annotation_is_seen_at_once(world: World) -> None:
    """A missing annotation is asked for anew, whatever the cache knows: the operator has just written it."""
    config = world.config("net1", annotation=ANNOTATION)
    world.addresses(world.config())
    assert world.add(config).status == 1
    world.annotate(ANNOTATION, "172.20.2.0/24")
    assert world.addresses(config) == ["172.20.2.2/24"]


def test_server_behind_its_own_cache(world: World) -> None:
    """A server whose watch cache has an older Node is asked once more, past that cache."""
    world.annotate(ANNOTATION, "172.20.2.0/24")
    world.server.stale[NODE] = make_node(NODE, ())
    assert world.addresses(world.config("net1", annotation=ANNOTATION)) == ["172.20.2.2/24"]
    assert [each.path.partition("?")[2] for each in world.server.requests] == ["resourceVersion=0", ""]


def test_server_away(world: World) -> None:
    """With the server gone, known ranges serve on, with a warning; a new network is told why it has to wait."""
    config = world.config()
    world.addresses(config, "one")
    world.server.stop()
    world.age(1000)
    answer = world.add(config, "two")

    assert answer.status == 0
    assert "using what was known of node vm-002" in answer.stderr
    assert world.runtime.run("STATUS", world.config(version="1.1.0")).status == 0
    unknown = world.add(world.config("net1", annotation=ANNOTATION), "three")
    assert (unknown.status, unknown.document()["code"]) == (1, 11)


def test_server_away_is_asked_once_per_period(world: World) -> None:
    """Many pods do not each wait for a server that does not answer."""
    world.addresses(world.config(), "one")
    asked = []

    def refuse(handler: Handler) -> bool:
        asked.append(handler.path)
        handler.answer(503, b"{}")
        return True

    world.server.fault = refuse
    world.age(40)
    world.addresses(world.config(), "two")
    tries = len(asked)
    assert tries >= 1
    for pod in ("three", "four", "five"):
        world.addresses(world.config(), pod)
    assert len(asked) == tries


def test_server_that_hangs(world: World) -> None:
    """A server that takes the connection and says nothing delays an ADD by seconds when the ranges are known."""
    world.addresses(world.config(), "one")
    world.server.delay = 30
    world.age(40)
    answer = world.add(world.config(), "two")

    assert answer.status == 0
    assert "using what was known" in answer.stderr


def test_clear_no_is_an_error(world: World) -> None:
    """A Node that was deleted, or may not be read, is an error although its ranges are known."""
    config = world.config()
    world.addresses(config, "one")
    world.server.nodes.clear()
    world.age(40)
    assert world.add(config, "two").document()["code"] == 100
    world.server.stop()
    assert world.add(config, "three").document()["code"] == 11, "a deleted Node is not remembered"


def test_forbidden(world: World) -> None:
    """Forbidden is an error with the rule to add."""
    world.server.rule = lambda user, verb, name: f'nodes "{name}" is forbidden: User "{user.name}" cannot get resource'
    document = world.add(world.config()).document()

    assert document["code"] == 100
    assert "forbidden" in document["msg"]


def test_node_created_anew(world: World) -> None:
    """Another UID: the new ranges are used, old and new are told."""
    config = world.config(logfile=world.path("log"))
    world.addresses(config, "one")
    old = world.server.stored(NODE)["metadata"]["uid"]
    world.node = world.server.add(make_node(NODE, ["11.0.9.0/24"], uid="9-new"))
    world.age(40)
    answer = world.add(config, "two")

    assert [each["address"] for each in answer.document()["ips"]] == ["11.0.9.2/24"]
    with open(world.path("log"), encoding="utf-8") as file:
        text = file.read()
    for part in (old, "9-new", "11.0.1.0/24", "11.0.9.0/24"):
        assert part in text
        assert part in answer.stderr


@pytest.mark.parametrize("damage", [b"", b"x", b"node-ipam-1 00\n{}"])
def test_damaged_cache_is_none(world: World, damage: bytes) -> None:
    """Files that are cut or overwritten count as absent, and are replaced."""
    world.addresses(world.config(), "one")
    for name in os.listdir(world.cache):
        if not name.startswith("at:"):  # a link
            with open(os.path.join(world.cache, name), "wb") as file:
                file.write(damage)
    assert len(world.addresses(world.config(), "two")) == 2
    assert world.server.count() == 2
    assert len(world.addresses(world.config(), "three")) == 2
    assert world.server.count() == 2


def test_cache_that_is_not_ours(world: World) -> None:
    """A directory that others can write to, and that holds other things, is not used; the answer is right without."""
    os.mkdir(world.cache)
    world.write("cache/other", "")
    os.chmod(world.cache, 0o777)
    for pod in ("one", "two"):
        answer = world.add(world.config(), pod)
        assert answer.status == 0
        assert world.cache in answer.stderr
    assert os.listdir(world.cache) == ["other"]
    assert world.server.count() == 2


def test_cache_directory_by_configuration(world: World) -> None:
    """cacheDir puts what is known of the Node elsewhere; the records of attachments stay where any DEL finds them."""
    config = world.config(cacheDir=world.path("other"))
    for pod in ("one", "two"):
        world.addresses(config, pod)
    assert world.server.count() == 1
    assert [name for name in os.listdir(world.path("other")) if name.startswith("node-")]
    assert not [name for name in os.listdir(world.cache) if name.startswith("node-")]


def test_hundred_pods_at_once(world: World) -> None:
    """100 ADDs on an empty cache: one GET, and 100 different addresses."""
    config = world.config()
    answers: list[Answer] = []
    pods = iter([f"pod-{number}" for number in range(100)])

    def work() -> None:
        for pod in pods:
            answers.append(world.add(config, pod))

    workers = [threading.Thread(target=work) for _ in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = {each["address"] for answer in answers for each in answer.document()["ips"]}

    assert [answer.status for answer in answers] == [0] * 100
    assert len(found) == 200
    assert world.server.count() == 1


def test_waiting_pods_share_a_failure(world: World) -> None:
    """When the one who asks gets no answer, those who waited for it do not each try again."""
    config = world.config()
    world.server.stop()
    answers: list[Answer] = []
    workers = [
        threading.Thread(target=lambda pod=f"pod-{number}": answers.append(world.add(config, pod)))
        for number in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert [(answer.status, answer.document()["code"]) for answer in answers] == [(1, 11)] * 4
    assert max(answer.seconds for answer in answers) < 30, "four tries in a row would take 48 s"


def test_status(world: World) -> None:
    """STATUS says whether an ADD would work, and asks the server once per period however often it is called."""
    config = world.config(version="1.1.0")
    started = time.time()
    for _ in range(20):
        assert world.runtime.run("STATUS", config).status == 0
    assert world.server.count() == 1
    missing = world.config(version="1.1.0", annotation=ANNOTATION)
    for _ in range(5):
        answer = world.runtime.run("STATUS", missing)
        assert (answer.status, answer.document()["code"]) == (1, 50)
    periods = 1 + (time.time() - started) // 4
    assert world.server.count() <= 1 + 2 * periods  # a Node without the annotation is read past the server's cache, too


def test_status_without_server(world: World) -> None:
    """STATUS without any knowledge is 50, tries the server once per period, and soon recovers."""
    world.server.stop()
    config = world.config(version="1.1.0")
    for _ in range(3):
        assert world.runtime.run("STATUS", config).document()["code"] == 50
    world.server.start()
    assert world.runtime.run("STATUS", config).document()["code"] == 50
    world.age(40)
    assert world.runtime.run("STATUS", config).status == 0
    assert world.server.count() == 1


def test_lost_cache(world: World) -> None:
    """A cache that was deleted costs a GET, nothing else."""
    config = world.config()
    world.addresses(config, "one")
    shutil.rmtree(world.cache)
    world.addresses(config, "two")
    assert world.server.count() == 2


def test_clock_that_was_set_back(world: World) -> None:
    """Knowledge from the future is none: the server is asked, and a failure from there spares nobody the asking."""
    world.addresses(world.config(), "one")
    world.age(-1e6)
    world.node["spec"] = {"podCIDRs": ["11.0.9.0/24"]}
    assert world.addresses(world.config(), "two") == ["11.0.9.2/24"]

    node = world.server.nodes.pop(NODE)
    world.age(40)
    assert world.add(world.config(), "three").status == 1
    world.age(-1e6)
    world.server.add(node)
    assert world.addresses(world.config(), "four") == ["11.0.9.3/24"]


def test_server_away_after_a_clear_no(world: World) -> None:
    """What the server has last refused is not used when it goes away."""
    rule = world.server.rule
    world.addresses(world.config(), "one")
    world.server.rule = lambda user, verb, name: f'nodes "{name}" is forbidden: User "{user.name}" cannot get resource'
    world.age(40)
    assert world.add(world.config(), "two").document()["code"] == 100
    world.server.stop()
    for pod in ("three", "four"):
        world.age(40)
        assert world.add(world.config(), pod).document()["code"] == 11
    world.server.start()
    world.server.rule = rule
    world.age(40)
    assert len(world.addresses(world.config(), "five")) == 2


def test_status_does_not_speak_for_a_pod(world: World) -> None:
    """A server that is too slow for STATUS is not too slow for the ADD that follows."""
    world.addresses(world.config(version="1.1.0"), "one")
    world.node["spec"] = {"podCIDRs": ["11.0.9.0/24"]}
    world.server.delay = 1.5
    world.age(40)
    assert world.runtime.run("STATUS", world.config(version="1.1.0")).status == 0
    assert world.addresses(world.config(version="1.1.0"), "two") == ["11.0.9.2/24"]


def test_warm_request_follows_newer_knowledge(world: World) -> None:
    """What one network learns of the Node, another one of the same node goes by at once."""
    world.annotate(ANNOTATION, "172.20.2.0/24")
    slow, quick = world.config("slow", cacheSeconds=3600), world.config("quick", annotation=ANNOTATION, cacheSeconds=0)
    for pod in ("one", "two"):
        world.addresses(slow, pod)
    world.node["spec"] = {"podCIDRs": ["11.0.9.0/24"]}
    assert world.addresses(quick, "three") == ["172.20.2.2/24"]
    assert world.addresses(slow, "four") == ["11.0.9.2/24"]
