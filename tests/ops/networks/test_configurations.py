"""Configurations are read as libcni and Multus read them, and as kubectl prints them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plugin.errors import CniError
from plugin.ops.networks import configurations, networks
from tests.support.operator_node import OperatorNode
from tests.support.privileges import modes_count

OURS = {"type": "bridge", "ipam": {"type": "kube-node"}}


def definition(name: str, config: object, namespace: str = "default") -> dict[str, Any]:
    """A NetworkAttachmentDefinition as kubectl prints it."""
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": namespace, "managedFields": [{"manager": "kubectl"}]},
        "spec": {"config": config if isinstance(config, str) else json.dumps(config)},
    }


def listed(*items: object, kind: str = "List") -> dict[str, Any]:
    """What kubectl prints for several objects."""
    return {"apiVersion": "v1", "kind": kind, "items": list(items), "metadata": {"resourceVersion": ""}}


def found(value: object, source: str = "x") -> list[tuple[str, str, str]]:
    """Name, IPAM type and source of each network."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return [(each.name, each.type, each.source) for each in configurations.parse(raw, source, [])]


NET1 = "x: NetworkAttachmentDefinition default/net1"
NET2 = "x: NetworkAttachmentDefinition red/net2"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (definition("net1", OURS), [("net1", "kube-node", NET1)]),
        (definition("net1", {**OURS, "name": "other"}), [("other", "kube-node", NET1)]),
        (
            definition("net1", {"cniVersion": "1.0.0", "plugins": [OURS, {"type": "tuning"}]}),
            [("net1", "kube-node", NET1), ("net1", "", NET1)],
        ),
        (
            listed(definition("net1", OURS), definition("net2", {**OURS, "name": "b"}, "red")),
            [("net1", "kube-node", NET1), ("b", "kube-node", NET2)],
        ),
        (listed(definition("net1", OURS), kind="NetworkAttachmentDefinitionList"), [("net1", "kube-node", NET1)]),
        (listed({"apiVersion": "v1", "kind": "Pod"}, definition("net1", OURS)), [("net1", "kube-node", NET1)]),
        (
            listed({key: value for key, value in definition("net1", OURS).items() if key != "apiVersion"}),
            [("net1", "kube-node", NET1)],
        ),
        (listed(), []),
        (definition("net1", ""), []),
        ({**definition("net1", ""), "spec": {}}, []),
    ],
)
def test_definitions(value: object, expected: list[tuple[str, str, str]]) -> None:
    """A NetworkAttachmentDefinition and a list of them are taken as they are; without a name, it is the object's."""
    assert found(value) == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (definition("net1", "{"), f"{NET1} is not JSON"),
        (definition("net1", "[]"), f"{NET1}: spec.config is not a CNI configuration"),
        ({"apiVersion": "v1", "kind": "Pod", "spec": {}}, "x is a Pod, not a CNI configuration"),
    ],
)
def test_wrong_definitions(value: object, words: str) -> None:
    """The error names the object."""
    with pytest.raises(CniError) as caught:
        found(value)
    assert words in caught.value.msg


def test_yaml() -> None:
    """What kubectl prints with -o yaml is not read; the error says what to type."""
    with pytest.raises(CniError) as caught:
        found(b"apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\n")
    assert "-o json" in caught.value.details


@pytest.mark.parametrize(
    "raw",
    [
        '{"name": "n", "_comment": "für pods", "ipam": {"type": "kube-node"}}'.encode("latin-1"),
        b'{"name": "n", "x": "\xff\xfe\x80", "ipam": {"type": "kube-node"}}',
    ],
)
def test_latin_1(raw: bytes) -> None:
    """Go replaces what is not UTF-8, so a runtime reads such a file, and so do we."""
    assert found(raw) == [("n", "kube-node", "x")]


@pytest.mark.parametrize(
    ("version", "versions", "expected"),
    [
        (None, ["0.4.0", "1.1.0", "9.0.0"], "1.1.0"),
        ("1.1.0", ["0.4.0", "1.0.0"], "1.1.0"),
        ("0.4.0", ["1.0.0"], "1.0.0"),
        ("0.4.0", "1.0.0", "0.4.0"),
        ("0.4.0", [], "0.4.0"),
        ("9.0.0", [], "9.0.0"),
    ],
)
def test_version(version: str | None, versions: object, expected: str) -> None:
    """The newest that the list offers, its cniVersion included, and libcni knows."""
    value = {"name": "n", "cniVersion": version, "cniVersions": versions, "plugins": [OURS]}
    value = {key: each for key, each in value.items() if each is not None}
    (network,) = configurations.parse(json.dumps(value).encode(), "x", [])
    assert network.config.get("cniVersion") == expected


def test_plugins_in_a_directory(node: OperatorNode) -> None:
    """CNI 1.1: the files of the directory named like the network are its further plugins, in order."""
    node.write("net.d/10-net.conflist", json.dumps({"cniVersion": "1.1.0", "name": "net1"}))
    node.write("net.d/net1/20.conf", json.dumps({"type": "tuning"}))
    ours = node.write("net.d/net1/10.conf", json.dumps({**OURS, "name": "ignored"}))
    node.write("net.d/net1/30.conflist", "not read")
    node.write("net.d/other/10.conf", "not read")

    networks_found, troubles = networks.scan(str(node.conf))
    assert troubles == []
    assert [(each.name, each.config["type"], each.config["cniVersion"]) for each in networks_found] == [
        ("net1", "bridge", "1.1.0"),
        ("net1", "tuning", "1.1.0"),
    ]
    assert networks_found[0].source == ours
    assert [each.config["type"] for each in networks.chosen("net1", str(node.conf))[0]] == ["bridge", "tuning"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"name": "net1", "loadOnlyInlinedPlugins": True, "plugins": [{"type": "a"}]}, ["a"]),
        ({"name": "net1", "loadOnlyInlinedPlugins": False, "plugins": [{"type": "a"}]}, ["a", "bridge"]),
        ({"name": "net1", "plugins": []}, ["bridge"]),
        ({"name": "../net.d/net1"}, []),
    ],
)
def test_inlined_plugins(node: OperatorNode, config: dict[str, Any], expected: list[str]) -> None:
    """The directory is read unless the list says otherwise; a name that is none leads nowhere."""
    node.write("net.d/10-net.conflist", json.dumps(config))
    node.write("net.d/net1/10.conf", json.dumps(OURS))

    assert [each.config["type"] for each in networks.scan(str(node.conf))[0]] == expected


@pytest.mark.parametrize("plugins", [3, True, "bridge", {"type": "bridge"}])
def test_plugins_that_are_no_list(node: OperatorNode, plugins: object) -> None:
    """One such file is told, and the others are read."""
    node.network()
    path = node.write("net.d/20-x.conflist", json.dumps({"cniVersion": "1.0.0", "name": "x", "plugins": plugins}))
    scanned, (trouble,) = networks.scan(str(node.conf))
    assert [each.name for each in scanned] == ["k8snet", "k8snet"]
    assert (trouble.msg, trouble.details) == (f"{path}: 'plugins' is not a list", "correct or remove the file")


def test_broken_plugin_in_a_directory(node: OperatorNode) -> None:
    """One that is not JSON is told; the networks of other files are found."""
    node.network()
    node.write("net.d/20-net.conflist", json.dumps({"name": "net1"}))
    path = node.write("net.d/net1/10.conf", "{")

    found, troubles = networks.scan(str(node.conf))
    assert [each.name for each in found if each.is_ours] == ["k8snet"]
    assert [trouble.msg.startswith(f"{path} is not JSON") for trouble in troubles] == [True]


@pytest.mark.parametrize(
    ("path", "kind", "message", "details"),
    [
        ("net1", "a link to itself", "Too many levels of symbolic links", "correct or remove it"),
        ("net1", "locked", "Permission denied", "run this as root"),
        ("net1/10.conf", "a directory", "not a regular file", "correct or remove it"),
        ("net1/10.conf", "a link to nothing", "No such file or directory", "name a file that exists"),
        ("net1/10.conf", "locked", "Permission denied", "run this as root"),
    ],
)
def test_unreadable_plugins_in_a_directory(
    node: OperatorNode, path: str, kind: str, message: str, details: str
) -> None:
    """What the runtime cannot read is told, with its path."""
    node.write("net.d/10-net.conflist", json.dumps({"name": "net1"}))
    place = node.conf / path
    place.parent.mkdir(exist_ok=True)
    if kind.startswith("a link"):
        place.symlink_to(place.name if kind.endswith("itself") else "gone")
    else:
        place.mkdir(0 if kind == "locked" else 0o755)

    with modes_count():
        found, troubles = networks.scan(str(node.conf))

    assert found == []
    assert [(each.msg, each.details) for each in troubles] == [(f"{place} cannot be read: {message}", details)]


def test_definitions_on_standard_input(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """kubectl get net-attach-def -A -o json | node-ipam.pyz explain - : each network of ours, by its name."""
    node.node["metadata"]["annotations"]["example.com/net1"] = "172.20.2.0/24"
    config = {**OURS, "cniVersion": "1.0.0", "ipam": {"type": "kube-node", "annotation": "example.com/net1"}}
    macvlan = {"type": "macvlan", "ipam": {"type": "dhcp"}}
    node.feed(listed(definition("net1", config), definition("net2", macvlan)))

    assert node.run("explain", "-o", "json", "-") == 0
    (network,) = json.loads(capsys.readouterr().out)["networks"]
    assert network["network"] == network["config"]["name"] == "net1"
    assert network["config"]["ipam"]["ranges"] == [[{"subnet": "172.20.2.0/24"}]]
    assert network["from"]["type"] == "standard input: NetworkAttachmentDefinition default/net1"


@pytest.mark.parametrize("broken", ["{", "5", '{"plugins": [7]}'])
def test_list_with_a_broken_definition(node: OperatorNode, capsys: pytest.CaptureFixture[str], broken: str) -> None:
    """It is named, and hides no other; alone, it is all that is said."""
    good = definition("k8snet", json.dumps(node.network()))

    node.feed(listed(definition("net1", broken, "red"), good))
    assert node.run("explain", "-", "-o", "json") == 1
    explained = json.loads(capsys.readouterr().out)
    assert [each["network"] for each in explained["networks"]] == ["k8snet"]
    assert "standard input: NetworkAttachmentDefinition red/net1" in explained["troubles"][0]["what"]

    node.feed(listed(definition("net1", broken, "red"), good))
    assert node.run("doctor", "-", "-o", "json") == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert "red/net1" in next(each["what"] for each in checks if each["finding"] == "configurations-unreadable")
    assert "ok" in [each["status"] for each in checks if each["network"] == "k8snet"]

    node.feed(listed(definition("net1", broken, "red")))
    assert node.run("explain", "-") == 1
    assert capsys.readouterr().err.count("error: ") == 1
