"""A7: an address that a living attachment of this machine holds in another store is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time

import pytest

from tests.faults.test_leases import MAY_MOUNT, replace_host_local
from tests.support.runtime import Answer, Config, Pod
from tests.support.world import World

ANNOTATION = "example.com/ranges"
ONE, TWO = Pod("one"), Pod("two")


def add(world: World, config: Config, pod: Pod) -> Answer:
    """ADD for a pod; fails if it fails."""
    answer = world.runtime.run("ADD", config, pod)
    assert answer.status == 0, answer
    return answer


def annotate(world: World, data: str, subnet: str = "10.7.0.0/24") -> Config:
    """A network of node-annotation whose annotation names this dataDir."""
    path = json.dumps(world.path(data))
    world.annotate(ANNOTATION, f'ranges: [[{{"subnet": "{subnet}"}}]], dataDir: {path}')
    return world.annotated("faults-net", ANNOTATION, cacheSeconds=0)


def refused(world: World, config: Config, pod: Pod, other: str) -> None:
    """ADD is refused, names both stores, and leaves no lease."""
    answer = world.runtime.run("ADD", config, pod)
    assert answer.status == 1, answer
    document = answer.document()
    assert "is in use" in document["msg"] and world.path(other) in document["msg"] and document["details"]


def test_data_dir_of_an_annotation_changes(world: World) -> None:
    """The annotation names another dataDir while a pod lives; the next pod does not get the living pod's address."""
    add(world, annotate(world, "first"), ONE)
    config = annotate(world, "second")
    refused(world, config, TWO, "first")
    assert world.leases("faults-net", "second") == []
    assert world.runtime.run("DEL", config, TWO).status == 0
    assert world.runtime.run("DEL", config, ONE).status == 0
    assert world.leases("faults-net", "first") == []
    add(world, config, TWO)


@pytest.mark.parametrize("warm", [False, True])
def test_two_networks_with_one_range(world: World, warm: bool) -> None:
    """Two networks share a range; also where one of them takes the warm path."""
    one, two = (world.config(name, dataDir=world.path(name)) for name in ("one", "two"))
    if warm:
        for config in (one, two, one, two):
            add(world, config, Pod("before"))
            assert world.runtime.run("DEL", config, Pod("before")).status == 0
        for name in ("one", "two"):  # start again at the first address
            shutil.rmtree(world.path(f"{name}/{name}"))
    add(world, one, ONE)
    refused(world, two, TWO, "one")
    assert world.leases("two", "two") == []
    assert world.runtime.run("DEL", one, ONE).status == 0
    assert world.runtime.run("DEL", two, TWO).status == 0
    add(world, two, Pod("three"))


@pytest.mark.parametrize("warm", [False, True])
def test_link_that_leads_nowhere(world: World, warm: bool) -> None:
    """A link in place of a lease holds its address in both paths: to the host-local of that store it is taken."""
    one, two = (world.config(name, dataDir=world.path(name)) for name in ("one", "two"))
    for config in (one, two) * (1 + warm):
        add(world, config, Pod("before"))
        assert world.runtime.run("DEL", config, Pod("before")).status == 0
    shutil.rmtree(world.path("two/two"))  # start again at the first address
    if not warm:
        shutil.rmtree(world.cache)
        add(world, one, ONE)  # so that the store is known
    os.symlink("nowhere", world.path("one/one/11.0.1.2"))
    refused(world, two, TWO, "one")
    assert world.leases("two", "two") == []


def test_data_dir_is_written_into_the_configuration(world: World) -> None:
    """F10: a kube-node network had host-local's default dataDir, and gets one while a pod lives."""
    store = "/var/lib/cni/networks/faults-net"
    add(world, world.config("faults-net", dataDir=None), ONE)
    answer = world.runtime.run("ADD", world.config("faults-net"), TWO)
    assert (answer.status, store in answer.stdout.decode()) == (1, True)
    assert world.runtime.run("DEL", world.config("faults-net"), ONE).status == 0
    assert not [name for name in os.listdir(store) if "." in name and "_" not in name]


def test_same_attachment_in_another_store(world: World) -> None:
    """An attachment with a lease in one store gets none in another: its DEL would free one of them only."""
    add(world, annotate(world, "first"), ONE)
    config = annotate(world, "second", "10.8.0.0/24")
    answer = world.runtime.run("ADD", config, ONE)
    assert answer.status == 1
    assert "duplicate allocation" in answer.document()["msg"]
    assert len(world.leases("faults-net", "first")) == 1
    assert world.runtime.run("DEL", config, ONE).status == 0
    assert world.leases("faults-net", "first") == []


def test_one_store_by_two_names(world: World) -> None:
    """A dataDir that is reached by a link is the same store: nothing is in the way."""
    os.makedirs(world.path("data"))
    os.symlink(world.path("data"), world.path("link"))
    add(world, world.config("faults-net"), ONE)
    for number in range(3):
        add(world, world.config("faults-net", dataDir=world.path("link")), Pod(f"pod-{number}"))


def test_dead_holder(world: World) -> None:
    """A lease of a container that is certainly gone is in nobody's way."""
    add(world, annotate(world, "first"), ONE)
    (lease,) = world.leases("faults-net", "first")
    os.utime(world.path(f"first/faults-net/{lease}"), (time.time() - 90000,) * 2)
    for name in os.listdir(world.cache):  # as recorded long ago
        if name.startswith("at:"):
            path = os.path.join(world.cache, name)
            used, _, netns = os.readlink(path).split()
            os.unlink(path)
            os.symlink(f"{used} 1 {netns}", path)
    add(world, annotate(world, "second"), TWO)


@pytest.mark.parametrize("warm", [False, True])
def test_new_store_meanwhile(world: World, warm: bool) -> None:
    """The first ADD of another network with the same range comes between an ADD's start and its host-local."""
    one, two = (world.config(name, dataDir=world.path(name)) for name in ("one", "two"))
    replace_host_local(world, 'exec "$real"')
    if warm:
        for _ in range(2):
            add(world, one, Pod("before"))
            assert world.runtime.run("DEL", one, Pod("before")).status == 0
        shutil.rmtree(world.path("one/one"))  # start again at the first address
    call = world.runtime.call("ADD", two, TWO)
    request = world.write("request", call.stdin.decode())
    first, out = world.path("first"), world.path("out")
    variables = " ".join(f"{name}='{value}'" for name, value in call.environ.items())
    meanwhile = f"env {variables} {call.argv[0]} < {request} > {out}"
    replace_host_local(world, f'if mkdir {first} 2>/dev/null; then {meanwhile}; fi; exec "$real"')
    answer = world.runtime.run("ADD", one, ONE)
    with open(out, encoding="utf-8") as file:
        assert "ips" in json.load(file)
    assert (answer.status, "is in use" in answer.stdout.decode()) == (1, True), answer
    assert world.leases("one", "one") == []
    assert world.leases("two", "two") == ["11.0.1.2", "1100:0:0:1::2"]


@pytest.mark.skipif(not MAY_MOUNT, reason="needs mounts")
def test_new_store_and_a_full_cache(world: World) -> None:
    """The cache has room for the record of a new store, and no more; then a pod goes, and the warm path has room."""
    os.mkdir(world.cache)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=700", "small", world.cache], check=True)
    try:
        one, two = (world.config(name, dataDir=world.path(name)) for name in ("one", "two"))
        for _ in range(2):
            add(world, one, Pod("before"))
            assert world.runtime.run("DEL", one, Pod("before")).status == 0
        shutil.rmtree(world.path("one/one"))  # start again at the first address
        used = os.statvfs(world.cache)
        few = used.f_files - used.f_ffree + 1
        subprocess.run(["mount", "-o", f"remount,nr_inodes={few}", world.cache], check=True)
        add(world, two, TWO)
        subprocess.run(["mount", "-o", f"remount,nr_inodes={few + 5}", world.cache], check=True)
        refused(world, one, ONE, "two")
    finally:
        subprocess.run(["umount", world.cache], check=True)
