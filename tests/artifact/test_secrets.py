"""The built plugin with a server that repeats what it was sent: no secret is in an answer, a log or the cache."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.artifact.conftest import Built
from tests.support.apiserver import ApiServer, Handler
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
        document = {
            "clusters": [{"name": "c", "cluster": {"server": server.url, "certificate-authority": "ca.crt"}}],
            "users": [{"name": "u", "user": USERS[user]}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (tmp_path / "ca.crt").write_bytes(server.authority.ca_pem)
        (tmp_path / "kubeconfig").write_text(json.dumps(document))
        log = tmp_path / "log"
        ipam = {"type": "kube-node", "kubeconfig": str(tmp_path / "kubeconfig"), "dataDir": str(tmp_path / "data")}
        seen = ""
        for more in ({}, {"annotation": "example.com/net"}):
            keys = {**ipam, **more, "logfile": str(log), "loglevel": "trace", "nodeName": "n1"}
            done = built.runtime().run("ADD", {"cniVersion": "1.0.0", "name": "n", "ipam": keys}, Pod("a"))
            seen += done.stdout.decode() + done.stderr
        assert any(asked.headers.get("Authorization") for asked in server.requests)
    seen += log.read_text()
    for folder, _, names in os.walk(built.node.cache):
        seen += "".join((Path(folder) / name).read_text(errors="replace") for name in names)
    assert shown_parts(seen) == []


def shown_parts(seen: str) -> list[str]:
    """The parts of eight characters of the secrets that are in the text."""
    secrets = [TOKEN, PASSWORD, PAIR]
    secrets += [
        base64.b64encode(secret.encode()[at:]).decode().rstrip("=")[:-1] for secret in secrets for at in range(3)
    ]
    secrets += [secret.replace("+", "-").replace("/", "_") for secret in secrets]
    return sorted({secret[at : at + 8] for secret in secrets for at in range(len(secret) - 7)} & windows(seen))


def windows(text: str) -> set[str]:
    """Every part of eight characters; JSON's escapes of a slash are undone."""
    text = text.replace("\\/", "/")
    return {text[at : at + 8] for at in range(len(text) - 7)}
