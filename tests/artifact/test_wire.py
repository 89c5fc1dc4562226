"""The client of the built archive, with the packages bundled for each Python."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import faults, makeconfig, parts
from tests.support.apiserver import ApiServer, make_node
from tests.support.connectproxy import ConnectProxy
from tests.support.dist import ARCHIVE, FROM_ARCHIVE
from tests.support.pki import Authority

PYTHONS = parts.pythons()
# Reads "path seconds" lines, answers each with what came of asking for Node a.
ASK = (
    FROM_ARCHIVE
    + """
from plugin import deadline
from plugin.errors import CniError
from plugin.kube import client
for line in sys.stdin:
    path, seconds = line.split()
    with deadline.within(float(seconds)):
        try:
            answer = client.connect(path, {}).get_node("a")["metadata"]["name"]
        except CniError as error:
            answer = f"{error.code} {error.msg.rpartition(': ')[2]}"
    print(answer, flush=True)
"""
)
BROKEN = "11 the connection was closed before the answer was complete"


class Asker:
    """The archive's client in another Python, which asks what it is told to."""

    def __init__(self, python: str) -> None:
        command = [python, "-IS", "-W", "error", "-c", ASK, ARCHIVE]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def ask(self, path: str, seconds: float = 10) -> str:
        """What asking with this kubeconfig gives."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{path} {seconds}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self) -> str:
        """What it had to say besides."""
        return self.process.communicate(timeout=30)[1]


@pytest.mark.parametrize("version", PYTHONS)
def test_client(tmp_path: Path, version: str) -> None:
    """Good and bad servers, proxies and connections mean the same on every Python, and nothing is on stderr."""
    authority = Authority(key_identifiers=False)
    named = authority.server("kubernetes")
    asker = Asker(PYTHONS[version])
    with ApiServer(authority=authority) as server, ApiServer(authority=authority, certificate=named) as other:
        for each in (server, other):
            each.add(make_node("a"))

        def config(api: ApiServer, kind: str = "token", **cluster: Any) -> str:
            made = api.kubeconfig(kind, "a", directory=str(tmp_path))
            entry = {**made["clusters"][0]["cluster"], **{key.replace("_", "-"): cluster[key] for key in cluster}}
            made["clusters"][0]["cluster"] = {key: value for key, value in entry.items() if value is not None}
            return makeconfig.write(str(tmp_path), "kubeconfig", json.dumps(made).encode())

        insecure: dict[str, Any] = {"certificate_authority_data": None, "insecure_skip_tls_verify": True}
        stranger = makeconfig.base64_text(Authority().ca_pem)
        assert asker.ask(config(server)) == "a"
        assert asker.ask(config(server, "kubelet")) == "a"
        assert asker.ask(config(other)) == "100 kubernetes"  # the name its certificate has
        assert asker.ask(config(other, tls_server_name="kubernetes")) == "a"
        assert asker.ask(config(other, **insecure)) == "a"
        assert "100 its certificate is signed by" in asker.ask(config(server, certificate_authority_data=stranger))
        with ConnectProxy(("127.0.0.1", other.port), credentials="u:p") as proxy:
            url = f"http://{{}}127.0.0.1:{proxy.port}"
            assert asker.ask(config(other, server="https://kubernetes", proxy_url=url.format("u:p@"))) == "a"
            refused = asker.ask(config(other, server="https://kubernetes", proxy_url=url.format("")))
            assert refused == "100 the proxy refuses to connect (407)"
        path = config(server)
        content = json.dumps(server.stored("a")).encode()
        for fault, answer in _faults(content):
            server.fault = fault
            assert asker.ask(path, 1 if answer.startswith("11") else 10) == answer
        server.stop()
        assert asker.ask(path, 1) == "11 connection refused"
    assert asker.end() == ""


def _faults(content: bytes) -> list[tuple[Callable[..., bool], str]]:
    return [
        (faults.chunked(content), "a"),
        (faults.until_closed(content), "a"),
        (faults.first(faults.reset), "a"),
        (faults.reset, BROKEN),
        (faults.cut, BROKEN),
        (faults.cut_chunk, BROKEN),
        (faults.drip(0.02), "11 no answer in time"),
        (faults.flood(100 << 20), "100 its answer is longer than 8 MiB"),
        (faults.redirect("https://evil.example.org"), "100 it redirects to https://evil.example.org"),
    ]
