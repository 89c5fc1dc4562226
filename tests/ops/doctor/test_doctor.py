"""doctor names what is wrong and what to do about it, on a healthy node and on many that are not."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plugin import deadline, kube_node
from plugin.errors import Unreachable
from plugin.kube.client import Client
from plugin.ops.doctor import access, checks, state
from plugin.ops.install import archive
from plugin.ops.networks import known_ranges
from plugin.ops.networks.configurations import UNNAMED, Network
from tests.support import broken_nodes as broken
from tests.support.apiserver import authenticated
from tests.support.operator_node import NODE, OperatorNode
from tests.support.privileges import modes_count

Breakage = Callable[[OperatorNode], None]
Report = dict[str, dict[str, Any]]
CHECKS = [name for name, *_ in (*checks.MACHINE, *checks.NETWORK)]


def examine(node: OperatorNode, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Report]:
    """Exit status, and check -> line; of several networks, the last one's."""
    status = node.run("doctor", "-o", "json", *arguments)
    printed = capsys.readouterr()
    assert printed.err == ""
    return status, {line["check"]: line for line in json.loads(printed.out)["checks"]}


def words(report: Report, status: str) -> list[str]:
    """The checks with this status."""
    return [check for check, line in report.items() if line["status"] == status]


def test_healthy(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Every check of a healthy node is ok, and says what it found."""
    node.lease("10.244.1.2", "c1 eth0")
    node.result("c1")

    status, report = examine(node, capsys)

    assert words(report, "skip") == ["other-nodes"]  # a kubelet's credential may not list nodes
    assert {line["status"] for check, line in report.items() if check != "other-nodes"} == {"ok"}, report
    assert status == 0
    others = ("user", "environment", "node-annotation.conf", "pinned", "bridge")
    assert list(report) == [check for check in CHECKS if check not in others]
    assert {line["finding"] for line in report.values()} == {None}
    found = {check: line["what"] for check, line in report.items()}
    assert "host-local" in found["host-local"]
    assert found["host-local"].endswith(("; node-ipam converts 1.1.0 requests", ", supports CNI up to 1.1.0"))
    assert "the kubelet's own" in found["kubeconfig"]
    assert "client certificate" in found["credential"]
    assert found["server"] == f"{node.server.url} answers"
    assert found["node"] == f"{NODE}, by certificate CN"
    assert found["ranges"] == f"10.244.1.0/24, fd00:10:244:1::/64 from spec.podCIDRs of node {NODE}"
    assert found["plugins"] == "bridge, portmap: cniVersion 1.0.0"
    assert found["addresses"] == "1 of 253 used of 10.244.1.0/24; 0 of 1.8e+19 used of fd00:10:244:1::/64"
    assert found["leases"] == "1, none stale"


def test_leases_that_are_not_stale(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """What gc would not release is not warned of: another program's leases, and an ADD that may be under way."""
    node.result("c1", network="another")
    node.lease("10.244.1.2", "vm-1 eth0", 3600)
    node.lease("10.244.1.3", "", 5)

    line = examine(node, capsys)[1]["leases"]

    assert line["status"] == "ok"
    assert line["what"].startswith("2; whether any is stale is unknown: no result of libcni names the network")


@pytest.mark.parametrize("reclaim", [True, False])
def test_leases_that_can_be_reclaimed(node: OperatorNode, capsys: pytest.CaptureFixture[str], reclaim: bool) -> None:
    """After a reboot doctor says how many of the old leases a full range reclaims."""
    node.network(reclaim=reclaim)
    node.proc.boot(time.time() - 60)
    node.write("run/kube-node.json", '{"ranges": [[{"subnet": "10.244.1.0/24", "rangeEnd": "10.244.1.3"}]]}')
    for number in (2, 3):
        node.lease(f"10.244.1.{number}", f"c{number} eth0", 3600)

    report = examine(node, capsys)[1]

    text = "; a full range reclaims 2 of them" if reclaim else ""
    assert report["leases"]["what"] == f"2 in all, 2 stale, 0 empty{text}"
    assert ("a full range reclaims 2 leases" in str(report["addresses"]["remedy"])) is reclaim


def test_leases_that_cannot_be_read(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Of what this user may not see it is not said that it is in order."""
    node.result("c1")
    os.chmod(node.lease("10.244.1.2", "c1 eth0"), 0)

    with modes_count():
        _status, report = examine(node, capsys)

    assert (report["leases"]["what"], report["leases"]["remedy"]) == ("1 in all, 1 cannot be read", "run this as root")
    assert report["addresses"]["what"].startswith("1 of 253 used")


def test_table(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each check, what to do below it, no colour where nobody looks."""
    os.unlink(node.bin / "host-local")
    node.monkeypatch.setattr("plugin.ops.networks.networks.BIN_DIRS", ("/nowhere",))

    assert node.run("doctor") == 1

    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0].split() == ["STATUS", "NETWORK", "CHECK", "FOUND"]
    at = next(i for i, line in enumerate(lines) if line.startswith("fail") and "host-local" in line)
    assert "the plugin host-local is in none of the directories" in lines[at]
    assert lines[at + 1].split()[:2] == ["->", "install"]
    assert "\033" not in printed


# The check that finds it, its word, something of what it says, and of what it advises; the exit status follows.
CASES: list[tuple[Breakage, str, str, str, str]] = [
    (broken.no_host_local, "host-local", "fail", "host-local is in none of", "ln -s"),
    (broken.wrong_kubeconfig, "kubeconfig", "fail", "/kubeconfig: missing", "correct ipam.kubeconfig"),
    (broken.broken_kubeconfig, "kubeconfig", "fail", "no configuration has been provided", "current-context"),
    (broken.expired_token, "credential", "fail", "token expired 2h ago", "renew it"),
    (broken.expired_credential_of_the_kubelet, "credential", "fail", "token expired 2h ago", "restart the kubelet"),
    (broken.expired_credential_of_a_running_kubelet, "credential", "fail", "expired 2h ago", "restart the kubelet"),
    (broken.no_token_file, "credential", "fail", "unable to read tokenFile", "correct the path"),
    (broken.unknown_token, "permission", "fail", "unauthorized (401)", "renew the credentials"),
    (broken.forbidden, "permission", "fail", 'nodes "vm-002" is forbidden', "kind: ClusterRole"),
    (broken.server_down, "server", "fail", "connection refused", "check that the API server runs"),
    (
        broken.wrong_authority,
        "server",
        "fail",
        "signed by an authority that the kubeconfig does not name",
        "certificate-auth",
    ),
    (broken.no_pod_cidrs, "ranges", "fail", "No spec.podCIDRs found on node vm-002", "--allocate-node-cidrs=true"),
    (broken.no_annotation, "ranges", "fail", "Annotation not found: example.com/net1", "kubectl annotate node vm-002"),
    (broken.bad_annotation, "ranges", "fail", "10.0.1.5/24' has host bits set", "write 10.0.1.0/24"),
    (broken.bad_expression, "ranges", "fail", "line 1, column 37", "a JSON object"),
    (broken.overlapping_sets, "ranges", "fail", "10.0.0.0/24 and 10.0.0.128/25 overlap", "one range only"),
    (
        broken.overlapping_networks,
        "overlap",
        "fail",
        "10.244.1.0/24 overlaps 10.244.0.0/16 of network another",
        "ranges of its own",
    ),
    (broken.data_dir_on_disk, "dataDir", "warn", "networks is on ext4", '"dataDir": "/run/'),
    (broken.broken_link, "links", "fail", "kube-node is a broken link to kube-node-1.0", "node-ipam.pyz install"),
    (broken.missing_link, "links", "fail", "there is no", "node-ipam.pyz install"),
    (broken.other_program, "links", "fail", "kube-node is another program", "node-ipam.pyz install"),
    (broken.half_written, "file", "fail", "damaged or half written", "node-ipam.pyz install"),
    (broken.not_executable, "file", "fail", "not executable", "chmod 755"),
    (broken.no_interpreter, "interpreter", "fail", "/usr/bin/python3.8, which the first line", "--python PATH"),
    (broken.no_first_line, "file", "fail", "its first line names no interpreter", "node-ipam.pyz install"),
    (broken.full_range, "addresses", "fail", "no free address: 5 of 5 used of 10.244.1.0/29", "larger range"),
    (
        broken.full_of_stale_leases,
        "addresses",
        "fail",
        "5 of 5 used",
        "release the 5 unused leases: node-ipam.pyz gc",
    ),
    (broken.full_of_stale_leases, "leases", "warn", "5 in all, 5 stale, 0 empty", "gc"),
    (broken.another_machine, "node", "warn", "is not this machine's", "another node's ranges"),
    (broken.no_configuration, "configurations", "warn", "no configuration in", "| node-ipam.pyz doctor -"),
    (broken.broken_configuration, "configurations", "fail", "20-more.conflist is not JSON", "correct or remove"),
    (
        broken.misspelt_configuration,
        "configuration",
        "fail",
        "'ipam.cacheSeconds' is not a number",
        '"cacheSeconds": 30',
    ),
    (broken.no_next_plugin, "next-plugin", "fail", "the plugin whereabouts is in none", "install"),
    (broken.broken_annotation_file, "node-annotation.conf", "fail", "nacfg is not JSON", ""),
    (broken.open_cache, "cache", "warn", "changed by others", "chmod 700"),
    (broken.no_folder, "file", "fail", "there is no directory /nowhere", "--bin-dir DIR"),
    (broken.no_archive, "file", "fail", "there is no", "node-ipam.pyz install"),
    (broken.older_version, "file", "warn", "is version 0.0.", "node-ipam.pyz install"),
    (broken.not_ours, "file", "fail", "node-ipam.pyz is another program", "node-ipam.pyz install"),
    (broken.not_a_file, "file", "fail", "node-ipam.pyz is not a file", "remove it"),
    (broken.mute, "answer", "fail", "does not answer CNI_COMMAND=VERSION: exit status", "node-ipam.pyz install"),
    (broken.old_interpreter, "interpreter", "fail", "/bin/false does not behave like a Python", "--python PATH"),
    (
        broken.other_host_local,
        "host-local",
        "fail",
        "does not answer CNI_COMMAND=VERSION",
        "install the CNI plugins again",
    ),
    (broken.unfit_host_local, "host-local", "fail", "host-local cannot be run: Exec format error", "for this machine"),
    (broken.another_host_local, "next-plugin", "fail", "other/host-local does not answer", "the CNI plugins again"),
    (broken.mute_plugin, "plugins", "warn", "portmap does not answer CNI_COMMAND=VERSION", "the CNI plugins again"),
    (broken.plain_http, "kubeconfig", "warn", "plain HTTP", "https://"),
    (broken.anonymous, "credential", "warn", "user 'node-ipam' has no credential", "see users in"),
    (broken.anonymous, "permission", "fail", "system:anonymous", "gives no credentials"),
    (broken.ends_soon, "credential", "warn", "expires in 3d", "tokenFile"),
    (broken.deleted, "node", "fail", "has no Node 'vm-002'", "kubectl get nodes"),
    (broken.nearly_full, "addresses", "warn", "nearly full: 12 of 13 used", "larger range"),
    (broken.no_ipv6, "ranges", "warn", "no IPv6, so pods of namespaces not in", "IPv6 range"),
    (broken.cache_is_a_file, "cache", "warn", "is not a directory", "rm "),
    (broken.no_place_for_the_cache, "cache", "warn", "/nowhere/cache cannot be created", "as root"),
    (broken.cache_below_a_file, "cache", "warn", "cannot be examined (Not a directory)", "as root"),
    (broken.cache_of_another_user, "cache", "warn", "changed by others", "chown root: /"),
    (broken.empty_leases, "leases", "warn", "1 in all, 0 stale, 1 empty", "gc"),
    (broken.full_of_another_programs, "addresses", "fail", "5 of 5 used", "larger range"),
]


@pytest.mark.parametrize(
    ("breakage", "check", "word", "what", "remedy"), CASES, ids=[f"{case[0].__name__}-{case[1]}" for case in CASES]
)
def test_broken(
    node: OperatorNode,
    capsys: pytest.CaptureFixture[str],
    breakage: Breakage,
    check: str,
    word: str,
    what: str,
    remedy: str,
) -> None:
    """The check that is meant for it names the trouble and the remedy; others fail only as a consequence."""
    breakage(node)
    tokens = [token for token in node.server.users if token]

    status, report = examine(node, capsys)

    line = report[check]
    assert (line["status"], what in line["what"], remedy in (line["remedy"] or "")) == (word, True, True), line
    failed = words(report, "fail")
    assert status == (1 if failed else 0)
    if word == "fail":
        assert failed == [check]
    printed = json.dumps(report)
    assert [token for token in tokens if token in printed] == []
    assert "Traceback" not in printed
    assert "unforeseen" not in printed


@pytest.mark.parametrize(
    ("place", "check"),
    [("parent;reboot;/cache", "cache"), ("file;reboot;", "cache"), ("data;reboot;", "pinned")],
)
def test_remedies_are_quoted(node: OperatorNode, capsys: pytest.CaptureFixture[str], place: str, check: str) -> None:
    """A command to paste does nothing else, whatever the author of a configuration has called a directory."""
    path = str(node.directory / place)
    if check == "pinned":
        node.write(f"{place}/{kube_node.PINNED}", '{"ranges": [[{"subnet": "10.9.0.0/24"}]]}')
        node.network(dataDir=path)
    else:
        node.write("file;reboot;", "")
        node.network(cacheDir=path)

    remedy = examine(node, capsys)[1][check]["remedy"]

    assert ";reboot;" in remedy
    assert not any(";reboot;" in part and "'" not in part for part in remedy.split(" "))


def test_what_needs_a_failed_check_is_skipped(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """One cause is one fail: what follows from it says what it waits for."""
    broken.wrong_kubeconfig(node)

    _status, report = examine(node, capsys)

    assert words(report, "fail") == ["kubeconfig"]
    skipped = {check: report[check]["what"] for check in words(report, "skip")}
    assert skipped == {
        "credential": "needs kubeconfig",
        "server": "needs credential",
        "permission": "needs server",
        "node": "needs permission",
        "ranges": "needs node",
        "overlap": "needs ranges",
        "bridge": "needs ranges",
        "store": "needs ranges",
        "addresses": "needs ranges",
        "other-nodes": "needs ranges",
    }


def test_the_same_failure_of_several_networks(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """It is printed once in the table; JSON has it for each network."""
    node.network("second", dataDir=str(node.make("run2")))
    os.unlink(node.kubeconfig)

    assert node.run("doctor") == 1

    rows = [line.split(None, 3) for line in capsys.readouterr().out.splitlines()]
    found = {row[1]: row[3] for row in rows if row[2:3] == ["kubeconfig-error"]}
    assert found["k8snet"] == "no kubeconfig; looked at $KUBECONFIG: not set, 14 usual places: missing"
    assert found["second"] == "the same as for k8snet"
    assert sum("set ipam.kubeconfig to the path" in " ".join(row) for row in rows) == 1
    assert "no kubeconfig" in examine(node, capsys)[1]["kubeconfig"]["what"]


def test_an_unreachable_server_is_waited_for_once(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Networks with one kubeconfig do not each wait for the same server."""
    asked = []

    def get_node(_client: Client, name: str) -> None:
        asked.append(name)
        raise Unreachable("API server: connection refused")

    for name in ("second", "third"):
        node.network(name, dataDir=str(node.make(name)))
    node.monkeypatch.setattr(Client, "get_node", get_node)

    status, report = examine(node, capsys)

    assert (status, report["server"]["finding"], asked) == (1, "server-unreachable", [NODE])


def test_expiry_of_a_credential(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """It is a date."""
    what = examine(node, capsys)[1]["credential"]["what"]
    assert re.fullmatch(r".*, valid until \d{4}-\d\d-\d\d \d\d:\d\d UTC", what)


def test_pinned_ranges_need_no_server(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Where an operator has written the ranges down, nothing is asked, and nothing is missed."""
    broken.pinned(node)
    os.unlink(node.kubeconfig)

    status, report = examine(node, capsys)

    assert status == 0
    assert report["kubeconfig"]["status"] == "skip"
    assert report["ranges"]["what"].startswith("10.9.0.0/24 from ")
    assert node.server.count() == 0


def test_server_down_with_ranges_known(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """While the server is away the ranges of before are looked at, as the plugin would use them."""
    node.learn(node.network())
    broken.server_down(node)

    status, report = examine(node, capsys)

    assert status == 1
    assert words(report, "fail") == ["server"]
    assert report["ranges"]["status"] == "ok"
    assert report["ranges"]["what"].endswith(", cached: the server is unreachable")
    assert f"node {NODE}, queried" in report["cache"]["what"]


def test_nothing_is_changed(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """doctor leaves cache, store and configuration as they are, and asks with GET alone."""
    before = sorted(str(path) for path in node.directory.rglob("*"))

    examine(node, capsys)

    assert sorted(str(path) for path in node.directory.rglob("*")) == before
    assert not os.path.exists(os.environ["NODE_IPAM_CACHE"])
    assert {asked.method for asked in node.server.requests} == {"GET"}


def test_machine_id_is_slow(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A node that is only found by asking for all of them is better given its name."""
    node.server.rule = lambda _user, _verb, _name: ""
    node.network(kubeconfig=node.server.write_kubeconfig(node.directory / "token.conf"))

    _status, report = examine(node, capsys)

    assert report["node"]["status"] == "warn"
    assert "nodeName" in report["node"]["remedy"]


def test_host_name_that_no_node_can_have(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """An ADD passes it over and finds the Node by its machine-id: the server is asked for another name."""
    node.server.rule = authenticated
    node.network(kubeconfig=node.server.write_kubeconfig(node.directory / "token.conf"))
    node.monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="my_host"))

    status, report = examine(node, capsys)

    assert (status, words(report, "fail")) == (0, [])
    assert report["permission"]["status"] == "ok"
    assert report["node"]["what"].startswith(NODE)


@pytest.mark.parametrize("kind", ["token", "token-file", "certificate", "kubelet"])
def test_secrets_that_everybody_can_read(node: OperatorNode, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """A file with a key or token that every user can read is a warning; a kubeconfig without one is not (EKS)."""
    config = node.server.kubeconfig(kind, NODE, directory=str(node.directory))
    path = node.write("open.conf", json.dumps(config))
    node.network(kubeconfig=path, nodeName=NODE)
    node.server.rule = lambda _user, _verb, _name: ""
    os.chmod(path, 0o644)
    is_inline = kind in ("token", "certificate")
    assert examine(node, capsys)[1]["kubeconfig"]["finding"] == ("kubeconfig-readable-by-all" if is_inline else None)

    os.chmod(path, 0o600)
    assert examine(node, capsys)[1]["kubeconfig"]["finding"] is None
    if not is_inline:
        secret = str(node.directory / ("token" if kind == "token-file" else "kubelet-client-current.pem"))
        os.chmod(secret, 0o644)
        line = examine(node, capsys)[1]["kubeconfig"]
        assert (line["finding"], line["remedy"]) == ("kubeconfig-readable-by-all", f"chmod 600 {secret}")


def test_insecure_kubeconfig(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A kubeconfig that trusts any server is a warning."""
    config = node.server.kubeconfig("kubelet", NODE, directory=str(node.directory))
    cluster = config["clusters"][0]["cluster"]
    del cluster["certificate-authority-data"]
    cluster["insecure-skip-tls-verify"] = True
    Path(node.kubeconfig).write_text(json.dumps(config), encoding="utf-8")
    assert examine(node, capsys)[1]["kubeconfig"]["finding"] == "kubeconfig-insecure"


def test_other_ranges_than_before(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A range that has changed since the runtime last asked is pointed out."""
    node.learn(node.network())
    node.node["spec"] = {"podCIDRs": ["10.244.7.0/24"]}

    line = examine(node, capsys)[1]["node"]

    assert (line["status"], "has other podCIDRs" in line["what"]) == ("warn", True)
    assert "running pods keep theirs" in line["remedy"]


def test_files_of_a_service_account(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Without any kubeconfig they are used; that every user of the pod can read the token is as it should be."""
    os.unlink(node.kubeconfig)
    config = node.server.kubeconfig("token")
    folder = "var/run/secrets/kubernetes.io/serviceaccount"
    for name, text in (
        ("token", config["users"][0]["user"]["token"]),
        ("ca.crt", base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()),
    ):
        os.chmod(node.write(f"{folder}/{name}", text), 0o644)
    host, _, port = node.server.url.removeprefix("https://").rpartition(":")
    node.monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    node.monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    node.server.rule = authenticated

    status, report = examine(node, capsys)

    assert (status, report["kubeconfig"]["status"], report["server"]["status"]) == (0, "ok", "ok")
    assert f"{folder}/token (in-cluster files)" in report["kubeconfig"]["what"]


def test_another_environment(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """If the runtime's last ADD had other variables than this shell, and this shell's are asked for, that is said."""
    node.learn(node.network())
    node.monkeypatch.setenv("NODE_NAME", NODE)

    _status, report = examine(node, capsys, "--shell-environment")

    assert report["cache"]["finding"] == "cache-other-environment"
    assert "NODE_NAME=''" in report["cache"]["what"]


def test_environment_of_the_runtime(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """What the runtime's last ADD had in its environment is what doctor looks at, whatever this shell has."""
    elsewhere = node.server.write_kubeconfig(node.directory / "runtime.conf", "kubelet", NODE)
    os.unlink(node.kubeconfig)
    node.monkeypatch.setenv("KUBECONFIG", elsewhere)
    node.learn(node.network())
    node.monkeypatch.setenv("KUBECONFIG", "/nowhere")

    status, report = examine(node, capsys)

    assert (status, words(report, "warn")) == (0, [])
    assert report["kubeconfig"]["what"].startswith(f"{elsewhere} ($KUBECONFIG)")
    assert "ignored, as the runtime has its own: KUBECONFIG=/nowhere of" in report["environment"]["what"]


def test_two_networks_on_one_range(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Two networks of ours with the same ranges are found out, the second one's line says so."""
    node.network("second", dataDir=str(node.make("run2")))

    status, report = examine(node, capsys)

    assert status == 1
    assert report["overlap"]["network"] == "second"
    assert "10.244.1.0/24 overlaps 10.244.1.0/24 of network k8snet" in report["overlap"]["what"]


def test_networks_of_which_no_range_is_known(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """They may have the same ranges: it is not said that no other network has."""
    node.network("net1", annotation="example.com/net1", nodeName="other", dataDir=str(node.make("run1")))
    node.network("cloud", type="azure-vnet-ipam", dataDir=None)

    line = examine(node, capsys, "k8snet")[1]["overlap"]

    assert line["status"] == "ok"
    assert line["what"] == (
        "no overlap with a network on this machine whose ranges are known; unknown: "
        "cloud (azure-vnet-ipam does not keep its leases there); "
        "net1 (nothing is known of the Node yet, or the cache belongs to another user)"
    )


def test_network_of_which_ranges_were_read_before(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The Node of the first network's kubeconfig was just read: that counts when the second one is compared with it."""
    node.node["metadata"]["annotations"]["example.com/net1"] = "10.1.1.0/24"
    node.network("a", annotation="example.com/net1", nodeName=NODE, dataDir=str(node.make("run1")))

    line = examine(node, capsys)[1]["overlap"]

    assert (line["network"], line["what"]) == ("k8snet", "no overlap with another network on this machine")


def test_overlap_before_the_first_pod(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The Node that doctor has just read counts, for networks that are checked later as well."""
    node.node["metadata"]["annotations"]["example.com/net1"] = "10.244.1.128/25"
    node.network("net1", annotation="example.com/net1", dataDir=str(node.make("run1")))

    line = examine(node, capsys, "k8snet")[1]["overlap"]

    assert line["status"] == "fail"
    assert "of network net1: two pods can get one address" in line["what"]


def test_many_networks(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """The ranges of each are found once, not once for each network that is compared with it."""
    found: list[str] = []
    of_network = known_ranges.of_network

    def counted(network: Network, *more: Any) -> known_ranges.Known:
        found.append(network.name)
        return of_network(network, *more)

    node.monkeypatch.setattr(known_ranges, "of_network", counted)
    names = [f"net{number}" for number in range(8)]
    for number, name in enumerate(names):
        node.node["metadata"]["annotations"][f"example.com/{name}"] = f"10.1.{number // 2}.0/24"
        node.network(name, annotation=f"example.com/{name}", dataDir=str(node.make(f"data/{name}")))

    node.run("doctor", "-o", "json")

    assert sorted(found) == ["k8snet", *names]
    lines = json.loads(capsys.readouterr().out)["checks"]
    clashes = [line["network"] for line in lines if line["finding"] == "overlap-other-network"]
    assert clashes == names


def test_a_network_is_not_compared_with_itself(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Where its leases are is in the annotation alone."""
    text = f'dataDir: "{node.make("mine")}", ranges: [[{{"subnet": "172.16.5.0/24"}}]]'
    node.node["metadata"]["annotations"]["example.com/mine"] = text
    node.network("mynet", type="node-annotation", annotation="example.com/mine", dataDir=None)

    line = examine(node, capsys, "mynet")[1]["overlap"]

    assert (line["status"], line["what"]) == ("ok", "no overlap with another network on this machine")


def test_missing_annotation_of_node_annotation(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """`ranges assign` writes CIDRs, which only kube-node takes."""
    remedies = {}
    for kind in ("kube-node", "node-annotation"):
        node.network("net1", type=kind, annotation="example.com/net1", dataDir=None)
        remedies[kind] = examine(node, capsys, "net1")[1]["ranges"]["remedy"]

    assert ["ranges assign" in each for each in remedies.values()] == [True, False]
    assert all("kubectl annotate node vm-002 example.com/net1=" in each for each in remedies.values())


def test_without_a_name(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A NetworkAttachmentDefinition may have none: nothing is wrong with that, and leases are not looked for."""
    config = node.network()
    del config["name"]
    node.feed(config)

    status, report = examine(node, capsys, "-")

    assert status == 0
    assert report["ranges"]["network"] == UNNAMED
    assert words(report, "skip") == ["other-nodes", "addresses", "leases"]


def test_not_ours(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard input is called by its name."""
    node.feed({"name": "lo", "type": "loopback"})

    _status, report = examine(node, capsys, "-")

    assert report["configurations"]["what"] == "standard input uses neither kube-node nor node-annotation"


@pytest.mark.parametrize("how", ["path", "name", "stdin"])
def test_conf(node: OperatorNode, capsys: pytest.CaptureFixture[str], how: str) -> None:
    """One configuration can be given as a file, by its network's name, or on standard input."""
    node.network("second", annotation="example.com/net1", nodeName="vm-002")
    config = node.network()
    conf = {"path": str(node.conf / "10-k8snet.conflist"), "name": "k8snet", "stdin": "-"}[how]
    node.feed(config)

    status, report = examine(node, capsys, conf)

    assert status == 0
    assert report["ranges"]["network"] == "k8snet"
    assert words(report, "fail") == []


def test_ipam_alone(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration without a main plugin has no other plugin to look at; the rest is checked."""
    config = node.network()
    del config["type"]
    node.feed(config)

    status, report = examine(node, capsys, "-")

    assert (status, "plugins" in report) == (0, False)
    assert ": no main plugin with kube-node" in report["configuration"]["what"]


@pytest.mark.parametrize(
    ("conf", "what"),
    [
        ("nonet", "no network 'nonet' in "),
        ("/nowhere/10.conf", "/nowhere/10.conf cannot be read"),
        ("10-lo.conf", "uses neither kube-node nor node-annotation"),
    ],
)
def test_wrong_conf(node: OperatorNode, capsys: pytest.CaptureFixture[str], conf: str, what: str) -> None:
    """A CONF that leads nowhere is a finding with a remedy."""
    path = node.write("10-lo.conf", '{"name": "lo", "type": "loopback"}')

    status, report = examine(node, capsys, path if conf == "10-lo.conf" else conf)

    assert status == 1
    assert what in report["configurations"]["what"]
    assert report["configurations"]["remedy"]


def test_multus(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """What Multus delegates to is looked at as well."""
    delegate = {"cniVersion": "0.3.1", "name": "k8snet", "type": "ptp", "ipam": {"type": "kube-node"}}
    config = {"cniVersion": "0.3.1", "name": "multus", "plugins": [{"type": "multus", "delegates": [delegate]}]}
    node.write("net.d/00-multus.conflist", json.dumps(config))
    os.unlink(node.conf / "10-k8snet.conflist")

    _status, report = examine(node, capsys)

    assert "ptp with kube-node" in report["configuration"]["what"]


def test_another_next_plugin(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """What another plugin than host-local makes of the annotation is its own affair."""
    node.monkeypatch.setenv("NODE_ANNOTATION_CFG", node.write("nacfg", '{"nextipam": "cat"}'))
    node.node["metadata"]["annotations"]["example.com/net1"] = "anything: true"
    node.network(type="node-annotation", annotation="example.com/net1", dataDir=None)

    _status, report = examine(node, capsys)

    assert words(report, "fail") == []
    assert "nacfg sets nextipam" in report["node-annotation.conf"]["what"]
    assert report["next-plugin"]["what"].endswith("/cat, named by nextipam")
    assert report["ranges"]["what"].startswith("allocated by ")
    assert report["addresses"]["what"] == "no ranges"
    assert words(report, "warn") == []
    assert {report[check]["what"].rpartition("/")[2] for check in ("dataDir", "leases")} == {"cat keeps the leases"}


def test_older_form_of_ranges(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A single range beside a list of them, as host-local takes it, is looked at with the others."""
    text = '"subnet": "10.1.0.0/24", "ranges": [[{"subnet": "10.2.0.0/24"}]]'
    node.node["metadata"]["annotations"]["example.com/net1"] = text
    node.network(type="node-annotation", annotation="example.com/net1", dataDir=None)

    assert examine(node, capsys)[1]["ranges"]["what"].startswith("10.1.0.0/24, 10.2.0.0/24 from annotation")


def test_kubeconfig_of_the_shell(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A kubeconfig and a node's name that only this shell has do not count, unless asked for."""
    admin = node.server.write_kubeconfig(node.directory / "admin.conf")
    node.monkeypatch.setenv("KUBECONFIG", admin)
    node.monkeypatch.setenv("NODE_NAME", "vm-999")

    status, report = examine(node, capsys)
    assert (status, report["kubeconfig"]["what"].split()[0]) == (0, node.kubeconfig)
    assert f"KUBECONFIG={admin}, NODE_NAME=vm-999 of this shell" in report["environment"]["what"]

    _status, report = examine(node, capsys, "--shell-environment")
    assert report["kubeconfig"]["what"].split()[0] == admin
    assert "environment" not in report


def test_server_goes_away_between_two_questions(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """It is never a traceback, and what was known before is still looked at."""
    node.learn(node.network())
    asked = len(node.server.requests)
    node.server.fault = lambda handler: len(node.server.requests) > asked + 1 and not handler.connection.close()

    _status, report = examine(node, capsys)

    assert words(report, "fail") == ["node"]
    assert report["node"]["what"].startswith(f"using what was known of node {NODE}")
    assert report["ranges"]["what"].endswith(", cached: the server is unreachable")


def test_any_exception_is_a_line(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A check that breaks says so by its kind, and no text of it gets out."""

    def explode(_network: Network) -> str:
        raise RuntimeError("c2VjcmV0")

    node.monkeypatch.setattr("plugin.ops.networks.known_ranges.pinned_file", explode)

    status, report = examine(node, capsys)

    assert status == 1
    assert report["pinned"]["what"].startswith("unforeseen RuntimeError at test_doctor.py:")
    assert "c2VjcmV0" not in json.dumps(report)


def test_file_that_this_user_cannot_read(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of which nothing is known is named, with who can read it."""
    path = node.bin / archive.FILE
    os.chmod(path, 0)

    with modes_count():
        line = examine(node, capsys)[1]["file"]

    expected = ("file-unreadable", f"{path}: Permission denied", "run this as root")
    assert (line["finding"], line["what"], line["remedy"]) == expected


def test_copies_in_place_of_links(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A copy of the program under a plugin's name is the plugin."""
    for name in archive.LINKS:
        os.unlink(node.bin / name)
        shutil.copy(node.bin / archive.FILE, node.bin / name)

    status, report = examine(node, capsys)

    assert (status, report["links"]["status"], report["answer"]["status"]) == (0, "ok", "ok")


def test_a_check_that_hangs(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A check has its time and no more."""
    node.monkeypatch.setattr(deadline, "TOTAL", 0.2)
    node.monkeypatch.setattr(access, "kubeconfig", lambda _context: time.sleep(60))
    table = [entry if entry[0] != "kubeconfig" else ("kubeconfig", access.kubeconfig, ()) for entry in checks.NETWORK]
    node.monkeypatch.setattr(checks, "NETWORK", table)

    _status, report = examine(node, capsys)

    assert "no result within" in report["kubeconfig"]["what"]
    assert report["kubeconfig"]["finding"] == "kubeconfig-timeout"


def test_needs_name_earlier_checks() -> None:
    """A check can only wait for one that comes before it in the same table."""
    for table in (checks.MACHINE, checks.NETWORK):
        names = [name for name, *_ in table]
        late = [
            (name, need) for at, (name, _check, needs) in enumerate(table) for need in needs if need not in names[:at]
        ]
        assert late == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/run/user/1", "tmpfs"),
        ("/run", "tmpfs"),
        ("/running", "ext4"),
        ("/run/a b/c", "xfs"),
        ("/run/over", "overlay"),
        ("/run/ü/x", "btrfs"),
    ],
)
def test_filesystem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, kind: str) -> None:
    """The mount with the longest path counts, of several on one place the last; blanks are written as \\040."""
    mounts = [("/", "ext4"), ("/run", "ext2"), ("/run", "tmpfs"), (r"/run/a\040b", "xfs"), ("/run/over", "overlay")]
    mounts.append(("/run/ü", "btrfs"))
    text = "".join(f"1 1 0:1 / {point} rw shared:1 - {each} dev rw\n" for point, each in mounts)
    monkeypatch.setattr(state, "MOUNTS", str(tmp_path / "mountinfo"))
    (tmp_path / "mountinfo").write_text(text, encoding="utf-8")
    monkeypatch.setattr(os.path, "realpath", lambda path: path)

    assert state.filesystem(path) == kind


def test_filesystem_that_is_unknown(node: OperatorNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the kernel's table, nothing is said to be cleared, and nothing is warned of."""
    node.monkeypatch.setattr(state, "MOUNTS", "/nowhere")

    line = examine(node, capsys)[1]["dataDir"]

    assert (line["status"], "its file system is unknown" in line["what"]) == ("ok", True)


def test_filesystem_of_this_machine() -> None:
    """The kernel's own table is understood."""
    assert state.filesystem("/proc/self/status") == "proc"
