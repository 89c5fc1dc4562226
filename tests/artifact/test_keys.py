"""Misspelt and misplaced keys, as a runtime sends them to the built file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.artifact.conftest import Built
from tests.support.runtime import Pod

POD = Pod("web-0")
MISSPELT = [("annotaton", "annotation"), ("ipv4_namespaces", "ipv4-namespaces"), ("cachedir", "cacheDir")]


@pytest.mark.parametrize(("key", "right"), MISSPELT)
def test_misspelt_key_fails_the_add(built: Built, key: str, right: str) -> None:
    """No address is allocated, and the error names the right key; DEL of an older pod still works."""
    config = built.node.config(**{key: "kube-node.nordix.org/net1"})
    answer = built.runtime().run("ADD", config, POD)

    assert (answer.status, answer.document()["code"]) == (1, 7)
    assert f"'ipam.{key}' is not a key" in answer.document()["msg"]
    assert f"write '{right}'" in answer.document()["details"]
    assert built.node.next.commands() == []
    assert built.runtime().run("DEL", config, POD).status == 0
    assert built.runtime().run("CHECK", config, POD).status == 0
    assert built.node.next.commands() == ["DEL", "CHECK"]


@pytest.mark.parametrize("key", ["annotation", "ipv4-namespaces"])
def test_key_outside_of_ipam(built: Built, key: str) -> None:
    """A key beside ipam would be passed over, and the pod would get an address of another network."""
    answer = built.runtime().run("ADD", {**built.node.config(), key: "x"}, POD)

    assert (answer.status, answer.document()["code"]) == (1, 7)
    assert answer.document()["msg"] == f"'{key}' is not inside 'ipam'"
    assert built.node.next.commands() == []


def test_comments_and_keys_of_others(built: Built) -> None:
    """Comments and keys that are not ours are no reason to refuse; they reach host-local as before."""
    theirs: dict[str, Any] = {"_comment": "x", "//": "y", "routes": [], "addresses": [], "range": "10.0.0.0/24"}
    answer = built.runtime().run("ADD", built.node.config(**theirs), POD)

    assert answer.status == 0
    (call,) = built.node.next.calls()
    assert theirs.items() <= json.loads(call.stdin)["ipam"].items()


def test_misplaced_keys_are_logged_once(built: Built) -> None:
    """Keys of node-annotation.conf in kube-node's ipam have no effect: the first ADD says so, the others do not."""
    config = built.node.config(nextipam="/opt/x", log="/l", logfile=str(built.node.directory / "log"))
    told = [built.runtime().run("ADD", config, Pod(name)) for name in ("a", "b", "c")]

    assert [answer.status for answer in told] == [0, 0, 0]
    assert told[0].stderr == (
        "kube-node: network net: keys without effect in ipam of kube-node: "
        "'log' (belongs into node-annotation.conf), 'nextipam' (belongs into node-annotation.conf)\n"
    )
    assert [answer.stderr for answer in told[1:]] == ["", ""]
    log = (built.node.directory / "log").read_text(encoding="utf-8")
    assert log.count("keys without effect") == 1


@pytest.mark.parametrize("level", ["verbose", "DEBUG", True, [], {"a": 1}])
def test_unknown_level_is_logged_once(built: Built, level: Any) -> None:
    """A level that does not exist fails no pod; the first ADD says what to write, and the log is that of info."""
    log = built.node.directory / "log"
    config = built.node.config(loglevel=level, logfile=str(log))
    told = [built.runtime().run("ADD", config, Pod(name)) for name in ("a", "b")]

    assert [answer.status for answer in told] == [0, 0]
    assert told[0].stderr == (
        f"kube-node: network net: 'loglevel' {str(level)!r} is unknown, info is used; write info, debug or trace\n"
    )
    assert told[1].stderr == ""
    levels = [json.loads(line)["level"] for line in log.read_text(encoding="utf-8").splitlines()]
    assert levels == ["warning", "info", "info"]


def test_misspelt_key_in_a_pinned_file(built: Built) -> None:
    """The keys of kube-node.json are checked by the same table."""
    config = built.node.config()
    pinned = built.node.directory / "data" / "kube-node.json"
    pinned.write_text('{"ranges": [[{"subnet": "10.9.0.0/24"}]], "data_dir": "/run/x"}', encoding="utf-8")
    answer = built.runtime().run("ADD", config, POD)

    assert (answer.status, answer.document()["code"]) == (1, 7)
    assert f"'{pinned}: data_dir' is not a key" in answer.document()["msg"]
    assert "write 'dataDir'" in answer.document()["details"]
    assert built.node.next.commands() == []
