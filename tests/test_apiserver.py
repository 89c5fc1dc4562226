"""The test API server behaves as a real one where the tests rely on it."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import makeconfig
from tests.support.apiserver import ApiServer, make_node, node_authorizer, rbac_get_nodes_only

SCOPE = 'resource "nodes" in API group "" at the cluster scope'


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """A running server with three Nodes."""
    with ApiServer() as running:
        for name in ("a", "b", "c"):
            running.add(make_node(name))
        yield running


def ask(server: ApiServer, path: str, token: str = "", pem: str = "", method: str = "GET", body: bytes = b"") -> Any:
    """Ask the server: (status, what it answered)."""
    context = ssl.create_default_context(cadata=server.authority.ca_pem.decode())
    if pem:
        context.load_cert_chain(pem)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(server.url + path, headers=headers, method=method, data=body or None)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_get_gives_the_node_with_uid_and_version(server: ApiServer) -> None:
    """A Node is served under its name, and its resourceVersion moves with each change."""
    token = server.token()
    _, first = ask(server, "/api/v1/nodes/a", token)
    _, same = ask(server, "/api/v1/nodes/a", token)
    server.nodes["a"]["metadata"]["annotations"]["x"] = "y"
    _, other = ask(server, "/api/v1/nodes/a", token)
    versions = [int(node["metadata"]["resourceVersion"]) for node in (first, same, other)]
    assert (versions[0] == versions[1] < versions[2], first["metadata"]["uid"]) == (True, other["metadata"]["uid"])
    assert 10_000 < len(json.dumps(first)) < 25_000


@pytest.mark.parametrize(
    ("rule", "user", "path", "message"),
    [
        (rbac_get_nodes_only, "u", "/a", None),
        (rbac_get_nodes_only, "u", "", f'nodes is forbidden: User "u" cannot list {SCOPE}'),
        (node_authorizer, "kubelet", "/a", None),
        (node_authorizer, "kubelet", "?fieldSelector=metadata.name%3Da", None),
        (node_authorizer, "u", "/a", f'nodes "a" is forbidden: User "u" cannot get {SCOPE}'),
        (
            node_authorizer,
            "kubelet",
            "/b",
            f'nodes "b" is forbidden: User "system:node:a" cannot get {SCOPE}: '
            + "node 'a' cannot read 'b', only its own Node object",
        ),
        (
            node_authorizer,
            "kubelet",
            "",
            f'nodes is forbidden: User "system:node:a" cannot list {SCOPE}: '
            + "node 'a' cannot read all nodes, only its own Node object",
        ),
    ],
)
def test_rules(server: ApiServer, tmp_path: Any, rule: Any, user: str, path: str, message: str | None) -> None:
    """The ready-made rules permit and refuse as RBAC and the node authorizer do, in their words."""
    server.rule = rule
    kubelet = user == "kubelet"
    server.write_kubeconfig(tmp_path / "config", "kubelet" if kubelet else "none", "a")
    pem = str(tmp_path / "kubelet-client-current.pem") if kubelet else ""
    status, answer = ask(server, f"/api/v1/nodes{path}", "" if kubelet else server.token(user), pem)
    assert (status, answer.get("message")) == (403 if message else 200, message)


def test_credentials(server: ApiServer) -> None:
    """No credentials: forbidden, as anonymous; wrong ones: unauthorized."""
    assert [ask(server, "/api/v1/nodes/a", token)[0] for token in ("", "wrong")] == [403, 401]


def test_missing_node_and_stale_cache(server: ApiServer) -> None:
    """404 is a Status; resourceVersion=0 may give what others no longer see, or nothing yet."""
    token = server.token()
    server.stale = {"a": None, "gone": make_node("gone")}
    paths = ("/nope", "/a", "/a?resourceVersion=0", "/gone", "/gone?resourceVersion=0")
    assert [ask(server, f"/api/v1/nodes{path}", token)[0] for path in paths] == [404, 200, 404, 404, 200]
    assert ask(server, "/api/v1/nodes/nope", token)[1]["message"] == 'nodes "nope" not found'


def test_list_in_pages(server: ApiServer) -> None:
    """A list comes in pages, each but the last with the token for the next."""
    token = server.token()
    _, first = ask(server, "/api/v1/nodes?limit=2", token)
    _, rest = ask(server, f"/api/v1/nodes?limit=2&continue={first['metadata']['continue']}", token)
    names = [[node["metadata"]["name"] for node in page["items"]] for page in (first, rest)]
    assert (names, "continue" in rest["metadata"]) == ([["a", "b"], ["c"]], False)


def test_patch(server: ApiServer) -> None:
    """Annotations can be patched through the API."""
    body = b'{"metadata": {"annotations": {"x": "1", "node.alpha.kubernetes.io/ttl": null}}}'
    status, node = ask(server, "/api/v1/nodes/a", server.token(), method="PATCH", body=body)
    assert (status, node["metadata"]["annotations"].get("x")) == (200, "1")
    assert "node.alpha.kubernetes.io/ttl" not in server.nodes["a"]["metadata"]["annotations"]


def test_stop_and_start_on_the_same_port(server: ApiServer) -> None:
    """Stopped, it refuses; started again, it answers at the same address."""
    token, url = server.token(), server.url
    server.stop()
    with pytest.raises(urllib.error.URLError, match="refused"):
        ask(server, "/api/v1/nodes/a", token)
    server.start()
    assert (ask(server, "/api/v1/nodes/a", token)[0], server.url) == (200, url)


def test_stop_breaks_connections_under_way(server: ApiServer) -> None:
    """Whoever waits for an answer when the server stops loses the connection."""

    def hang(_handler: object) -> bool:
        server.stop()
        time.sleep(0.05)
        return False

    server.fault = hang
    with pytest.raises(OSError):
        ask(server, "/api/v1/nodes/a", server.token())


@pytest.mark.parametrize("kind", ["token", "token-file", "certificate", "kubelet", "none"])
def test_kubeconfig(server: ApiServer, tmp_path: Any, kind: str) -> None:
    """Kubeconfigs of every kind are the same as YAML and as JSON, and private."""
    yaml = pytest.importorskip("yaml")
    path = tmp_path / "kubeconfig"
    server.write_kubeconfig(path, kind, "a")
    config = yaml.safe_load(path.read_text())
    cluster = config["clusters"][0]["cluster"]
    assert (cluster["server"], path.stat().st_mode & 0o777) == (server.url, 0o600)
    assert base64.b64decode(cluster["certificate-authority-data"]) == server.authority.ca_pem
    assert yaml.safe_load(makeconfig.as_yaml(config)) == config
