"""README's networks serve pods, and its commands print what it shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import readme
from tests.support.apiserver import ApiServer
from tests.support.dist import DIST
from tests.support.netns import kernel_has, need, require
from tests.support.nodes import make_node
from tests.support.readmescene import BIN, CONF, NODE, PODCIDRS, RELEASE, STATE, Scene
from tests.support.runtime import Config, Pod

K8SNET, NET1, MYNET = (f"{CONF}/{name}" for name in ("10-k8snet.conflist", "20-net1.conf", "30-mynet.conf"))
ANNOTATED = {NET1: ["172.20.2.", "fd00::2:0:"], MYNET: ["172.16.5."], K8SNET: ["11.0.1.", "1100:0:0:1::"]}
HOUR = 3600.0


@pytest.fixture
def node() -> Iterator[Scene]:
    """README's node, before the plugin is installed."""
    require("busybox")
    with Scene() as made:
        yield made


@pytest.fixture
def scene(node: Scene) -> Scene:
    """README's node, the plugin installed and the networks configured."""
    assert node.shell("./node-ipam.pyz install", RELEASE).returncode == 0
    node.configure()
    return node


def config(path: str) -> Config:
    """A network file of README's."""
    found: Config = json.loads(readme.files()[path])
    return found


def ipam_of(found: Config) -> Config:
    """The ipam of a configuration or list."""
    return dict((found.get("plugins") or [found])[0]["ipam"])


def with_ipam(found: Config, ipam: Config) -> Config:
    """A list with another ipam in its first plugin."""
    first, *others = found["plugins"]
    return {**found, "plugins": [{**first, "ipam": ipam}, *others]}


def serve(scene: Scene, network: Config, prefixes: list[str], pod: Pod) -> None:
    """ADD, CHECK and DEL a pod: an address of each range, and no lease left."""
    added = scene.call("ADD", network, pod)
    assert added.status == 0, added
    given = [each["address"] for each in added.document()["ips"]]
    assert [address.startswith(prefix) for address, prefix in zip(given, prefixes, strict=True)] == [True] * len(given)
    assert len(scene.leases(network)) == len(prefixes)
    assert scene.call("CHECK", network, pod).status == 0
    assert scene.call("DEL", network, pod).status == 0
    assert scene.leases(network) == []


def test_all_files_are_tested() -> None:
    """README has these network files and one ipam, and no other JSON."""
    documents = [json.loads(block.text) for block in readme.blocks() if block.language == "json"]

    assert list(readme.files()) == [K8SNET, NET1, MYNET]
    assert [each["type"] for each in documents if "name" not in each] == ["kube-node"]
    assert len(documents) == 4


@pytest.mark.parametrize("path", [K8SNET, NET1])
def test_networks(scene: Scene, path: str) -> None:
    """The networks with a bridge serve a pod, as README has them."""
    serve(scene, config(path), ANNOTATED[path], scene.pod("web-0"))


@pytest.mark.parametrize(("path", "has_gateway"), [(K8SNET, True), (NET1, False)])
def test_pods_reach_each_other(scene: Scene, path: str, has_gateway: bool) -> None:
    """Two pods of this node, in both families; the main network has a default route, the secondary one has none."""
    addresses = [add(scene, config(path), name) for name in ("one", "two")]

    for address in addresses[1]:
        ping(scene, "one", address)
    assert ("default" in scene.machine.run("ip", "-n", "one", "route")) is has_gateway


def test_appended_cidr(scene: Scene) -> None:
    """A pod of the appended CIDR and one of the first reach each other, by the route that README shows."""
    network = config(NET1)
    (route,) = re.findall(r'`("routes": [^`]+)`', readme.section("2. A secondary network: an annotation"))
    network["ipam"] |= json.loads(f"{{{route}}}")
    scene.server.annotate(NODE, "kube-node.nordix.org/net1", "172.20.2.0/30,172.20.9.0/24")

    addresses = [add(scene, network, name) for name in ("one", "two")]

    assert addresses == [["172.20.2.2"], ["172.20.9.2"]]
    ping(scene, "one", "172.20.9.2")


def add(scene: Scene, network: Config, name: str) -> list[str]:
    """Start a pod; return its addresses."""
    added = scene.call("ADD", network, scene.pod(name))
    assert added.status == 0, added
    return [each["address"].partition("/")[0] for each in added.document()["ips"]]


def ping(scene: Scene, name: str, address: str) -> None:
    """Get an answer from an address in a pod's network namespace. Raises OSError."""
    scene.machine.run(*f"ip netns exec {name} busybox ping -c 1 -W 5 {address}".split())


def test_ipvlan(scene: Scene) -> None:
    """The network with ipvlan serves a pod; its ipam does so alone if this kernel has no ipvlan."""
    network = config(MYNET)
    if kernel_has("ipvlan"):
        scene.machine.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
    else:
        network = {**network, "type": "node-annotation"}
    serve(scene, network, ANNOTATED[MYNET], scene.pod("web-0"))


def test_ipv4_for_some_namespaces(scene: Scene) -> None:
    """The ipam that README shows gives IPv4 to that namespace alone, after IPv6; excluded addresses are not given."""
    (ipam,) = [json.loads(block.text) for block in readme.blocks() if block.language == "json"][-1:]
    network = with_ipam(config(K8SNET), ipam)
    scene.machine.run("ip", "netns", "add", "app")
    (namespace,) = ipam["ipv4-namespaces"]

    serve(scene, network, ANNOTATED[K8SNET][1:], Pod("app", "default"))
    serve(scene, network, ANNOTATED[K8SNET][::-1], Pod("app", namespace))
    for number in range(3):
        assert scene.call("ADD", network, Pod(scene.pod(f"pod-{number}").name, namespace)).status == 0
    given = [name for name in scene.leases(network) if ":" not in name]
    assert given == ["11.0.1.3", "11.0.1.4", "11.0.1.6"]  # 11.0.1.2 was given before, 11.0.1.5 is excluded


def test_routes_and_masquerade(scene: Scene) -> None:
    """With README's route a pod reaches another node's; with its rule also a machine that has no route to the pod."""
    need("iptables")
    route, rule = re.findall(r"`((?:ip route add|iptables) [^`]+)`", readme.section("1. The main network: podCIDRs"))
    scene.pod("other")
    for command in (
        "ip link add eth0 type veth peer name eth0 netns other",
        "ip address add 192.168.1.2/24 dev eth0",
        "ip link set eth0 up",
        "ip -n other address add 192.168.1.3/24 dev eth0",
        "ip -n other address add 11.0.2.1/24 dev lo",
        "ip -n other address add 203.0.113.1/24 dev lo",
        "ip -n other link set eth0 up",
        "ip -n other route add 11.0.1.0/24 via 192.168.1.2",
    ):
        scene.machine.run(*command.split())
    add(scene, config(K8SNET), "web-0")

    scene.machine.run(*route.split())
    ping(scene, "web-0", "11.0.2.1")
    scene.machine.run("ip", "-n", "other", "route", "del", "11.0.1.0/24")
    scene.machine.run("ip", "route", "add", "203.0.113.0/24", "via", "192.168.1.3")
    scene.machine.run(*rule.split())
    ping(scene, "web-0", "203.0.113.1")


def test_pod_cidrs(scene: Scene) -> None:
    """The Node has the podCIDRs that README shows."""
    shown = readme.output(f"kubectl get node {NODE} -o jsonpath={{.spec.podCIDRs}}")

    assert json.loads(shown) == list(PODCIDRS) == scene.server.nodes[NODE]["spec"]["podCIDRs"]


def check(scene: Scene, command: str, directory: str = "/", status: int = 0) -> None:
    """Run a command that README shows, and compare its output."""
    done = scene.shell(command, directory)

    assert readme.is_output(readme.output(command), done.stdout + done.stderr), done.stdout + done.stderr
    assert done.returncode == status


def operate(scene: Scene) -> dict[str, Pod]:
    """Five pods run on k8snet and one of them on net1; one then ends without a DEL, and host-local leaves a file."""
    pods = {name: scene.pod(name) for name in ("web-0", "web-1", "web-2", "web-3", "web-4")}
    for pod in pods.values():
        assert scene.call("ADD", config(K8SNET), pod).status == 0
    assert scene.call("ADD", config(NET1), Pod("web-0", interface="net1")).status == 0
    scene.end(pods["web-1"])
    for address in scene.leases(config(K8SNET), pods["web-1"]):
        scene.lease("k8snet", address, age=26 * HOUR)
    scene.lease("k8snet", "11.0.1.9", age=25 * HOUR)
    return pods


def test_day_two(scene: Scene) -> None:
    """doctor, leases, gc and explain print what README shows."""
    operate(scene)
    tool = f"{BIN}/node-ipam.pyz"

    for command in ("doctor k8snet", "leases", "gc", "explain net1"):
        check(scene, f"{tool} {command}")


def test_remove(scene: Scene) -> None:
    """README's steps, after the drain of which each pod's DEL is the part that matters here, leave nothing."""
    assert scene.shell("rm -r /run/node-ipam").returncode == 0  # as a reboot does: the next ADD stores the byte code
    pods = operate(scene)
    for name in ("web-2", "web-3", "web-4"):
        assert scene.call("DEL", config(K8SNET), pods[name]).status == 0
    drain, collect, *others = [line for line in readme.commands() if re.match(r"kubectl drain|rm |/opt/cni/bin/", line)]
    assert drain.startswith("kubectl drain ")
    assert scene.call("DEL", config(NET1), Pod("web-0", interface="net1")).status == 0
    assert scene.shell(collect).returncode == 0
    check(scene, f"{BIN}/node-ipam.pyz uninstall", status=1)
    assert scene.call("DEL", config(K8SNET), pods["web-0"]).status == 0
    assert scene.shell("rm -f /etc/cni/net.d/20-* /etc/cni/net.d/30-*").returncode == 0

    for step in others:
        assert scene.shell(step).returncode == 0, step

    names = os.listdir(scene.file(BIN))
    assert [name for name in names if "node" in name] == []
    assert os.listdir(scene.file("/etc/cni/net.d")) == []
    assert os.path.isdir(scene.file(STATE))
    assert not os.path.exists(scene.file("/run/node-ipam"))


def test_install(node: Scene) -> None:
    """install prints what README shows, and puts the released bytes in place."""
    check(node, "./node-ipam.pyz install", RELEASE)

    assert node.shell(f"cmp {RELEASE}/node-ipam.pyz {BIN}/node-ipam.pyz").returncode == 0


def test_plain_commands(node: Scene) -> None:
    """What README gives instead of install makes the same files, and pods start."""
    for command in (line for line in readme.commands() if line.startswith(("install -m", "ln -sf"))):
        assert node.shell(command, RELEASE).returncode == 0
    node.configure()

    names = sorted(name for name in os.listdir(node.file(BIN)) if "node" in name)
    assert names == ["kube-node", "node-annotation", "node-ipam.pyz"]
    serve(node, config(K8SNET), ANNOTATED[K8SNET], node.pod("web-0"))


def test_ranges(tmp_path: Path) -> None:
    """ranges assign and ranges print what README shows, in a cluster of three nodes, one of them annotated before."""
    (tmp_path / ".kube").mkdir()
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    (annotate,) = [line for line in readme.commands() if line.startswith(f"kubectl annotate node {NODE} kube-node.")]
    name, _, value = annotate.split()[4].partition("=")
    with ApiServer() as server:
        server.service_cidrs = ["10.96.0.0/16"]
        server.write_kubeconfig(tmp_path / ".kube" / "config")
        for number in (1, 2, 3):
            server.add(make_node(f"vm-00{number}", (f"11.0.{number - 1}.0/24", f"1100:0:0:{number + 0xF:x}::/64")))
        server.annotate(NODE, name, value)

        for shown in (each for each in readme.shown() if "ranges" in each.command and each.prompt == "$"):
            argv = ["sh", "-c", shown.command]
            done = subprocess.run(argv, cwd=DIST, env=environ, capture_output=True, text=True, check=False)
            assert readme.is_output(shown.output, done.stdout + done.stderr), done.stdout + done.stderr
            assert done.returncode == 0


def test_all_outputs_are_tested() -> None:
    """Every command with output that README shows is in one of these tests."""
    commands = [each.command for each in readme.shown()]
    tool = f"{BIN}/node-ipam.pyz"
    wanted = ["./node-ipam.pyz install", f"kubectl get node {NODE} -o jsonpath={{.spec.podCIDRs}}"]
    ranges = [command for command in commands if command.startswith("./node-ipam.pyz ranges")]
    wanted += [*ranges, *(f"{tool} {name}" for name in ("doctor k8snet", "leases", "gc", "explain net1", "uninstall"))]

    assert len(ranges) == 2
    assert commands == wanted
