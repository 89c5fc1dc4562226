"""The built plugins, as root, with files that somebody else can change: nothing of them is run, used or sent."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugin.node.identity import machine_id
from tests.artifact.conftest import Built
from tests.support.apiserver import ApiServer
from tests.support.nodes import make_node
from tests.support.rules import User
from tests.support.runtime import Answer, Pod

USER = 1234
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")


class Kubeconfig:
    """A kubeconfig for a server that listens on this machine, in directories of root; each part is a file."""

    def __init__(self, directory: Path, server: ApiServer) -> None:
        self.directory = directory
        directory.mkdir()
        server.add(make_node("n1", ["10.1.0.0/24"]))
        for name in ("ca", "token"):
            (directory / name).mkdir()
        (directory / "ca/ca.crt").write_bytes(server.authority.ca_pem)
        (directory / "token/token").write_text("sekrit-token-0123456789")
        self.path = directory / "kubeconfig"
        self.ran = directory / "ran"
        (directory / "exec").mkdir()
        program = directory / "exec/hand-out"
        program.write_text(f"#!/bin/sh\nid -u > {self.ran}\n")
        program.chmod(0o755)
        self.server = server

    def write(self, **user: object) -> None:
        """Write it, with this user entry."""
        cluster = {"server": self.server.url, "certificate-authority": str(self.directory / "ca/ca.crt")}
        document = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        self.path.write_text(json.dumps(document))

    def run_program(self) -> None:
        """Let its credentials come from a program."""
        program = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(self.directory / "exec/hand-out")}
        self.write(exec={**program, "interactiveMode": "Never"})

    def show_token(self) -> None:
        """Let its credentials come from a file."""
        self.write(tokenFile=str(self.directory / "token/token"))


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Kubeconfig]:
    """A kubeconfig that root may use."""
    with ApiServer() as server:
        yield Kubeconfig(tmp_path / "credentials", server)


def add(built: Built, kubeconfig: Path) -> Answer:
    """ADD with ipam.kubeconfig, which the author of a NetworkAttachmentDefinition may write."""
    config = {"cniVersion": "1.0.0", "name": "n", "ipam": {"type": "kube-node", "kubeconfig": str(kubeconfig)}}
    return built.runtime().run("ADD", config, Pod("a"), NODE_NAME="n1")


@pytest.mark.parametrize("name", ["kubeconfig", "exec/hand-out", "exec", "."])
def test_program_of_a_user_is_not_run(name: str, built: Built, kubeconfig: Kubeconfig) -> None:
    """A kubeconfig or a program that a user wrote, or can replace, does not run anything as root."""
    kubeconfig.run_program()
    place = kubeconfig.directory / name
    os.chown(place, USER, USER)
    answer = add(built, kubeconfig.path)
    assert not kubeconfig.ran.exists()
    assert f"user {USER} owns {os.path.normpath(place)}" in answer.document()["msg"]
    assert f"chown root {os.path.normpath(place)}" in answer.document()["details"]


@pytest.mark.parametrize("name", ["kubeconfig", "token/token", "token", "ca/ca.crt", "ca"])
def test_file_of_a_user_is_not_sent(name: str, built: Built, kubeconfig: Kubeconfig) -> None:
    """A token, a certificate authority or a kubeconfig that others can change is not used: nothing is sent."""
    kubeconfig.show_token()
    place = kubeconfig.directory / name
    place.chmod(0o777)
    answer = add(built, kubeconfig.path)
    assert kubeconfig.server.requests == []
    assert f"every user can write {place}" in answer.document()["msg"]


def test_file_of_a_pod_is_not_used(built: Built, kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    """A pod's root can make a file with any owner and mode in its volume; a link does not hide that."""
    kubeconfig.run_program()
    volume = tmp_path / "kubelet/pods/0f4b/volumes/kubernetes.io~empty-dir/x"
    volume.mkdir(parents=True)
    kubeconfig.path.rename(volume / "kubeconfig")
    kubeconfig.path.symlink_to(volume / "kubeconfig")
    answer = add(built, kubeconfig.path)
    assert not kubeconfig.ran.exists()
    assert "into which pods write" in answer.document()["msg"]


def test_file_of_root_is_used(built: Built, kubeconfig: Kubeconfig) -> None:
    """The same kubeconfig is used if all of it is root's."""
    kubeconfig.run_program()
    add(built, kubeconfig.path)
    assert kubeconfig.ran.read_text() == "0\n"


def test_pinned_file_of_a_user(built: Built, tmp_path: Path) -> None:
    """A kube-node.json that a user can write gives no addresses; DEL, CHECK and GC do without it."""
    config = built.node.config()
    (tmp_path / "data/kube-node.json").chmod(0o666)
    answer = built.runtime().run("ADD", config, Pod("a"))
    assert f"chmod go-w {tmp_path}/data/kube-node.json" in answer.document()["details"]
    for command in ("DEL", "CHECK"):
        assert built.runtime().run(command, config, Pod("a")).status == 0, command
    assert built.node.next.commands() == ["DEL", "CHECK"]


def test_configuration_of_a_user(built: Built, tmp_path: Path) -> None:
    """node-annotation.conf names a program that root runs: a user's is not read. DEL does without it."""
    conf = tmp_path / "nacfg"
    conf.write_text(json.dumps({"nextipam": str(tmp_path / "evil")}))
    os.chown(conf, USER, USER)
    config = {"cniVersion": "1.0.0", "name": "n", "ipam": {"type": "node-annotation", "annotation": "a"}}
    runtime = built.runtime()
    answer = runtime.run("ADD", config, Pod("a"), NODE_ANNOTATION_CFG=str(conf))
    assert f"chown root {conf}" in answer.document()["details"]
    assert runtime.run("DEL", config, Pod("a"), NODE_ANNOTATION_CFG=str(conf)).status == 0


def test_next_plugin_of_a_user(built: Built, tmp_path: Path) -> None:
    """A nextipam elsewhere than in the directories of plugins must be root's."""
    (tmp_path / "elsewhere").mkdir()
    program = tmp_path / "elsewhere/next"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o777)
    conf = tmp_path / "nacfg"
    conf.write_text(json.dumps({"nextipam": str(program)}))
    config = {"cniVersion": "1.0.0", "name": "n", "ipam": {"type": "node-annotation", "annotation": "a"}}
    for command in ("ADD", "DEL", "STATUS"):
        version = {"cniVersion": "1.1.0"} if command == "STATUS" else {}
        pod = None if command == "STATUS" else Pod("a")
        answer = built.runtime().run(command, {**config, **version}, pod, NODE_ANNOTATION_CFG=str(conf))
        assert f"chmod go-w {program}" in answer.document()["details"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("key", ["dataDir", "resolvConf"])
@pytest.mark.parametrize("kind", ["kube-node", "node-annotation"])
def test_paths_for_host_local(kind: str, key: str, built: Built, kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    """host-local neither makes a store in /etc nor reads a private file for pods, whoever wrote the key."""
    secret = tmp_path / "secret"
    secret.write_text("nameserver sekrit\n")
    secret.chmod(0o600)
    value = "/etc" if key == "dataDir" else str(secret)
    text = json.dumps({"ranges": [[{"subnet": "10.9.0.0/24"}]], key: value})
    kubeconfig.server.add(make_node("n1", ["10.1.0.0/24"], {"example.com/a": text}, machine_id()))
    kubeconfig.show_token()
    kubeconfig.server.users["sekrit-token-0123456789"] = User("plugin")
    (tmp_path / "nacfg").write_text(json.dumps({"kubeconfig": str(kubeconfig.path)}))
    ipam = {"type": kind, "annotation": "example.com/a"}
    if kind == "kube-node":
        ipam = {"type": kind, "kubeconfig": str(kubeconfig.path), key: value}
    config = {"cniVersion": "1.0.0", "name": "net-of-a-test", "ipam": ipam}
    environ = {"NODE_NAME": "n1", "NODE_ANNOTATION_CFG": str(tmp_path / "nacfg")}
    answer = built.runtime().run("ADD", config, Pod("a"), **environ)
    assert f"{key} {value} is " in answer.document()["msg"]
    assert built.node.next.commands() == []
    assert built.runtime().run("DEL", config, Pod("a"), **environ).status == 0


def test_working_directory_that_was_removed(built: Built, tmp_path: Path) -> None:
    """A relative nextipam starts at the working directory; if that is gone, the error says so."""
    (tmp_path / "gone").mkdir()
    conf = tmp_path / "nacfg"
    conf.write_text(json.dumps({"nextipam": "./next"}))
    config = {"cniVersion": "1.0.0", "name": "n", "ipam": {"type": "node-annotation", "annotation": "a"}}
    script = f'cd {tmp_path}/gone && rmdir {tmp_path}/gone && exec "$@"'
    answer = built.runtime("sh", "-c", script, "sh").run("ADD", config, Pod("a"), NODE_ANNOTATION_CFG=str(conf))
    assert answer.document()["msg"] == "nextipam ./next is missing"
    assert "which was removed" in answer.document()["details"]
