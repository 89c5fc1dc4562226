"""Which Node this machine is: each source, its order, and what happens in doubt, against a real server."""

from __future__ import annotations

import base64
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plugin import deadline
from plugin.cache import Cache
from plugin.config.settings import Settings
from plugin.errors import TRY_AGAIN_LATER, CniError, Unreachable
from plugin.facts import Facts, from_node
from plugin.log import Log
from plugin.node import identity
from tests.support.apiserver import ApiServer, Handler
from tests.support.makeconfig import as_yaml
from tests.support.nodes import make_node
from tests.support.rules import User, node_authorizer, rbac_get_nodes_only

MACHINE = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """A server that knows three nodes; host-1 is this machine's."""
    with ApiServer() as running:
        running.add(make_node("host-1", machine_id=MACHINE))
        running.add(make_node("host-2", machine_id=OTHER))
        running.add(make_node("host-3"))
        yield running


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine named Host-1, with a machine-id; the path of the file that holds it."""
    file = tmp_path / "machine-id"
    file.write_text(MACHINE + "\n")
    monkeypatch.setattr(identity, "MACHINE_ID_FILES", (str(tmp_path / "none"), str(file)))
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="Host-1"))
    return file


def settings(server: ApiServer, path: Path, kind: str = "token", user: str = "plugin", **environ: str) -> Settings:
    """Settings with a kubeconfig of this kind."""
    made = Settings(environ, Log(), "ipam.kubeconfig")
    made.cache = Cache(str(path / "cache"))
    made.kubeconfig = server.write_kubeconfig(path / "kubeconfig", kind, user)
    return made


def found(made: Settings, known: Facts | None = None) -> tuple[str, str]:
    """(how, name) of the Node that is taken for this machine's."""
    node, how, _files = identity.identify(made, known, lambda _node: True)
    return how, node["metadata"]["name"]


def hostname(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let this machine be called so."""
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename=name))


@pytest.mark.usefixtures("machine")
def test_configuration_comes_first(server: ApiServer, tmp_path: Path) -> None:
    """nodeName wins over everything else."""
    made = settings(server, tmp_path, "kubelet", "host-3", NODE_NAME="host-2")
    made.node_name = "host-1"

    assert found(made) == ("nodeName", "host-1")


@pytest.mark.usefixtures("machine")
def test_environment_comes_second(server: ApiServer, tmp_path: Path) -> None:
    """$NODE_NAME wins over the credential."""
    assert found(settings(server, tmp_path, "kubelet", "host-3", NODE_NAME="host-1")) == ("$NODE_NAME", "host-1")


@pytest.mark.usefixtures("machine")
def test_certificate_comes_third(server: ApiServer, tmp_path: Path) -> None:
    """A kubelet's certificate names its Node, under the rules kubelets live by, with one GET."""
    server.rule = node_authorizer

    assert found(settings(server, tmp_path, "kubelet", "host-3")) == ("certificate CN", "host-3")
    assert server.count() == 1


@pytest.mark.usefixtures("machine")
def test_hostname_comes_next(server: ApiServer, tmp_path: Path) -> None:
    """The host name in lower case, when the Node of that name reports this machine's id."""
    server.rule = rbac_get_nodes_only

    assert found(settings(server, tmp_path)) == ("hostname", "host-1")
    assert server.count() == 1


@pytest.mark.usefixtures("machine")
def test_machine_id_comes_last(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name that no Node has: the list is searched, page by page, for the only Node with this machine's id."""
    hostname(monkeypatch, "elsewhere")
    server.page = 2

    assert found(settings(server, tmp_path)) == ("machine-id", "host-1")
    assert [each.path.partition("?")[0] for each in server.requests[-2:]] == ["/api/v1/nodes", "/api/v1/nodes"]


@pytest.mark.usefixtures("machine")
def test_list_is_searched_once(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the list told is remembered, and read and checked the next time, after the host name."""
    hostname(monkeypatch, "elsewhere")
    known = from_node(server.nodes["host-1"], identity.BY_LIST, 0.0)
    assert found(settings(server, tmp_path), known) == ("machine-id", "host-1")
    assert [each.path for each in server.requests if each.path.startswith("/api/v1/nodes?")] == []

    server.nodes["host-1"]["status"]["nodeInfo"]["machineID"] = OTHER
    with pytest.raises(CniError, match="cannot be told"):
        found(settings(server, tmp_path), known)


@pytest.mark.usefixtures("machine")
def test_hostname_of_another_machine(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name that is another machine's Node is not taken: the machine-id decides."""
    hostname(monkeypatch, "host-2")
    assert found(settings(server, tmp_path)) == ("machine-id", "host-1")

    server.rule = rbac_get_nodes_only
    with pytest.raises(CniError) as raised:
        found(settings(server, tmp_path))
    assert f"its machineID is {OTHER}" in raised.value.details
    assert "cannot list" in raised.value.details


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("same", [0, 2, 3])
def test_not_exactly_one(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: int) -> None:
    """No Node with this machine's id, or several (cloned disks): an error that names them, never a guess."""
    hostname(monkeypatch, "elsewhere")
    for number, name in enumerate(sorted(server.nodes)):
        server.nodes[name]["status"]["nodeInfo"]["machineID"] = MACHINE if number < same else OTHER
    with pytest.raises(CniError) as raised:
        found(settings(server, tmp_path))

    assert raised.value.code == 100
    assert "hostname elsewhere" in raised.value.details
    assert ", ".join(sorted(server.nodes)[:same]) or "no Node" in raised.value.details


def test_machine_without_id(server: ApiServer, tmp_path: Path, machine: Path) -> None:
    """Without a machine-id a host name proves nothing."""
    machine.write_text("\n")
    with pytest.raises(CniError) as raised:
        found(settings(server, tmp_path))

    assert "this machine's is unknown" in raised.value.details
    assert "nodeName" in raised.value.details


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("name", ["UPPER", "a b", "../x", "a" * 254, "-a", ""])
def test_names_no_node_can_have(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A name that is none is refused where it was told, and skipped where it was a guess; it never gets into a URL."""
    if name:
        with pytest.raises(CniError, match="NODE_NAME"):
            found(settings(server, tmp_path, NODE_NAME=name))
        assert server.requests == []
    hostname(monkeypatch, name if name != "UPPER" else "_")
    assert found(settings(server, tmp_path)) == ("machine-id", "host-1")


@pytest.mark.usefixtures("machine")
def test_told_name_that_does_not_exist(server: ApiServer, tmp_path: Path) -> None:
    """A name that was told and is no Node's is an error: nothing else is tried."""
    with pytest.raises(CniError) as raised:
        found(settings(server, tmp_path, NODE_NAME="host-9"))

    assert "host-9" in raised.value.msg
    assert all("host-9" in each.path for each in server.requests)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("kind", "user"),
    [("token", "plugin"), ("certificate", "admin"), ("kubelet", "host-3")],
    ids=["token", "admin", "kubelet"],
)
@pytest.mark.parametrize("source", ["nodeName", "$NODE_NAME"])
def test_configured_name_of_another_machine(
    source: str, kind: str, user: str, server: ApiServer, tmp_path: Path
) -> None:
    """A Node that reports another machine's id is an error, whoever named it: another node's ranges are the worst."""
    made = settings(server, tmp_path, kind, user, **({"NODE_NAME": "host-2"} if source == "$NODE_NAME" else {}))
    made.node_name = "host-2" if source == "nodeName" else ""
    with pytest.raises(CniError) as raised:
        found(made)
    assert raised.value.msg == (
        f"{source} says that this is node host-2, whose machineID {OTHER} is not this machine's {MACHINE}"
    )
    assert "to this machine's Node" in raised.value.details


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("source", ["nodeName", "$NODE_NAME", "certificate CN", "SelfSubjectReview"])
def test_kubelet_in_a_container(
    source: str, server: ApiServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A kubelet in a container reports the id of its image: with its own credential, that is only a warning."""
    kind = "token" if source == "SelfSubjectReview" else "kubelet"
    user = "system:node:host-2" if kind == "token" else "host-2"
    made = settings(server, tmp_path, kind, user, **({"NODE_NAME": "host-2"} if source == "$NODE_NAME" else {}))
    server.users = {token: User(user, ("system:nodes",)) for token in server.users}
    made.node_name = "host-2" if source == "nodeName" else ""
    assert found(made) == (source, "host-2")
    assert f"whose machineID {OTHER}" in capfd.readouterr().err


def test_machine_and_node_without_a_valid_id(server: ApiServer, tmp_path: Path, machine: Path) -> None:
    """What an image has in place of a machine-id is none: another machine of the same image reports the same."""
    for text in (
        "",
        "uninitialized",
        "0" * 32,
        MACHINE[:31],
        f"{MACHINE}0",
        "g" * 32,
        MACHINE[:16] + "-" + MACHINE[17:],
    ):
        machine.write_text(f"{text}\n")
        server.nodes["host-1"]["status"]["nodeInfo"]["machineID"] = text
        with pytest.raises(CniError, match="this machine's Node cannot be told") as raised:
            found(settings(server, tmp_path))
        assert "its machineID is unknown, this machine's is unknown" in raised.value.details, text


def test_second_machine_id_file(
    server: ApiServer, tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file without a valid id does not hide the other one."""
    (tmp_path / "first").write_text("uninitialized\n")
    monkeypatch.setattr(identity, "MACHINE_ID_FILES", (str(tmp_path / "first"), str(machine)))
    assert found(settings(server, tmp_path)) == ("hostname", "host-1")


@pytest.mark.usefixtures("machine")
def test_short_host_name(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first part of the host name is a candidate as well, which the machine-id must confirm."""
    server.rule = rbac_get_nodes_only
    hostname(monkeypatch, "Host-1.example.org")
    assert found(settings(server, tmp_path)) == ("short host name", "host-1")
    hostname(monkeypatch, "host-2.example.org")
    with pytest.raises(CniError, match="cannot be told"):
        found(settings(server, tmp_path))


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("how", ["hostname", "certificate CN", "name found before"])
def test_name_found_before(how: str, server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the host was renamed, the name found before is a candidate, which the machine-id must confirm."""
    server.rule = rbac_get_nodes_only
    hostname(monkeypatch, "renamed")
    known = from_node(server.nodes["host-1"], how, 0.0)
    assert found(settings(server, tmp_path), known) == ("name found before", "host-1")
    with pytest.raises(CniError, match="cannot be told"):
        found(settings(server, tmp_path), from_node(server.nodes["host-2"], how, 0.0))


@pytest.mark.usefixtures("machine")
def test_api_server_says_whose_the_credential_is(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kubelet's token does not say whose it is; the API server does, and is asked before any candidate."""
    server.rule = node_authorizer
    hostname(monkeypatch, "host-2")
    made = settings(server, tmp_path, "token", "system:node:host-1")
    server.users = {token: User("system:node:host-1", ("system:nodes",)) for token in server.users}
    assert found(made) == ("SelfSubjectReview", "host-1")
    assert [each.method for each in server.requests] == ["POST", "GET"]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    "user",
    [
        User("system:node:host-2"),
        User("system:node:host-2", ("system:masters",)),
        User("host-2", ("system:nodes",)),
        User("system:node:", ("system:nodes",)),
    ],
)
def test_user_that_is_no_kubelet(user: User, server: ApiServer, tmp_path: Path) -> None:
    """Only a user of the group of kubelets is one."""
    made = settings(server, tmp_path)
    server.users = dict.fromkeys(server.users, user)
    assert found(made) == ("hostname", "host-1")


@pytest.mark.usefixtures("machine")
def test_impersonated_kubelet(server: ApiServer, tmp_path: Path) -> None:
    """Who may impersonate any kubelet is none: the machine-id must confirm the Node."""
    made = settings(server, tmp_path)
    kubeconfig = server.kubeconfig("token", "admin", directory=str(tmp_path))
    kubeconfig["users"][0]["user"].update({"as": "system:node:host-2", "as-groups": ["system:nodes"]})
    Path(made.kubeconfig).write_text(as_yaml(kubeconfig))
    server.users = dict.fromkeys(server.users, User("system:node:host-2", ("system:nodes",)))
    assert found(made) == ("hostname", "host-1")


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("code", [400, 403, 404, 405, 501])
def test_api_server_that_cannot_say(code: int, server: ApiServer, tmp_path: Path) -> None:
    """Before Kubernetes 1.28, or behind a proxy that lets nothing be created, the candidates are tried."""

    def refuse(handler: Handler) -> bool:
        if handler.command == "POST":
            handler.status(code, "NotFound" if code == 404 else "Forbidden", "the server could not find the resource")
        return handler.command == "POST"

    server.fault = refuse
    assert found(settings(server, tmp_path)) == ("hostname", "host-1")


@pytest.mark.usefixtures("machine")
def test_api_server_is_not_asked_needlessly(server: ApiServer, tmp_path: Path) -> None:
    """A certificate and a service account's token say whose they are, and a configured name needs no credential."""
    found(settings(server, tmp_path, "certificate", "admin"))
    found(token_of("host-1", server, tmp_path))
    found(settings(server, tmp_path, NODE_NAME="host-1"))
    assert server.count("POST") == 0


@pytest.mark.usefixtures("machine")
def test_server_that_answers_with_another_node(server: ApiServer, tmp_path: Path) -> None:
    """A Node of another name than the one asked for is refused: its ranges are not ours."""

    def wrong(handler: Handler) -> bool:
        handler.answer(200, json.dumps(server.nodes["host-2"]).encode())
        return True

    server.fault = wrong
    with pytest.raises(CniError, match="not the Node asked for"):
        found(settings(server, tmp_path, NODE_NAME="host-1"))


@pytest.mark.usefixtures("machine")
def test_wanted_field_that_the_watch_cache_lacks(server: ApiServer, tmp_path: Path) -> None:
    """A Node that lacks what is wanted is read once more, past the server's cache."""
    server.stale["host-1"] = make_node("host-1", (), machine_id=MACHINE)

    def has(node: dict[str, Any]) -> bool:
        return bool(node["spec"].get("podCIDRs"))

    assert has(identity.identify(settings(server, tmp_path), None, has)[0])
    assert server.count() == 2


def token_of(node: str, server: ApiServer, path: Path) -> Settings:
    """The settings with the token of a pod on this node."""
    claims = {"kubernetes.io": {"node": {"name": node}}}
    token = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims)
    )
    made = settings(server, path)
    config = server.kubeconfig()
    known = config["users"][0]["user"]["token"]
    server.users[f"{token}.c2ln"] = server.users[known]
    config["users"][0]["user"]["token"] = f"{token}.c2ln"
    (path / "kubeconfig").write_text(as_yaml(config))
    return made


@pytest.mark.usefixtures("machine")
def test_token_that_names_its_node(server: ApiServer, tmp_path: Path) -> None:
    """A pod-bound token names the node in a claim."""
    assert found(token_of("host-1", server, tmp_path)) == ("token claim", "host-1")


@pytest.mark.usefixtures("machine")
def test_token_from_another_machine(server: ApiServer, tmp_path: Path) -> None:
    """A token may have been copied from a pod elsewhere: that Node reports another machine-id, and it is an error."""
    with pytest.raises(CniError, match="token claim says that this is node host-3, whose machineID"):
        found(token_of("host-3", server, tmp_path))


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("name", "expected"), [("host-1", []), ("host-3", ["forgotten"])])
def test_facts_of_another_node_are_forgotten(server: ApiServer, tmp_path: Path, name: str, expected: list[str]) -> None:
    """What is known of another Node than is told now goes, though the server may not answer."""
    made = settings(server, tmp_path, "kubelet", "host-1")
    server.stop()
    known = Facts(name, "u", "certificate CN", [], {}, 0.0)
    forgotten: list[str] = []
    with deadline.within(2.0), pytest.raises(Unreachable):
        identity.identify(made, known, lambda _node: True, lambda: forgotten.append("forgotten"))
    assert forgotten == expected


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_shortage(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Out of open files or memory, this machine's id is not missing: nothing would tell that this is another's Node."""
    made = settings(server, tmp_path)
    made.node_name = "host-2"

    def refuse(path: str, *_more: object) -> None:
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr(identity, "open", refuse, raising=False)
    with pytest.raises(CniError, match=f"none cannot be read: {os.strerror(code)}") as caught:
        found(made)
    assert caught.value.code == TRY_AGAIN_LATER
