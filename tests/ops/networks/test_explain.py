"""explain shows what the next plugin would be told, and whose word each part of it is."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from typing import Any

import pytest

from plugin import deadline, kube_node
from plugin.ops.networks import explain as explanation
from tests.support.operator_node import NODE, OperatorNode
from tests.support.rules import rbac_nothing


def explain(node: OperatorNode, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What -o json says of the one network."""
    status = node.run("explain", "-o", "json", *arguments)
    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    (network,) = json.loads(printed.out)["networks"]
    return dict(network)


def test_pod_cidrs(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Ranges come from a field of the Node, all else from the configuration; our own keys are left out."""
    config = node.network(routes=[{"dst": "0.0.0.0/0"}], kubeconfig=node.kubeconfig, cacheSeconds=5)
    source = str(node.conf / "10-k8snet.conflist")

    found = explain(node, capsys, "k8snet")

    ipam = {
        "type": "host-local",
        "dataDir": str(node.memory),
        "routes": [{"dst": "0.0.0.0/0"}],
        "ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:10:244:1::/64"}]],
    }
    assert found == {
        "network": "k8snet",
        "program": str(node.bin / "host-local"),
        "config": {**config, "ipam": ipam},
        "from": {
            "type": source,
            "name": source,
            "cniVersion": source,
            "ipam.type": "kube-node always hands over to host-local",
            "ipam.dataDir": source,
            "ipam.routes": source,
            "ipam.ranges": f"spec.podCIDRs of node {NODE} (by certificate CN), queried just now with {node.kubeconfig} "
            "(ipam.kubeconfig)",
        },
        "leftOut": ["ipam.kubeconfig", "ipam.cacheSeconds"],
    }


def test_text(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The configuration as JSON, then a table of where its parts come from."""
    node.feed(node.network(kubeconfig=node.kubeconfig))

    assert node.run("explain") == 0

    head, _, table = capsys.readouterr().out.partition("\n}\n\n")
    first, _, text = head.partition("\n")
    assert first == f"{node.bin}/host-local would get for network k8snet:"
    assert json.loads(text + "}")["ipam"]["type"] == "host-local"
    assert [line.split()[:3] for line in table.splitlines()[:3]] == [
        ["KEY", "FROM"],
        ["cniVersion", "standard", "input"],
        ["name", "standard", "input"],
    ]
    assert table.endswith("\nleft out: ipam.kubeconfig\n")


def test_from_the_cache(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """What an ADD would take from the cache is taken from there, with its file and age; the server is not asked."""
    node.learn(node.network())
    node.server.requests.clear()
    (name,) = (name for name in os.listdir(os.environ["NODE_IPAM_CACHE"]) if name.startswith("node-"))

    found = explain(node, capsys, "k8snet")

    origin = found["from"]["ipam.ranges"]
    assert origin.startswith(f"spec.podCIDRs of node {NODE} (by certificate CN), ")
    assert origin.endswith(f"s old in {os.environ['NODE_IPAM_CACHE']}/{name}")
    assert node.server.requests == []


def test_nothing_is_kept(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The next ADD finds everything as it was."""
    node.network()
    before = sorted(str(path) for path in node.directory.rglob("*"))

    explain(node, capsys, "k8snet")

    assert sorted(str(path) for path in node.directory.rglob("*")) == before
    assert not os.path.exists(os.environ["NODE_IPAM_CACHE"])


@pytest.mark.parametrize(("namespace", "families"), [("old-application", [6, 4]), ("default", [6]), ("", [6])])
def test_namespace(node: OperatorNode, capsys: pytest.CaptureFixture[str], namespace: str, families: list[int]) -> None:
    """With ipv4-namespaces the pod's namespace decides; without one there is no IPv4."""
    config = node.network()
    config["ipam"]["ipv4-namespaces"] = ["old-application"]
    node.feed(config)

    found = explain(node, capsys, "-", *(("--namespace", namespace) if namespace else ()))

    assert [6 if ":" in each[0]["subnet"] else 4 for each in found["config"]["ipam"]["ranges"]] == families
    assert found["from"]["ipam.ranges"].endswith(", ordered and limited by ipv4-namespaces")


def test_annotation(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Ranges of an annotation are said to be."""
    node.node["metadata"]["annotations"]["example.com/net1"] = "172.20.0.0/24"
    node.network("net1", annotation="example.com/net1")

    found = explain(node, capsys, "net1")

    assert found["config"]["ipam"]["ranges"] == [[{"subnet": "172.20.0.0/24"}]]
    assert found["from"]["ipam.ranges"].startswith(f"annotation example.com/net1 of node {NODE}")


def test_pinned(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """What an operator's file says is said to be from there, and no server is asked."""
    node.network(routes=[])
    pinned = node.write(f"run/{kube_node.PINNED}", '{"ranges": [[{"subnet": "10.9.0.0/24"}]], "resolvConf": "/etc/r"}')

    found = explain(node, capsys, "k8snet")

    assert found["config"]["ipam"]["ranges"] == [[{"subnet": "10.9.0.0/24"}]]
    origins = found["from"]
    assert (origins["ipam.ranges"], origins["ipam.resolvConf"]) == (pinned, pinned)
    assert origins["ipam.routes"] == str(node.conf / "10-k8snet.conflist")
    assert node.server.requests == []


def test_node_annotation(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Of node-annotation's IPAM part everything is the annotation's but the type, and nothing of the old one stays."""
    node.node["metadata"]["annotations"]["example.com/net1"] = 'ranges: [[{subnet: "172.20.0.0/24"}]]'
    node.network("net1", type="node-annotation", annotation="example.com/net1")

    found = explain(node, capsys, "net1")

    assert found["config"]["ipam"] == {"type": "host-local", "ranges": [[{"subnet": "172.20.0.0/24"}]]}
    assert found["from"]["ipam.ranges"].startswith(f"annotation example.com/net1 of node {NODE}")
    assert found["from"]["ipam.type"] == "node-annotation hands over to host-local unless nextipam is configured"
    assert found["leftOut"] == ["ipam.dataDir", "ipam.annotation"]


def test_next_plugin(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """nextipam is named as the source of the type; another plugin is told the version as it is."""
    node.node["metadata"]["annotations"]["example.com/net1"] = 'subnet: "10.3.0.0/24"'
    path = node.write("nacfg", json.dumps({"nextipam": "/bin/cat", "kubeconfig": node.kubeconfig}))
    node.monkeypatch.setenv("NODE_ANNOTATION_CFG", path)
    config = node.network("net1", type="node-annotation", annotation="example.com/net1")
    node.feed({**config, "cniVersion": "1.1.0"})

    found = explain(node, capsys)

    assert found["program"] == "/bin/cat"
    assert found["config"]["cniVersion"] == "1.1.0"
    assert found["from"]["ipam.type"] == f"nextipam in {path}"


def test_translated_version(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """host-local is told 1.0.0 in place of 1.1.0, and it is said why."""
    node.feed({**node.network(), "cniVersion": "1.1.0"})

    found = explain(node, capsys)

    assert found["config"]["cniVersion"] == "1.0.0"
    assert found["from"]["cniVersion"] == "standard input says 1.1.0, in which the result is given back"


def test_without_a_name(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A NetworkAttachmentDefinition needs none."""
    config = node.network()
    del config["name"]
    node.feed(config)

    assert explain(node, capsys)["from"]["name"].startswith("Multus, ")


def test_keys_cannot_steer_the_terminal(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration may come from anyone who may write a NetworkAttachmentDefinition."""
    node.node["metadata"]["annotations"]["example.com/net1"] = 'subnet: "10.3.0.0/24"'
    keys: dict[str, str] = {"\033[2J": ""}
    node.feed(node.network(type="node-annotation", annotation="example.com/net1", **keys))

    assert node.run("explain") == 0

    assert "left out: ipam.dataDir, ipam.annotation, ipam.\\x1b[2J\n" in capsys.readouterr().out


def test_no_terminal(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """At a terminal, without CONF, the question is asked back rather than waited for."""
    stdin = io.TextIOWrapper(io.BytesIO())
    node.monkeypatch.setattr(stdin, "isatty", lambda: True)
    node.monkeypatch.setattr(sys, "stdin", stdin)

    node.network()
    assert node.run("explain") == 2
    asked = capsys.readouterr().err
    assert "which CONF?" in asked
    assert f"networks of {node.conf}: k8snet\n" in asked


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"name": "lo", "type": "loopback"}, "standard input uses neither kube-node nor node-annotation"),
        ({"name": "", "ipam": {"type": "kube-node"}}, "missing network name"),
        ({"name": "n", "ipam": {"type": "kube-node", "kubeconfig": "/nowhere"}}, "stat /nowhere: missing"),
    ],
)
def test_failures(node: OperatorNode, capsys: pytest.CaptureFixture[str], config: object, what: str) -> None:
    """What would fail an ADD fails here, in words and with exit status 1."""
    node.feed(config)

    assert node.run("explain") == 1
    assert what in capsys.readouterr().err


def test_list_with_a_network_that_fails(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The others are shown all the same, with an empty line between two; the error names its network."""
    items = []
    for name in ("net1", "net2", "net3"):
        config = node.network(name, **({"annotation": "example.com/none"} if name == "net1" else {}))
        meta = {"name": name, "namespace": "default"}
        spec = {"config": json.dumps(config)}
        items.append({"apiVersion": "v1", "kind": "NetworkAttachmentDefinition", "metadata": meta, "spec": spec})
    node.feed({"apiVersion": "v1", "kind": "List", "items": items})

    assert node.run("explain", "-") == 1

    printed = capsys.readouterr()
    assert printed.err.startswith("error: network net1: Annotation not found"), printed.err
    first, second = printed.out.split(f"\n\n{node.bin}/host-local would get for network net3:\n")
    assert first.startswith(f"{node.bin}/host-local would get for network net2:\n")

    node.feed({"apiVersion": "v1", "kind": "List", "items": items})
    assert node.run("explain", "-o", "json") == 1
    found = json.loads(capsys.readouterr().out)
    assert [each["network"] for each in found["networks"]] == ["net2", "net3"]
    assert [each["what"].split(":")[0] for each in found["troubles"]] == ["network net1"]


def test_what_hangs(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """It has its time and no more, and says what tells where it hangs."""
    node.monkeypatch.setattr(deadline, "TOTAL", 0.1)
    node.monkeypatch.setattr(explanation, "_explained", lambda *_arguments: time.sleep(60))
    node.network()

    assert node.run("explain", "k8snet") == 1
    assert capsys.readouterr().err.startswith("error: network k8snet: no answer within 0 seconds\nnode-ipam.pyz doctor")


def test_an_error_of_several_lines(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """What a refusal says to apply can be copied from the terminal, line by line."""
    node.server.rule = rbac_nothing
    node.network(kubeconfig=node.server.write_kubeconfig(node.directory / "token.conf"), nodeName=NODE)

    assert node.run("explain", "k8snet") == 1

    lines = capsys.readouterr().err.splitlines()
    assert "add this with kubectl apply -f -" in lines
    assert "kind: ClusterRole" in lines


def test_keys_without_effect(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A key that neither we nor host-local read is named; comments and host-local's own keys are not."""
    node.network(team="blue", nextipam="/x", _comment="y", routes=[])

    assert explain(node, capsys, "k8snet")["withoutEffect"] == ["ipam.team", "ipam.nextipam"]
    assert node.run("explain", "k8snet") == 0
    assert "without effect: ipam.team, ipam.nextipam\n" in capsys.readouterr().out


def test_environment_of_the_runtime(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A KUBECONFIG of this shell is not the runtime's; with --shell-environment it counts."""
    node.network()
    node.monkeypatch.setenv("KUBECONFIG", "/home/operator/admin.conf")

    assert "kubelet.conf (the kubelet's own)" in explain(node, capsys, "k8snet")["from"]["ipam.ranges"]
    assert node.run("explain", "--shell-environment", "k8snet") == 1
    assert "/home/operator/admin.conf" in capsys.readouterr().err
