"""The plugins against every API server that is available.

Always on the built-in one; on a real kube-apiserver when $KUBEBUILDER_ASSETS names a folder with it and etcd; on a
running cluster when pytest is given --kubeconfig and --node: there only one annotation of that node is changed.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from plugin.node.identity import machine_id
from tests.support.apiserver import ApiServer, User, node_authorizer, rbac_get_nodes_only, rbac_nothing
from tests.support.clusters import ACCOUNT, Admin, KubeApiServer, RunningCluster
from tests.support.runtime import Config
from tests.support.world import NODE, World

ANNOTATION = "kube-node.nordix.org/node-ipam-test"
ASSETS = "KUBEBUILDER_ASSETS"


class Api(NamedTuple):
    """A server, the node on it, and how to annotate that through the API."""

    server: ApiServer
    node: str
    annotate: Callable[[str, str, str | None], None]

    def made_for_tests(self) -> None:
        """Skip where there is nothing but what someone else runs."""
        if isinstance(self.server, RunningCluster):
            pytest.skip("a running cluster has its own credentials, and only one annotation is ours")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Add a running cluster if its kubeconfig is given."""
    kinds = ["built-in", "kube-apiserver"]
    if metafunc.config.getoption("kubeconfig"):
        kinds.append("cluster")
    metafunc.parametrize("api", kinds, indirect=True, scope="module")


@pytest.fixture(scope="module")
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One of the servers."""
    directory = str(tmp_path_factory.mktemp("api"))
    folder = os.environ.get(ASSETS, "")
    if request.param == "cluster":
        kubeconfig, node = (request.config.getoption(name) for name in ("kubeconfig", "node"))
        if not node:
            pytest.fail("--kubeconfig needs --node NAME: the Node to annotate")
        cluster = RunningCluster(kubeconfig, node)
        yield Api(cluster, node, cluster.annotate)
        cluster.annotate(node, ANNOTATION, None)
        return
    if request.param == "kube-apiserver" and not folder:
        pytest.skip(f"set {ASSETS} to a folder with etcd and kube-apiserver")
    with ApiServer() if request.param == "built-in" else KubeApiServer(folder, directory) as server:
        yield Api(server, NODE, Admin(server, directory).annotate)


@pytest.fixture
def world(api: Api, tmp_path: Path) -> World:
    """The node, as new, with a kubelet's credentials."""
    world = World(str(tmp_path), api.server)
    api.server.rule = as_kubernetes
    return world


def as_kubernetes(user: User, verb: str, name: str) -> str:
    """The built-in server's rights: of the administrator, of a kubelet, and of the service account."""
    if "system:masters" in user.groups:
        return ""
    if "system:nodes" in user.groups:
        return node_authorizer(user, verb, name)
    return (rbac_get_nodes_only if user.name == ACCOUNT else rbac_nothing)(user, verb, name)


def named(world: World, api: Api, network: str = "k8snet", **ipam: str) -> Config:
    """A network whose configuration names the node."""
    return world.config(network, nodeName=api.node, **ipam)


@pytest.mark.parametrize(
    ("kind", "user", "groups"),
    [
        ("kubelet", NODE, ()),
        ("certificate", "admin", ("system:masters",)),
        ("token", ACCOUNT, ()),
        ("token-file", ACCOUNT, ()),
    ],
)
def test_pod_cidrs(world: World, api: Api, kind: str, user: str, groups: tuple[str, ...]) -> None:
    """Each kind of credential reads the node: its own certificate, the administrator's, a token that may get nodes."""
    api.made_for_tests()
    kubeconfig = api.server.write_kubeconfig(world.path("config"), kind, user, groups)
    config = world.config(kubeconfig=kubeconfig) if kind == "kubelet" else named(world, api, kubeconfig=kubeconfig)

    assert world.addresses(config) == ["11.0.1.2/24", "1100:0:0:1::2/64"]


def test_pod_cidrs_as_they_are(world: World, api: Api) -> None:
    """A pod has an address in each podCIDR of the node."""
    given = [ipaddress.ip_interface(each) for each in world.addresses(named(world, api))]

    assert [str(each.network) for each in given] == world.node["spec"]["podCIDRs"]


def test_annotation(world: World, api: Api) -> None:
    """An annotation written through the API is there for the next ADD, changed and gone when the cache is old."""
    config = named(world, api, "net1", annotation=ANNOTATION)
    api.annotate(api.node, ANNOTATION, None)
    assert world.add(config).document()["code"] == 100
    api.annotate(api.node, ANNOTATION, "172.20.2.0/24,fd00::2:0:0/96")
    assert world.addresses(config, "one") == ["172.20.2.2/24", "fd00::2:0:2/96"]
    api.annotate(api.node, ANNOTATION, "172.20.3.0/24")
    world.age(31)
    assert world.addresses(config, "two") == ["172.20.3.2/24"]
    api.annotate(api.node, ANNOTATION, None)
    world.age(31)
    document = world.add(config, "three").document()
    assert (document["code"], ANNOTATION in document["msg"]) == (100, True)


def test_node_annotation(world: World, api: Api) -> None:
    """The API keeps every character of an annotation in node-annotation's own grammar."""
    text = f'// no comment\n ranges: [\n\t[{{"subnet": "172.20.2.0/24"}}]],\n dataDir: "{world.path("data")}"'
    config = world.annotated("net2", ANNOTATION, nodeName=api.node)
    api.annotate(api.node, ANNOTATION, text.partition("\n")[2])
    assert world.addresses(config) == ["172.20.2.2/24"]
    api.annotate(api.node, ANNOTATION, text)
    world.age(31)
    assert world.add(config, "other").document()["code"] == 7


def test_without_rights(world: World, api: Api) -> None:
    """A service account without rights gets the server's own message, with the account's name."""
    api.made_for_tests()
    kubeconfig = api.server.write_kubeconfig(world.path("config"), "token", "stranger")
    document = world.add(named(world, api, kubeconfig=kubeconfig)).document()

    assert document["code"] == 100
    assert f'nodes "{NODE}" is forbidden' in document["msg"] + document["details"]
    assert "stranger" in document["msg"] + document["details"]


def test_token_that_is_none(world: World, api: Api) -> None:
    """A token that the server does not know is an error that says so, and does not show it."""
    api.made_for_tests()
    kubeconfig = api.server.write_kubeconfig(world.path("config"), "token", ACCOUNT)
    text = Path(kubeconfig).read_text(encoding="utf-8")
    _, start, token = text.partition('token: "')
    spoiled = world.write("spoiled", text.replace(start, start + "x"))
    answer = world.add(named(world, api, kubeconfig=spoiled))

    assert answer.document()["code"] == 100
    assert "401" in answer.document()["msg"] + answer.document()["details"]
    assert token.partition('"')[0] not in answer.stdout.decode() + answer.stderr


@pytest.mark.skipif(not machine_id(), reason="this machine has no machine-id")
def test_node_of_this_machine(world: World, api: Api) -> None:
    """A user who may list Nodes needs no node name: the Node with this machine's id is used."""
    api.made_for_tests()
    admin = ("certificate", "admin", ("system:masters",))
    config = world.config(kubeconfig=api.server.write_kubeconfig(world.path("config"), *admin))

    assert world.addresses(config) == ["11.0.1.2/24", "1100:0:0:1::2/64"]
