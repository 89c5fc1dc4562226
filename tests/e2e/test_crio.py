"""CRI-O's habits: CHECK after each ADD, STATUS until it is ready and again and again, GC when it starts.

https://github.com/cri-o/ocicni/blob/main/pkg/ocicni/ocicni.go
https://github.com/containernetworking/cni/blob/main/libcni/api.go: GCNetworkList
"""

from __future__ import annotations

import os

import pytest

from tests.support.runtime import Answer, Config, Pod
from tests.support.world import World

ANNOTATION = "example.com/net"
KINDS = ("podCIDRs", "annotation", "node-annotation")
VERSIONS = ("0.4.0", "1.0.0", "1.1.0")
TABLE = [(kind, version) for kind in KINDS for version in VERSIONS]


def configured(world: World, kind: str, version: str) -> Config:
    """Return a network whose ranges are from podCIDRs, or from an annotation of either type."""
    if kind == "podCIDRs":
        return world.config(version=version)
    if kind == "annotation":
        world.annotate(ANNOTATION, "11.0.1.0/24,1100:0:0:1::/64")
        return world.config(version=version, annotation=ANNOTATION)
    ranges = '"ranges": [[{"subnet": "11.0.1.0/24"}], [{"subnet": "1100:0:0:1::/64"}]]'
    world.annotate(ANNOTATION, f'{ranges}, "dataDir": "{world.path("data")}"')
    return world.annotated("k8snet", ANNOTATION, version=version)


def collect(world: World, config: Config, living: list[Pod], known: list[Pod]) -> list[Answer]:
    """Do what libcni's GC does: DEL of each cached attachment that is not valid, then GC if the version has it."""
    answers = [world.runtime.run("DEL", config, pod, CNI_NETNS="") for pod in known if pod not in living]
    if config["cniVersion"] == "1.1.0":
        valid = [{"containerID": pod.container, "ifname": pod.interface} for pod in living]
        gc = {**config, "cni.dev/valid-attachments": valid, "cni.dev/attachments": valid}
        answers.append(world.runtime.run("GC", gc))
    return answers


@pytest.mark.parametrize(("kind", "version"), TABLE)
def test_check_after_each_add(world: World, kind: str, version: str) -> None:
    """Each ADD's result has the version of its configuration, CHECK accepts it, and all of it takes one GET."""
    config = configured(world, kind, version)
    for name in ("one", "two", "three"):
        added = world.add(config, name).document()
        checked = world.runtime.run("CHECK", config, Pod(name))

        assert (added["cniVersion"], len(added["ips"])) == (version, 2)
        assert (checked.status, checked.stdout) == (0, b""), checked
    assert world.server.count() == 1


@pytest.mark.parametrize(("kind", "version"), TABLE)
def test_check_without_server(world: World, kind: str, version: str) -> None:
    """CHECK needs no server, however old the facts are; it fails if the lease is gone."""
    config = configured(world, kind, version)
    world.addresses(config)
    world.age(3600)
    world.server.connections = 0
    assert world.runtime.run("CHECK", config, Pod("web-0")).status == 0
    for address in world.leases():
        os.unlink(os.path.join(world.path("data"), "k8snet", address))
    assert world.runtime.run("CHECK", config, Pod("web-0")).document()["code"]
    assert world.server.connections == 0


@pytest.mark.parametrize(("kind", "version"), TABLE)
def test_gc_at_start(world: World, kind: str, version: str) -> None:
    """GC releases dead pods' leases without server and kubeconfig; in 1.1 also those that libcni has lost."""
    config = configured(world, kind, version)
    living, dead, lost = Pod("living"), Pod("dead"), Pod("lost")
    kept = [address.partition("/")[0] for address in world.addresses(config, living.name)]
    for pod in (dead, lost):
        world.addresses(config, pod.name)
    world.server.stop()
    os.unlink(world.kubeconfig)

    assert [answer.status for answer in collect(world, config, [living], [living, dead])] in ([0], [0, 0])
    if version == "1.1.0":
        assert world.leases() == sorted(kept)
    else:
        assert len(world.leases()) == 4
        assert set(world.leases()) > set(kept)


@pytest.mark.parametrize("kind", KINDS)
def test_status_until_ready(world: World, kind: str) -> None:
    """Repeated STATUS queries the server once in cacheSeconds, and succeeds if an ADD would."""
    config = configured(world, kind, "1.1.0")
    answers = [world.runtime.run("STATUS", config) for _ in range(5)]

    assert [(answer.status, answer.stdout) for answer in answers] == [(0, b"")] * 5
    assert world.server.count() == 1
    assert world.addresses(config) == ["11.0.1.2/24", "1100:0:0:1::2/64"]
    assert world.server.count() == 1
