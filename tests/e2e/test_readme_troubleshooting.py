"""Each row of README's table of errors: what breaks a node in that way, what a pod then gets, and what doctor finds."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.support import readme
from tests.support.netns import require
from tests.support.readmescene import BIN, CONF, KUBECONFIG, NODE, RELEASE, STATE, Scene
from tests.support.rules import authenticated, rbac_nothing
from tests.support.runtime import Config, Pod

K8SNET, NET1 = f"{CONF}/10-k8snet.conflist", f"{CONF}/20-net1.conf"
ROWS = {row[1]: row for row in readme.table(readme.section("Troubleshooting"))}
STATUS_CODE = 50


class Situation(NamedTuple):
    """What breaks the node, given its network; it may change that. status: whether STATUS returns the error, too."""

    network: str
    break_it: Callable[[Scene, Config], None]
    status: bool = True


def an_unsupported_version(scene: Scene, network: Config) -> None:
    """A list of 1.1.0 with plugins of 1.0.0."""
    network["cniVersion"] = "1.1.0"
    scene.write(K8SNET, json.dumps(network).encode())


def a_misspelt_key(scene: Scene, network: Config) -> None:
    """One letter is missing."""
    network["ipam"]["annotaton"] = network["ipam"].pop("annotation")
    scene.write(NET1, json.dumps(network).encode())


def a_file_of_a_user(scene: Scene, _network: Config) -> None:
    """The kubeconfig belongs to an ordinary user."""
    os.chown(scene.file(KUBECONFIG), 1000, 1000)


def no_server(scene: Scene, _network: Config) -> None:
    """Nothing listens there."""
    scene.server.stop()


def no_pod_cidrs(scene: Scene, _network: Config) -> None:
    """The controller has assigned none."""
    scene.server.nodes[NODE]["spec"] = {}


def a_damaged_file(scene: Scene, _network: Config) -> None:
    """The file is cut short."""
    os.truncate(scene.file(f"{BIN}/node-ipam.pyz"), 1000000)


def another_data_dir(scene: Scene, network: Config) -> None:
    """dataDir was changed while a pod runs."""
    assert scene.call("ADD", network, scene.pod("old")).status == 0
    network["plugins"][0]["ipam"]["dataDir"] = "/run/elsewhere"
    scene.write(K8SNET, json.dumps(network).encode())


def no_kubeconfig(scene: Scene, _network: Config) -> None:
    """There is none in any of the places."""
    os.unlink(scene.file(KUBECONFIG))


def an_unknown_token(scene: Scene, _network: Config) -> None:
    """The server does not know it."""
    kubeconfig = scene.server.kubeconfig("token")
    kubeconfig["users"][0]["user"]["token"] = "expired"
    scene.kubeconfig(kubeconfig)


def no_permission(scene: Scene, _network: Config) -> None:
    """No role."""
    scene.server.rule = rbac_nothing


def no_node_name(scene: Scene, _network: Config) -> None:
    """An account that may read all Nodes, none of which is this machine's."""
    scene.kubeconfig(scene.server.kubeconfig("token"))
    scene.server.rule = authenticated
    scene.server.nodes[NODE]["status"]["nodeInfo"]["machineID"] = "a" * 32


def no_annotation(scene: Scene, _network: Config) -> None:
    """It was removed before the first pod."""
    scene.server.annotate(NODE, "kube-node.nordix.org/net1", None)


def host_bits(scene: Scene, _network: Config) -> None:
    """The annotation holds an address in place of a network."""
    scene.server.annotate(NODE, "kube-node.nordix.org/net1", "172.20.2.5/24")


def no_host_local(scene: Scene, _network: Config) -> None:
    """The reference plugins are not all there."""
    os.unlink(scene.file(f"{BIN}/host-local"))


def a_full_range(scene: Scene, network: Config) -> None:
    """There is one address, and a pod has it."""
    scene.server.annotate(NODE, "kube-node.nordix.org/net1", "172.20.2.0/30")
    assert scene.call("ADD", network, scene.pod("old")).status == 0


def another_range(scene: Scene, network: Config) -> None:
    """The Node has another range than the bridge."""
    old = scene.pod("old")
    assert scene.call("ADD", network, old).status == 0
    assert scene.call("DEL", network, old).status == 0
    scene.server.nodes[NODE]["spec"] = {"podCIDR": "11.0.7.0/24", "podCIDRs": ["11.0.7.0/24"]}
    assert scene.shell("rm -r /run/node-ipam").returncode == 0


def a_proxy(scene: Scene, _network: Config) -> None:
    """The runtime has a proxy, for its images."""
    kubeconfig = scene.server.kubeconfig("token")
    kubeconfig["clusters"][0]["cluster"]["server"] = "https://192.168.1.2:6443"
    scene.kubeconfig(kubeconfig)
    scene.environ["HTTPS_PROXY"] = "http://127.0.0.1:1"


SITUATIONS = {
    "`incompatible CNI versions`": Situation(K8SNET, an_unsupported_version, status=False),
    "`is not a key of this plugin`": Situation(NET1, a_misspelt_key),
    "`is not used, because`": Situation(K8SNET, a_file_of_a_user),
    "`connection refused`": Situation(K8SNET, no_server),
    "`No spec.podCIDRs found on node`": Situation(K8SNET, no_pod_cidrs),
    "`the plugin file is damaged`": Situation(K8SNET, a_damaged_file, status=False),
    "`is in use: container … holds it in`": Situation(K8SNET, another_data_dir, status=False),
    "`no kubeconfig; looked at`": Situation(K8SNET, no_kubeconfig),
    "`unauthorized (401)`": Situation(K8SNET, an_unknown_token),
    "`is forbidden: User … cannot get`": Situation(K8SNET, no_permission),
    "`this machine's Node cannot be told`": Situation(K8SNET, no_node_name),
    "`Annotation not found`": Situation(NET1, no_annotation),
    "`has host bits set`": Situation(NET1, host_bits),
    "`the plugin host-local is in none of the directories`": Situation(K8SNET, no_host_local),
    "`no IP addresses available in range set`": Situation(NET1, a_full_range, status=False),
    "`already has an IP address different from`": Situation(K8SNET, another_range, status=False),
    "`through proxy`": Situation(K8SNET, a_proxy),
}
OTHERS = {
    "`could not set bridge's mac: invalid argument`": "test_a_first_pod_that_failed",
    "`required env variables … missing`": "test_environment",
    "pods get addresses of an old range": "test_pinned_file",
    "leases of pods that are gone": "test_stale_leases",
}


@pytest.fixture
def scene() -> Iterator[Scene]:
    """README's node, the plugin installed and the networks configured."""
    require("busybox")
    with Scene() as made:
        assert made.shell("./node-ipam.pyz install", RELEASE).returncode == 0
        made.configure()
        yield made


def test_all_rows_are_tested() -> None:
    """Each row has a situation or a test of its own."""
    assert sorted(ROWS) == sorted([*SITUATIONS, *OTHERS])
    assert all(name in globals() for name in OTHERS.values())


def finds(scene: Scene, row: list[str], network: str) -> None:
    """doctor, run from another copy of the file, names the finding of the row, if it has one."""
    report = scene.shell(f"./node-ipam.pyz doctor --bin-dir {BIN} -o json {network}", RELEASE)
    found = {each["finding"] for each in json.loads(report.stdout)["checks"] if each["status"] in ("fail", "warn")}
    assert found == ({row[2].strip("`")} if row[2] != "–" else set())


@pytest.mark.parametrize("message", SITUATIONS)
def test_situation(scene: Scene, message: str) -> None:
    """ADD, and STATUS where that is said, fail with this code and message; doctor finds it, and nothing else."""
    row, situation = ROWS[message], SITUATIONS[message]
    network: Config = json.loads(readme.files()[situation.network])
    pattern = re.escape(message.strip("`")).replace("…", ".*")
    situation.break_it(scene, network)

    error = scene.call("ADD", network, scene.pod("web-0")).document()
    assert (str(error["code"]), bool(re.search(pattern, error["msg"]))) == (row[0], True), error
    if situation.status:
        error = status(scene, network)
        assert (error["code"], bool(re.search(pattern, error["msg"]))) == (STATUS_CODE, True), error
    finds(scene, row, network["name"])


def status(scene: Scene, network: Config) -> Config:
    """What STATUS of the IPAM plugin returns."""
    plugin = network.get("plugins", [network])[0]
    alone = {"cniVersion": "1.1.0", "name": network["name"], "type": plugin["ipam"]["type"], "ipam": plugin["ipam"]}
    return scene.call("STATUS", alone, Pod("")).document()


def test_a_first_pod_that_failed(scene: Scene) -> None:
    """The bridge is left without a port; it fails once for each address family, then pods start."""
    row = ROWS["`could not set bridge's mac: invalid argument`"]
    network: Config = json.loads(readme.files()[K8SNET])
    scene.server.stop()
    failed = scene.pod("old")
    assert scene.call("ADD", network, failed).status == 1
    scene.end(failed)
    scene.machine.call(scene.server.start)

    first, _second, third = (scene.call("ADD", network, scene.pod(f"web-{number}")) for number in range(3))

    assert (str(first.document()["code"]), row[1].strip("`") in first.document()["msg"]) == (row[0], True)
    assert third.status == 0


def test_environment(scene: Scene) -> None:
    """By hand, without the variables of a runtime."""
    row = ROWS["`required env variables … missing`"]
    done = scene.shell(f"CNI_COMMAND=ADD {BIN}/kube-node < {NET1}")

    error = json.loads(done.stdout)
    assert str(error["code"]) == row[0]
    assert re.search("required env variables .* missing", error["msg"])


def test_pinned_file(scene: Scene) -> None:
    """A kube-node.json, as the Go plugin leaves one, decides; without it the Node does."""
    network: Config = json.loads(readme.files()[NET1])
    path = f"{STATE}/net1/kube-node.json"
    os.makedirs(os.path.dirname(scene.file(path)))
    scene.write(path, b'{"type": "host-local", "ranges": [[{"subnet": "11.0.9.0/24"}]]}')

    assert scene.call("ADD", network, scene.pod("web-0")).document()["ips"][0]["address"] == "11.0.9.2/24"
    finds(scene, ROWS["pods get addresses of an old range"], "net1")

    os.unlink(scene.file(path))
    assert scene.call("ADD", network, scene.pod("web-1")).document()["ips"][0]["address"] == "172.20.2.2/24"


def test_stale_leases(scene: Scene) -> None:
    """doctor finds them, and the command of the row releases them."""
    network: Config = json.loads(readme.files()[NET1])
    row = ROWS["leases of pods that are gone"]
    gone = scene.pod("web-0")
    assert scene.call("ADD", network, gone).status == 0
    scene.end(gone)
    for address in scene.leases(network):
        scene.lease("net1", address, age=3600.0)

    finds(scene, row, "net1")
    assert scene.shell(f"{BIN}/node-ipam.pyz {row[3].strip('`')}").returncode == 0
    assert scene.leases(network) == []
