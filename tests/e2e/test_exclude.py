"""`exclude`, `fallback` and several CIDRs of one family, with the real host-local."""

from __future__ import annotations

import ipaddress
import os
import random
from pathlib import Path
from typing import Any

import pytest

from plugin.addresses import exclusion, ranges
from plugin.errors import CniError
from tests.e2e.test_ranges_host_local import add
from tests.support.world import World

ANNOTATION = "kube-node.nordix.org/net1"


def subnet(chance: random.Random, bits: int, base: str) -> str:
    """A small network with a random place below a base."""
    whole = ipaddress.ip_network(base)
    offset = chance.randrange(1 << 8) << (whole.max_prefixlen - bits)
    return f"{whole[offset]}/{bits}"


def excluded_of(chance: random.Random, cidr: str) -> list[str]:
    """Up to four things in or near a network, of every form."""
    network = ipaddress.ip_network(cidr)
    found = []
    for _ in range(chance.randrange(5)):
        start = network[0] + chance.randrange(network.num_addresses)
        form = chance.choice(["{0}", "{0}/{2}", "{0}-{1}"])
        found.append(form.format(start, start + chance.randrange(3), network.max_prefixlen))
    return found


def test_random_ranges_until_they_are_full(tmp_path: Path) -> None:
    """Of 100 random ranges with random exclusions, host-local allocates all that is not excluded, and nothing else."""
    chance = random.Random(7)
    seen = 0
    for number in range(100):
        cidrs = [subnet(chance, 28 + chance.randrange(2), "10.0.0.0/8"), subnet(chance, 124, "fd00::/32")]
        items = [item for cidr in cidrs for item in excluded_of(chance, cidr)]
        blocks = exclusion.parse(items, "test")
        try:
            found = exclusion.apply(ranges.from_cidrs(cidrs[: 1 + number % 2], "test"), blocks, "test")
        except CniError:
            continue
        given: list[set[str]] = [set() for _ in found]
        for pod in range(20):
            answer = add(found, str(tmp_path / str(number)), f"c{pod}")
            if "ips" not in answer:
                break
            for one, each in zip(given, answer["ips"]):
                one.add(each["address"].partition("/")[0])
                assert each["gateway"] == str(ipaddress.ip_network(each["address"], strict=False)[1])
        addresses = [ipaddress.ip_address(each) for one in given for each in one]
        seen += len(addresses)
        assert [
            each for each in addresses if any(v == each.version and a <= int(each) <= b for v, a, b in blocks)
        ] == []
        if len(found) == 1:
            network = ipaddress.ip_network(cidrs[0])
            usable = [network[index] for index in range(2, network.num_addresses - 1)]
            left = [each for each in usable if not any(v == 4 and a <= int(each) <= b for v, a, b in blocks)]
            assert sorted(addresses, key=int) == left
    assert seen > 700


def test_a_hundred_pods(world: World) -> None:
    """100 pods of a node get none of the excluded addresses of either family, by the cold and by the warm way."""
    items = ["11.0.1.2", "11.0.1.8/29", "11.0.1.60 - 11.0.1.99", "1100:0:0:1::/123", "192.0.2.1", "11.0.2.0/24"]
    config = world.config(exclude=items)
    blocks = exclusion.parse(items, "test")
    given = [ipaddress.ip_interface(each).ip for pod in range(100) for each in world.addresses(config, f"p{pod}")]

    assert len(set(given)) == 200
    assert [each for each in given if any(v == each.version and a <= int(each) <= b for v, a, b in blocks)] == []
    assert world.server.count() == 1


def test_pointers_stay_when_one_is_added(world: World) -> None:
    """After one more exclusion the next pod gets the next address, not the first free one of the range."""
    before = world.config(exclude=["11.0.1.5"])
    assert [world.addresses(before, f"p{pod}")[0] for pod in range(5)] == [f"11.0.1.{n}/24" for n in (2, 3, 4, 6, 7)]
    world.delete(before, "p0")
    after = world.config(exclude=["11.0.1.5", "11.0.1.9", "11.0.1.20-11.0.1.30"])

    assert [world.addresses(after, f"q{pod}")[0] for pod in range(2)] == ["11.0.1.8/24", "11.0.1.10/24"]
    assert world.addresses(after, "q2")[1] == "1100:0:0:1::9/64"
    pointers = [Path(world.path("data/k8snet"), f"last_reserved_ip.{n}").read_text("utf-8") for n in (0, 1)]
    assert pointers == ["11.0.1.11", "1100:0:0:1::9"]


@pytest.mark.parametrize(
    ("exclude", "what"),
    [
        (["11.0.1.0/24"], "'ipam.exclude' leaves no address of 11.0.1.0/24"),
        (["11.0.1.5-1100::5"], "'ipam.exclude': '11.0.1.5-1100::5' is a pair of both IP families"),
        (["everything"], "'ipam.exclude': 'everything' is not an address, a CIDR or FIRST-LAST"),
        ("11.0.1.5", "'ipam.exclude' is not a list of strings"),
    ],
)
def test_wrong_exclude(world: World, exclude: object, what: str) -> None:
    """An error that names the key; nothing is allocated, and DEL still works."""
    config = world.config(exclude=exclude)
    answer = world.add(config)

    assert (answer.status, what in answer.document()["msg"]) == (1, True), answer
    assert world.delete(config).status == 0
    assert world.leases() == []


def test_exclude_and_ipv4_namespaces(world: World) -> None:
    """Both keys at once: pods of other namespaces get an IPv6 address that is not excluded."""
    keys: dict[str, Any] = {"exclude": ["1100:0:0:1::2", "11.0.1.2"], "ipv4-namespaces": ["old-application"]}
    config = world.config(**keys)

    assert world.addresses(config, "new") == ["1100:0:0:1::3/64"]
    assert world.addresses(config, "old", "old-application") == ["1100:0:0:1::4/64", "11.0.1.3/24"]


def test_exclude_and_a_pinned_file(world: World) -> None:
    """Ranges that an operator wrote down are used as they are; exclude beside them is an error, not dropped."""
    world.write("data/kube-node.json", '{"ranges": [[{"subnet": "10.9.0.0/24"}]]}')
    answer = world.add(world.config(exclude=["10.9.0.2"]))

    assert (answer.status, "'ipam.exclude' does not apply" in answer.document()["msg"]) == (1, True)
    assert world.leases() == []


def test_fallback(world: World) -> None:
    """With fallback, a node without the annotation uses its podCIDRs; a node with it does not."""
    config = world.config("net1", annotation=ANNOTATION, fallback="podCIDRs", cacheSeconds=0)
    assert world.addresses(config, "without") == ["11.0.1.2/24", "1100:0:0:1::2/64"]
    world.annotate(ANNOTATION, "172.20.2.0/24")
    assert world.addresses(config, "with") == ["172.20.2.2/24"]
    world.annotate(ANNOTATION, "nonsense")
    assert ANNOTATION in world.add(config, "wrong").document()["msg"]
    world.annotate(ANNOTATION, None)
    assert world.addresses(config, "again") == ["11.0.1.3/24", "1100:0:0:1::3/64"]


def test_fallback_asks_once(world: World) -> None:
    """A node without the annotation is not asked again for each pod, and goes on while the server is away."""
    config = world.config("net1", annotation=ANNOTATION, fallback="podCIDRs")
    world.addresses(config, "one")
    config["ipam"]["x"] = 1  # other bytes: the ordinary path
    world.addresses(config, "two")
    assert world.server.count() == 1

    world.server.stop()
    world.age(3600)
    assert world.addresses(config, "three") == ["11.0.1.4/24", "1100:0:0:1::4/64"]


def test_fallback_of_a_node_without_podcidrs(world: World) -> None:
    """A node that has the annotation alone is fine; one that has neither gets the error for podCIDRs."""
    world.node["spec"] = {}
    config = world.config("net1", annotation=ANNOTATION, fallback="podCIDRs", cacheSeconds=0)
    assert "No spec.podCIDRs found" in world.add(config, "neither").document()["msg"]
    world.annotate(ANNOTATION, "172.20.2.0/24")
    assert world.addresses(config, "one") == ["172.20.2.2/24"]


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"fallback": "podCIDRs"}, "'ipam.fallback' goes with 'ipam.annotation'"),
        ({"annotation": ANNOTATION, "fallback": "podcidrs"}, "'ipam.fallback' is not \"podCIDRs\": 'podcidrs'"),
        ({"annotation": ANNOTATION, "fallback": True}, "'ipam.fallback' is not a string"),
        ({"annotation": ANNOTATION}, f"Annotation not found: {ANNOTATION}"),
    ],
)
def test_wrong_fallback(world: World, keys: dict[str, Any], what: str) -> None:
    """Without annotation, with another value, and without fallback: an error."""
    answer = world.add(world.config("net1", **keys))

    assert (answer.status, what in answer.document()["msg"]) == (1, True), answer
    assert world.leases("net1") == []


def test_several_cidrs_of_one_family(world: World) -> None:
    """An address comes from the first CIDR with room; one that is appended changes neither order nor pointers."""
    config = world.config("net1", annotation=ANNOTATION, cacheSeconds=0)
    world.annotate(ANNOTATION, "172.20.2.0/29,fd00::2:0:0/96")
    first = [world.addresses(config, f"p{pod}") for pod in range(5)]
    assert first == [[f"172.20.2.{n}/29", f"fd00::2:0:{n}/96"] for n in range(2, 7)]
    assert "no IP addresses available" in world.add(config, "full").document()["msg"]

    world.annotate(ANNOTATION, "172.20.2.0/29,172.20.9.0/29,fd00::2:0:0/96")
    assert world.addresses(config, "p5") == ["172.20.9.2/29", "fd00::2:0:7/96"]
    assert world.addresses(config, "p6") == ["172.20.9.3/29", "fd00::2:0:8/96"]
    assert world.delete(config, "p1").status == 0
    for pod in range(7, 10):
        world.addresses(config, f"p{pod}")
    assert world.addresses(config, "p10")[0] == "172.20.2.3/29"  # the one that was released, when its turn comes
    for pod in range(11):
        assert world.delete(config, f"p{pod}").status == 0
    assert world.leases("net1") == []


def test_overlapping_cidrs(world: World) -> None:
    """Two CIDRs with the same address would give it to two pods."""
    world.annotate(ANNOTATION, "172.20.0.0/16,fd00::/64,172.20.9.0/24")
    answer = world.add(world.config("net1", annotation=ANNOTATION))

    assert (answer.status, answer.document()["code"]) == (1, 100)
    assert "172.20.0.0/16 and 172.20.9.0/24 overlap" in answer.document()["msg"]
    assert "remove 172.20.9.0/24" in answer.document()["details"]
    assert not os.path.exists(world.path("data/net1"))
