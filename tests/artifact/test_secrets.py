"""The built plugin with a server that repeats what it was sent: no secret is in an answer, a log or the cache."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from tests.artifact.conftest import Built
from tests.support.apiserver import ApiServer, Handler
from tests.support.dist import ARCHIVE
from tests.support.nodes import make_node
from tests.support.runtime import Pod

TOKEN = "eyJhbGciOiJSUzI1NiJ9.Zm9vYmFyYmF6cXV1eA-_xyzzy.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
PASSWORD = "correct-horse/battery+staple"
CREDENTIAL = {
    "kind": "ExecCredential",
    "apiVersion": "client.authentication.k8s.io/v1",
    "status": {"token": TOKEN},
}
PAIR = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()

Repeat = Callable[[str], str]
FORMS: dict[str, Repeat] = {
    "as it was": str,
    "its last part": lambda header: f"…{header[-20:]}",
    "in base64": lambda header: base64.b64encode(header.encode()).decode(),
    "in base64 for URLs": lambda header: base64.urlsafe_b64encode(f"xy{header}".encode()).decode(),
    "in a URL": lambda header: quote(header, safe=""),
    "over several lines": lambda header: f"\r\n\t{header}\r\n",
}


def status(handler: Handler, code: int, text: str) -> None:
    """Say it in a Status."""
    handler.status(code, "Forbidden", f"no access for {text}")


def redirect(handler: Handler, _code: int, text: str) -> None:
    """Say it in a redirect."""
    handler.answer(302, b"", {"Location": f"https://{''.join(text.split())}/login"})


def answer(**parts: Callable[[str], dict[str, Any]]) -> Callable[[Handler, int, str], None]:
    """Say it in members of the Node."""

    def say(handler: Handler, _code: int, text: str) -> None:
        node = make_node("n1", ["10.1.0.0/24"])
        for name, made in parts.items():
            node[name] = {**node[name], **made(text)}
        handler.answer(200, json.dumps(node).encode())

    return say


PLACES: dict[str, Callable[[Handler, int, str], None]] = {
    "Status of 403": status,
    "Status of 500": lambda handler, _code, text: status(handler, 500, text),
    "Status of 404": lambda handler, _code, text: status(handler, 404, text),
    "redirect": redirect,
    "annotation": answer(metadata=lambda text: {"annotations": {"example.com/net": text}}),
    "another annotation": answer(metadata=lambda text: {"annotations": {"example.com/other": text, text: "x"}}),
    "podCIDRs": answer(spec=lambda text: {"podCIDRs": [text]}),
    "uid": answer(metadata=lambda text: {"uid": text}),
}
USERS: dict[str, dict[str, Any]] = {
    "token": {"token": TOKEN},
    "basic": {"username": "admin", "password": PASSWORD},
    "exec": {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "interactiveMode": "Never",
            "command": "/bin/sh",
            "args": ["-c", f"echo '{json.dumps(CREDENTIAL)}'"],
        }
    },
}


CASES = [(user, place, form) for user in USERS for place in ("Status of 403", "annotation") for form in FORMS]
CASES += [("token", place, form) for place in PLACES for form in ("as it was", "in base64")]


@pytest.mark.parametrize(("user", "place", "form"), sorted(set(CASES)))
def test_no_secret_comes_back(user: str, place: str, form: str, built: Built, tmp_path: Path) -> None:
    """Whatever a server repeats of the Authorization header, none of it is shown or kept."""
    with ApiServer() as server:

        def fault(handler: Handler) -> bool:
            PLACES[place](handler, 403, FORMS[form](handler.headers["Authorization"]))
            return True

        server.fault = fault
        config = write_kubeconfig(server, USERS[user], tmp_path)
        log = tmp_path / "log"
        seen = ""
        for more in ({}, {"annotation": "example.com/net"}):
            keys = {**config["ipam"], **more, "logfile": str(log), "loglevel": "trace", "nodeName": "n1"}
            done = built.runtime().run("ADD", {**config, "ipam": keys}, Pod("a"))
            seen += done.stdout.decode() + done.stderr
        assert any(asked.headers.get("Authorization") for asked in server.requests)
    seen += log.read_text()
    for folder, _, names in os.walk(built.node.cache):
        seen += "".join((Path(folder) / name).read_text(errors="replace") for name in names)
    assert shown_parts(seen) == []


REVIEWED = (TOKEN, "abcdefghij-0123456789.klmnopqrst")  # the second one can be the name of a Node


@pytest.mark.parametrize("token", REVIEWED)
def test_node_name_from_the_server(token: str, built: Built, tmp_path: Path) -> None:
    """A server that says that the credential is the kubelet's of a node named like our token: it is not shown."""
    user = {"username": f"system:node:{token}", "groups": ["system:nodes"]}
    review = {"kind": "SelfSubjectReview", "metadata": {}, "status": {"userInfo": user}}
    with ApiServer() as server:

        def fault(handler: Handler) -> bool:
            if handler.command == "POST":
                handler.answer(201, json.dumps(review).encode())
            else:
                handler.status(404, "NotFound", "no such node")
            return True

        server.fault = fault
        config = write_kubeconfig(server, {"token": token}, tmp_path)
        done = built.runtime().run("ADD", config, Pod("a"))
    assert (done.status, done.document()["code"]) == (1, 100)
    assert token[:8] not in done.stdout.decode() + done.stderr


@pytest.mark.parametrize("kind", ["ExecCredential", "ExecCredentials"])
def test_failed_plugin_that_shows_its_token(kind: str, built: Built, tmp_path: Path) -> None:
    """A credential plugin such as a shell script under set -x that prints its answer, and then fails."""
    answer = json.dumps({**CREDENTIAL, "kind": kind})
    script = f"echo '{answer}'; echo '+ token={TOKEN}' >&2; exit {int(kind == 'ExecCredential')}"
    plugin = {**USERS["exec"]["exec"], "args": ["-c", script]}
    with ApiServer() as server:
        config = write_kubeconfig(server, {"exec": plugin}, tmp_path)
        done = built.runtime().run("ADD", config, Pod("a"))
    assert done.status == 1
    assert "+ token=[redacted]" in done.stderr
    assert shown_parts(done.stdout.decode() + done.stderr) == []


@pytest.mark.parametrize("user", ["token", "basic"])
def test_ranges_show(user: str, tmp_path: Path) -> None:
    """A server that repeats the Authorization header in all Nodes: it is not shown."""
    with ApiServer() as server:

        def fault(handler: Handler) -> bool:
            text = handler.headers["Authorization"]
            node = make_node(text, [text])
            node["metadata"]["annotations"] = {"kube-node.nordix.org/x": text, f"kube-node.nordix.org/{text}": "y"}
            handler.answer(200, json.dumps({"kind": "NodeList", "metadata": {}, "items": [node]}).encode())
            return True

        server.fault = fault
        config = write_kubeconfig(server, USERS[user], tmp_path)
        argv = [ARCHIVE, "ranges", "show", "--kubeconfig", config["ipam"]["kubeconfig"]]
        done = [subprocess.run([*argv, "-o", form], capture_output=True, text=True) for form in ("table", "json")]
    assert all("[redacted]" in each.stdout for each in done)
    assert shown_parts("".join(each.stdout + each.stderr for each in done)) == []


def write_kubeconfig(server: ApiServer, user: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Write a kubeconfig with this user; return the configuration of a network that uses it."""
    document = {
        "clusters": [{"name": "c", "cluster": {"server": server.url, "certificate-authority": "ca.crt"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (directory / "ca.crt").write_bytes(server.authority.ca_pem)
    path = directory / "kubeconfig"
    path.write_text(json.dumps(document))
    ipam = {"type": "kube-node", "kubeconfig": str(path), "dataDir": str(directory / "data")}
    return {"cniVersion": "1.0.0", "name": "n", "ipam": ipam}


def shown_parts(seen: str) -> list[str]:
    """The parts of eight characters of the secrets that are in the text."""
    secrets = [TOKEN, PASSWORD, PAIR]
    secrets += [
        base64.b64encode(secret.encode()[at:]).decode().rstrip("=")[:-1] for secret in secrets for at in range(3)
    ]
    secrets += [secret.replace("+", "-").replace("/", "_") for secret in secrets]
    return sorted({secret[at : at + 8] for secret in secrets for at in range(len(secret) - 7)} & windows(seen))


def windows(text: str) -> set[str]:
    """Every part of eight characters; JSON's escapes of a slash are undone, and those of URLs."""
    texts = (text.replace("\\/", "/"), unquote(text))
    return {each[at : at + 8] for each in texts for at in range(len(each) - 7)}
