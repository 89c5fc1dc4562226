"""doctor raises no false alarm, sees what a healthy-looking node hides, and names its findings as always."""

from __future__ import annotations

import ast
import inspect
import ipaddress
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from plugin.ops.doctor import checks, doctor, links, state
from tests.ops.doctor.test_doctor import Report, examine, words
from tests.support.operator_node import VERSIONS, OperatorNode

# README's troubleshooting table and scripts use these names: never rename one.
NAMES = """
addresses-full addresses-nearly-full answer-none bridge-address bridge-several-gateways cache-other-environment
cache-unusable configurations-none configurations-unreadable credential-expired credential-expires-soon credential-none
dataDir-on-disk file-damaged file-no-directory file-not-a-file file-not-executable file-not-installed
file-other-program file-other-version host-local-broken host-local-missing interpreter-missing
interpreter-unsuitable keys-misplaced keys-unknown kubeconfig-http kubeconfig-insecure
kubeconfig-readable-by-all leases-stale leases-unreadable links-broken links-unused next-plugin-broken
next-plugin-missing node-other-machine node-other-ranges node-searched node-unreachable other-nodes-overlap
overlap-other-network permission-forbidden permission-refused pinned-file plugins-missing plugins-mute plugins-version
ranges-no-ipv6 server-unreachable store-other-store user-not-root
"""


def kinds(function: Any) -> set[str]:
    """The kinds of the findings that a function of a check, and those of its module that it calls, can return."""
    module = inspect.getmodule(function)
    tree = ast.parse(inspect.getsource(function))
    found: set[str] = set()
    for call in (each for each in ast.walk(tree) if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)):
        assert isinstance(call.func, ast.Name)
        if call.func.id in ("warn", "fail"):
            first = call.args[0]
            found |= {str(first.value)} if isinstance(first, ast.Constant) else _assigned(tree, first)
        elif call.func.id.startswith("_") and inspect.isfunction(getattr(module, call.func.id, None)):
            found |= kinds(getattr(module, call.func.id))
    return found


def _assigned(tree: ast.AST, name: ast.expr) -> set[str]:
    """What a variable is given: kind, said = ("a", "…") if … else ("b", "…")."""
    assert isinstance(name, ast.Name)
    (value,) = [
        each.value for each in ast.walk(tree) if isinstance(each, ast.Assign) and name.id in ast.dump(each.targets[0])
    ]
    assert isinstance(value, ast.IfExp)
    return {each.elts[0].value for each in (value.body, value.orelse)}  # type: ignore[attr-defined]


def test_names_of_findings() -> None:
    """The names that checks can give are the ones that are documented."""
    table = [(name, function) for name, function, _ in (*checks.MACHINE, *checks.NETWORK)]

    assert sorted(f"{name}-{kind}" for name, function in table for kind in kinds(function)) == NAMES.split()


def test_names_in_readme() -> None:
    """README's troubleshooting table names findings that doctor can report."""
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    table = re.search(r"^\|[^\n]*`doctor`[^\n]*\|\n\|[-|]+\|\n((?:\|.*\n)+)", readme, re.MULTILINE)
    if not table:
        pytest.skip("README's troubleshooting table has no column for doctor")
    errors = {f"{name}-error" for name, _function, _needs in (*checks.MACHINE, *checks.NETWORK)}
    cells = [re.findall(r"`([\w.-]+)`", row.split(" | ")[2]) for row in table[1].splitlines()]

    named = {name for cell in cells for name in cell}
    assert named
    assert sorted(named - errors - set(NAMES.split())) == []


def test_name_of_an_error(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """What the plugin itself would refuse has the check's name and 'error'; the table shows the name."""
    node.node["spec"] = {}

    assert examine(node, capsys)[1]["ranges"]["finding"] == "ranges-error"
    node.run("doctor")
    assert "fail    k8snet   ranges-error " in capsys.readouterr().out


def test_ipv4_namespaces_of_node_annotation(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The key means nothing to node-annotation: no warning about IPv6, but one that it is in the wrong place."""
    node.node["metadata"]["annotations"]["example.com/a"] = f'"ranges": [[{{"subnet": "10.1.0.0/24"}}]], {leases(node)}'
    unusual: dict[str, Any] = {"ipv4-namespaces": ["a"]}
    node.network(type="node-annotation", annotation="example.com/a", dataDir=None, **unusual)

    _status, report = examine(node, capsys)

    assert report["ranges"]["status"] == "ok"
    assert (words(report, "warn"), report["keys"]["finding"]) == (["keys"], "keys-misplaced")


def test_data_dir_of_an_annotation(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The dataDir of the annotation counts, not the default that no pod uses."""
    node.node["metadata"]["annotations"]["example.com/a"] = f'"ranges": [[{{"subnet": "10.1.0.0/24"}}]], {leases(node)}'
    node.network(type="node-annotation", annotation="example.com/a", dataDir=None)

    status, report = examine(node, capsys)

    assert (status, words(report, "warn")) == (0, [])
    assert report["dataDir"]["what"] == f"{node.memory}: cleared by a reboot"


def test_data_dir_that_is_configured_is_not_advised(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The remedy names another directory, and only one that a reboot clears."""
    configured = "/run/container-ipam-state/k8snet"
    node.monkeypatch.setattr(state, "filesystem", lambda path: "ext4" if path == configured else "tmpfs")
    node.network(dataDir=configured)
    remedy = examine(node, capsys)[1]["dataDir"]["remedy"]
    assert (configured in remedy, '"dataDir": "/run/cni/k8snet"' in remedy) == (False, True)

    node.monkeypatch.setattr(state, "filesystem", lambda _path: "ext4")
    assert f"mount a tmpfs on {configured}" in examine(node, capsys)[1]["dataDir"]["remedy"]


def test_a_data_dir_that_was_changed(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Leases in the place before, of pods that run, are a failure: those addresses would be given again."""
    node.lease("10.244.1.2", "c1 eth0")
    node.result("c1")
    assert examine(node, capsys)[1]["store"]["status"] == "ok"

    node.network(dataDir=None)
    node.write("net.d/90-old.conf.bak", "{}")
    node.write("net.d/20-other.conf", json.dumps({"name": "o", "ipam": {"type": "x", "dataDir": str(node.memory)}}))
    status, report = examine(node, capsys)

    assert (status, words(report, "fail"), report["store"]["finding"]) == (1, ["store"], "store-other-store")
    assert f"{node.memory}/k8snet has 1 lease in use, new pods get theirs in " in report["store"]["what"]
    assert str(node.memory) in report["store"]["remedy"]


def test_places_passed_over(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """What was looked at before the kubeconfig that is used is shown."""
    os.rename(node.kubeconfig, node.write("var/lib/kubelet/kubeconfig", ""))

    what = examine(node, capsys)[1]["kubeconfig"]["what"]

    assert f"{node.directory}/var/lib/kubelet/kubeconfig (the kubelet's own)" in what
    assert "passed over: " in what
    assert "/etc/kubernetes/kubelet.conf: missing" in what


def leases(node: OperatorNode) -> str:
    """The member of an annotation that names where the leases are."""
    return f'"dataDir": "{node.memory}"'


def test_host_local_is_a_check_of_the_machine(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Without any network, a missing host-local is a failure, and a present one is described."""
    os.unlink(node.conf / "10-k8snet.conflist")
    assert examine(node, capsys)[1]["host-local"]["status"] == "ok"

    os.unlink(node.bin / "host-local")
    node.monkeypatch.setattr("plugin.ops.networks.networks.BIN_DIRS", ("/nowhere",))
    status, report = examine(node, capsys)
    assert (status, report["host-local"]["finding"]) == (1, "host-local-missing")


def test_before_install(node: OperatorNode, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """On a node without anything of ours there is one thing to do: install."""
    os.unlink(node.conf / "10-k8snet.conflist")
    for folder in (node.make("empty"), tmp_path / "missing"):
        _status, report = examine(node, capsys, "--bin-dir", str(folder))
        remedies = {check: line["remedy"] for check, line in report.items() if check != "host-local" and line["remedy"]}
        assert list(remedies) == ["file"]
        assert f"node-ipam.pyz install --bin-dir {folder}" in remedies["file"]


def test_an_ordinary_user(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """There is one thing to do, run it as root; nothing else that this user cannot see is called wrong."""
    node.monkeypatch.setattr(doctor, "is_root", lambda: False)
    os.chmod(node.memory, 0o700)
    node.node["spec"] = {}

    status, report = examine(node, capsys)

    assert (status, words(report, "fail"), words(report, "warn")) == (1, ["user"], [])
    assert report["user"]["remedy"] == "run it as root: sudo node-ipam.pyz doctor"
    assert report["ranges"]["what"].startswith("needs root: ")


@pytest.mark.parametrize("data_dir", ["configured", "default"])
def test_a_pinned_file(node: OperatorNode, capsys: pytest.CaptureFixture[str], data_dir: str) -> None:
    """A kube-node.json is a warning, in dataDir or in the default place."""
    folder = node.memory if data_dir == "configured" else node.make("networks/k8snet")
    (folder / "kube-node.json").write_text('{"ranges": [[{"subnet": "10.9.0.0/24"}]]}', encoding="utf-8")
    node.network(dataDir=str(folder) if data_dir == "configured" else None)

    line = examine(node, capsys)[1]["pinned"]

    assert (line["status"], line["finding"]) == ("warn", "pinned-file")
    assert f"rm {folder}/kube-node.json" in line["remedy"]


def listed(node: OperatorNode, version: str, *types: str) -> None:
    """Configure a list of these plugins in this version."""
    ipam = {"type": "kube-node", "dataDir": str(node.memory)}
    plugins = [{"type": types[0], "ipam": ipam}, *({"type": each} for each in types[1:])]
    node.write("net.d/10-k8snet.conflist", json.dumps({"cniVersion": version, "name": "k8snet", "plugins": plugins}))


def test_a_plugin_that_does_not_speak_the_version(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A list of 1.1.0 with a bridge of 1.0.0 fails for every pod; the version that all speak is named."""
    listed(node, "1.1.0", "bridge", "portmap")

    status, report = examine(node, capsys)

    assert (status, words(report, "fail")) == (1, ["plugins"])
    assert report["plugins"]["finding"] == "plugins-version"
    assert "bridge speaks up to 1.0.0, portmap speaks up to 1.0.0" in report["plugins"]["what"]
    assert '"cniVersion": "1.0.0"' in report["plugins"]["remedy"]


def test_every_plugin_of_the_list_is_asked(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The last one of the list counts as the first does; a list whose plugins all speak it is fine."""
    node.plugin("bridge", *VERSIONS, "1.1.0")
    listed(node, "1.1.0", "bridge", "portmap")
    assert "portmap speaks up to 1.0.0" in examine(node, capsys)[1]["plugins"]["what"]

    node.plugin("portmap", *VERSIONS, "1.1.0")
    assert examine(node, capsys)[1]["plugins"]["status"] == "ok"


def test_the_limit_of_the_runtime(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """If no result is as new as the list, that the runtime may not speak it is said."""
    for name in ("bridge", "portmap"):
        node.plugin(name, *VERSIONS, "1.1.0")
    listed(node, "1.1.0", "bridge", "portmap")
    result = node.result("c1")

    expected = "whether the runtime speaks it is unknown: the newest result on this machine is 1.0.0"
    assert examine(node, capsys)[1]["plugins"]["what"].endswith(expected)

    for name, text in (("half", '{"result": {"cniVer'), ("other", "[]"), ("older", '{"result": {"ips": []}}')):
        (node.results / name).write_text(text)  # what libcni did not write to its end, or others wrote
    assert examine(node, capsys)[1]["plugins"]["what"].endswith(expected)

    result.write_text(result.read_text().replace("1.0.0", "1.1.0"))
    assert examine(node, capsys)[1]["plugins"]["what"] == "bridge, portmap: cniVersion 1.1.0"


def test_a_plugin_that_is_missing(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A plugin of the list that is not installed is named."""
    listed(node, "1.0.0", "bridge", "bandwidth")
    node.monkeypatch.setattr("plugin.ops.networks.networks.BIN_DIRS", ("/nowhere",))

    line = examine(node, capsys)[1]["plugins"]

    assert (line["finding"], "bandwidth" in line["what"]) == ("plugins-missing", True)


def bridged(node: OperatorNode, annotation: object = "", **more: object) -> None:
    """Configure the network of a bridge with a gateway."""
    ipam = {"type": "kube-node", "dataDir": str(node.memory), "annotation": annotation}
    config = {"cniVersion": "1.0.0", "name": "k8snet", "type": "bridge", "bridge": "cbr9", "isGateway": True, **more}
    os.unlink(node.conf / "10-k8snet.conflist")
    node.write("net.d/10-k8snet.conf", json.dumps({**config, "ipam": ipam}))


# Addresses of the bridge, its ports, and the finding; the node's ranges are 10.244.1.0/24 and fd00:10:244:1::/64.
BRIDGES: list[tuple[list[str] | None, list[str], str | None]] = [
    (None, [], None),
    ([], [], None),
    (["10.244.1.1/24", "fd00:10:244:1::1/64"], ["veth0"], None),
    (["fd00:10:244:7::1/64"], ["veth0"], None),  # several IPv6 addresses are fine if their networks differ
    (["10.244.7.1/24"], [], "bridge-address"),
    (["10.244.7.1/24"], ["veth0", "veth1"], "bridge-address"),
    (["10.244.1.1/25"], [], "bridge-address"),
    (["10.244.1.1/24", "fd00:10:244::1/48"], [], "bridge-address"),
]


@pytest.mark.parametrize(("present", "ports", "finding"), BRIDGES)
def test_bridge(
    node: OperatorNode,
    capsys: pytest.CaptureFixture[str],
    present: list[str] | None,
    ports: list[str],
    finding: str | None,
) -> None:
    """A bridge with an address of an earlier range makes every ADD fail: ip link del, after a drain if pods use it."""
    bridged(node)
    found = None if present is None else [ipaddress.ip_interface(each) for each in present]
    node.monkeypatch.setattr(links, "addresses", lambda name: found if name == "cbr9" else None)
    node.monkeypatch.setattr(links, "ports", lambda _name: ports)

    line = examine(node, capsys)[1]["bridge"]

    assert line["finding"] == finding
    if finding:
        assert "the gateway is now 10.244.1.1/24" in line["what"] or "now fd00:10:244:1::1/64" in line["what"]
        assert line["remedy"].endswith("ip link del cbr9")
        assert ("drain the node" in line["remedy"]) == bool(ports)


def test_several_gateways(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A bridge can have one IPv4 address: of two IPv4 ranges, one would find no gateway."""
    node.node["metadata"]["annotations"]["example.com/net1"] = "10.1.1.0/24,10.1.2.0/24,fd00:1::/64"
    bridged(node, annotation="example.com/net1")

    line = examine(node, capsys)[1]["bridge"]

    assert line["finding"] == "bridge-several-gateways"
    assert "the gateways 10.1.1.1/24, 10.1.2.1/24, but cbr9 can have one" in line["what"]


@pytest.mark.parametrize("more", [{"isGateway": False}, {"forceAddress": True}])
def test_bridge_without_a_clash(
    node: OperatorNode, capsys: pytest.CaptureFixture[str], more: dict[str, object]
) -> None:
    """Without a gateway, and if the address is forced, the bridge plugin does not refuse."""
    bridged(node, **more)
    node.monkeypatch.setattr(links, "addresses", lambda _name: [ipaddress.ip_interface("10.244.7.1/24")])

    report = examine(node, capsys)[1]

    assert report.get("bridge", {}).get("finding") is None


def test_addresses_of_this_machine() -> None:
    """The kernel's answer is understood: the loopback's addresses, and None for what does not exist."""
    found = links.addresses("lo")
    assert found is not None
    assert ipaddress.ip_interface("127.0.0.1/8") in found
    assert [links.addresses(name) for name in ("nonesuch0", "x" * 99, "", "a\0b")] == [None] * 4
    assert links.ports("lo") == []


def test_keys_without_effect(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A key that nobody reads is named; a comment is not."""
    node.network(_comment="why", flavour="x")
    line = examine(node, capsys)[1]["keys"]
    assert (line["finding"], "flavour" in line["what"], "_comment" in line["what"]) == ("keys-unknown", True, False)

    node.network(_comment="why", routes=[{"dst": "0.0.0.0/0"}], loglevel="debug")
    assert examine(node, capsys)[1]["keys"]["status"] == "ok"


def test_unknown_level(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A loglevel that does not exist is named, with what to write."""
    node.network(loglevel="verbose")
    line = examine(node, capsys)[1]["keys"]
    assert (line["finding"], line["remedy"]) == ("keys-unknown", "write info, debug or trace")
    assert line["what"].endswith(": 'loglevel' 'verbose' is unknown, info is used")


def test_reports_are_complete(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line has the same keys; a finding has a remedy, and what is fine has neither."""
    node.network(_x=1, flavour="x")
    report: Report = examine(node, capsys)[1]

    assert {tuple(line) for line in report.values()} == {("network", "check", "finding", "status", "what", "remedy")}
    assert [line for line in report.values() if bool(line["finding"]) != (line["status"] in ("warn", "fail"))] == []
