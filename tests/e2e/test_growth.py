"""A range that is full grows by a CIDR that is appended to the annotation, through the real bridge."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.test_main_plugins import Cluster, alone, cluster, namespaces  # noqa: F401
from tests.support.apiserver import authenticated
from tests.support.budget import TIMES
from tests.support.dist import ARCHIVE
from tests.support.world import NODE

ANNOTATION = "kube-node.nordix.org/net1"


def test_a_full_range_grows(cluster: Cluster) -> None:  # noqa: F811
    """252 pods, an appended CIDR, the pods after that, and the DEL of all: no lease is left, the pointer went on.

    Every twentieth pod goes through the bridge, all of them with FUZZ=2; the others call the IPAM plugin directly.
    """
    world = cluster.world
    world.annotate(ANNOTATION, "172.20.2.0/24")
    config = {**cluster.network("bridge", "net1", annotation=ANNOTATION), "isDefaultGateway": False}
    pods = [(f"pod-{number}", f"eth{number}") for number in range(256)]
    sandbox = cluster.sandbox("all")
    cluster.sandboxes.update({name: sandbox for name, _ in pods})  # one network namespace, an interface for each pod
    step = 1 if TIMES > 1 else 20
    through = {
        name: config if number % step == 0 or number > 251 else alone(config) for number, (name, _) in enumerate(pods)
    }

    for name, interface in pods[:252]:
        cluster.add(through[name], name, interface)
    assert len(world.leases("net1")) == 252
    pointer = Path(world.path("data/net1/last_reserved_ip.0"))
    assert pointer.read_text(encoding="utf-8") == "172.20.2.253"
    grow(cluster, "172.20.9.0/24")
    world.age(3600)

    given = [cluster.add(through[name], name, interface)[0] for name, interface in pods[252:]]
    assert given == ["172.20.2.254", "172.20.9.2", "172.20.9.3", "172.20.9.4"]
    assert pointer.read_text(encoding="utf-8") == "172.20.9.4"
    assert sandbox.links() == {interface for name, interface in pods if "type" in through[name]}
    for name, interface in pods:
        assert cluster.run("DEL", through[name], name, interface).status == 0
    assert world.leases("net1") == []
    assert sandbox.links() == set()


def grow(cluster: Cluster, pool: str) -> None:  # noqa: F811
    """Append the next free block of this pool to the node's annotation, as an administrator does."""
    world, server = cluster.world, cluster.world.server
    rule, server.rule = server.rule, authenticated
    environ = {**os.environ, "KUBECONFIG": server.write_kubeconfig(world.path("admin"), "token", "admin")}
    command = [
        *cluster.node.enter,
        ARCHIVE,
        "ranges",
        "assign",
        "--annotation",
        ANNOTATION,
        "--cluster-cidr",
        pool,
        "--grow",
        NODE,
        "--yes",
    ]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    server.rule = rule
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"assigned: {NODE} {ANNOTATION}=172.20.2.0/24,{pool}\n")


def test_a_gateway_on_the_bridge(cluster: Cluster) -> None:  # noqa: F811
    """A bridge with a gateway has one IPv4 address: the log says before it happens that it refuses the second CIDR."""
    world = cluster.world
    world.annotate(ANNOTATION, "172.20.2.0/30,172.20.9.0/30")
    config = cluster.network("bridge", "net1", annotation=ANNOTATION)
    config["ipam"]["logfile"] = world.path("log")
    warned = "serves one IPv4 subnet only; ADD will fail for addresses of 172.20.9.0/30"

    assert cluster.add(config, "one") == ["172.20.2.2"]
    second = cluster.run("ADD", config, "two")
    assert "already has an IP address different from 172.20.9.1/30" in second.document()["msg"]
    assert Path(world.path("log")).read_text(encoding="utf-8").count(warned) == 1
    assert world.leases("net1") == ["172.20.2.2"]

    world.annotate(ANNOTATION, "172.20.2.0/30,fd00:2::/126,fd00:9::/126")  # several IPv6 addresses are no matter
    world.age(3600)
    cluster.run("DEL", config, "one")
    assert cluster.add(config, "three") == ["172.20.2.2", "fd00:2::2"]
    cluster.run("DEL", config, "three")
    assert cluster.add(config, "four") == ["172.20.2.2", "fd00:2::3"]
    cluster.run("DEL", config, "four")
    assert cluster.add(config, "five") == ["172.20.2.2", "fd00:9::2"]


@pytest.mark.parametrize("how", ["podCIDRs", "annotation"])
def test_another_range_on_a_bridge(cluster: Cluster, how: str) -> None:  # noqa: F811
    """When a range changes, the log says what a bridge with a gateway needs; that done, pods get the new range."""
    world = cluster.world
    world.annotate(ANNOTATION, "11.0.1.0/24")
    world.node["spec"]["podCIDRs"] = ["11.0.1.0/24"]
    keys = {"annotation": ANNOTATION} if how == "annotation" else {}
    config = cluster.network("bridge", "net1", logfile=world.path("log"), **keys)
    assert cluster.add(config, "one") == ["11.0.1.2"]
    assert cluster.run("DEL", config, "one").status == 0

    if how == "annotation":
        world.annotate(ANNOTATION, "11.0.7.0/24")
    else:
        world.node["spec"]["podCIDRs"] = ["11.0.7.0/24"]
    world.age(3600)
    assert "already has an IP address different from 11.0.7.1/24" in cluster.run("ADD", config, "two").document()["msg"]
    lines = Path(world.path("log")).read_text(encoding="utf-8").splitlines()
    told = [line for line in lines if "11.0.7.0/24" in line and "ip link del BRIDGE" in line]
    assert ["annotation changed" in line for line in told] == [how == "annotation"]

    cluster.node.run("ip", "link", "del", "br-net1")
    assert cluster.add(config, "three") == ["11.0.7.3"]
