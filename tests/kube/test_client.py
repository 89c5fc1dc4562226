"""What the client asks for, and what it makes of each answer."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import responses

import plugin
from plugin import deadline
from plugin.errors import INVALID_CONFIG, PLUGIN_FAILURE, TRY_AGAIN_LATER, CniError, Forbidden, NodeMissing, Unreachable
from plugin.kube import answers, client
from tests.support import makeconfig, mockwire
from tests.support.nodes import make_node
from tests.support.pki import Authority

SERVER = "https://192.0.2.1:6443"
NODE_URL = f"{SERVER}/api/v1/nodes/a"
LIST_URL = f"{SERVER}/api/v1/nodes"
ROUTE = f"API server {SERVER}"
AUTHORITY = Authority()
SCOPE = 'resource "nodes" in API group "" at the cluster scope'


def config(**user: Any) -> dict[str, Any]:
    """A kubeconfig whose one user has these keys."""
    cluster = {"server": SERVER, "certificate-authority-data": makeconfig.base64_text(AUTHORITY.ca_pem)}
    return {
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "local", "user": "u"}}],
        "current-context": "c",
    }


def status(code: int, message: str = "", reason: str = "") -> str:
    """The body of a failure, as the API server writes it."""
    return json.dumps({"kind": "Status", "apiVersion": "v1", "code": code, "message": message, "reason": reason})


@pytest.fixture(autouse=True)
def mocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is connected to: the mock answers."""
    mockwire.place(monkeypatch)


@pytest.fixture
def net() -> Iterator[responses.RequestsMock]:
    """No network: answers are registered here, and each must be asked for."""
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, none of them waited for."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A kubeconfig with a token."""
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config(token="SECRET")))
    return file


@pytest.fixture
def connected(path: Path) -> client.Client:
    """A client that has read the kubeconfig."""
    return client.connect(str(path), {})


def queries(net: responses.RequestsMock) -> list[str]:
    """What each request had after the path."""
    return [(call.request.url or "").partition("?")[2] for call in net.calls]


def test_one_get_from_the_cache(net: responses.RequestsMock, connected: client.Client) -> None:
    """A Node takes one request, with the headers that make it so."""
    net.get(NODE_URL, json=make_node("a"))
    assert connected.get_node("a")["metadata"]["name"] == "a"
    assert queries(net) == ["resourceVersion=0"]
    assert dict(net.calls[0].request.headers) == {
        "Host": "192.0.2.1:6443",
        "User-Agent": f"node-ipam/{plugin.__version__}",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "Authorization": "Bearer SECRET",
    }


def test_asks_again_without_the_cache_when_something_is_missing(
    net: responses.RequestsMock, connected: client.Client
) -> None:
    """What the cache does not know yet is asked for once more, and then given as it is."""
    net.get(NODE_URL, json=make_node("a", ()))
    net.get(NODE_URL, json=make_node("a", ("10.0.0.0/24",)))
    node = connected.get_node("a", lambda node: "podCIDRs" in node["spec"] and len(node["spec"]["podCIDRs"]) > 1)
    assert (node["spec"]["podCIDRs"], queries(net)) == (["10.0.0.0/24"], ["resourceVersion=0", ""])


def test_asks_again_without_the_cache_when_the_node_is_missing(
    net: responses.RequestsMock, connected: client.Client
) -> None:
    """A Node just registered may not be in the cache yet."""
    net.get(NODE_URL, status=404, body=status(404, 'nodes "a" not found', "NotFound"))
    net.get(NODE_URL, json=make_node("a"))
    assert (connected.get_node("a")["metadata"]["name"], queries(net)) == ("a", ["resourceVersion=0", ""])


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a%2f", "A", "a_b", "-a", "a-", "a..b", "ä", "a\n", "a" * 254])
def test_names_no_node_can_have(connected: client.Client, name: str) -> None:
    """A name that is not an RFC 1123 subdomain never gets into a URL."""
    with pytest.raises(CniError) as error:
        connected.get_node(name)
    assert error.value.code == INVALID_CONFIG


@pytest.mark.parametrize("name", ["a", "1", "ip-10-0-0-1.eu-west-1.compute.internal", "a--b", "a" * 253])
def test_names_a_node_can_have(net: responses.RequestsMock, connected: client.Client, name: str) -> None:
    """Names of real Nodes are asked for."""
    net.get(f"{LIST_URL}/{name}", json=make_node(name))
    assert connected.get_node(name)["metadata"]["name"] == name


def failure(connected: client.Client, **answer: Any) -> CniError:
    """The error when every request gets this answer."""
    with responses.RequestsMock() as net, pytest.raises(CniError) as error:
        net.get(NODE_URL, **answer)
        connected.get_node("a")
    assert "SECRET" not in f"{error.value.msg} {error.value.details} {error.value!r}"
    return error.value


@pytest.mark.parametrize(
    ("answer", "kind", "msg"),
    [
        (
            {"status": 404, "body": status(404, 'nodes "a" not found', "NotFound")},
            NodeMissing,
            f"{ROUTE} has no Node 'a'",
        ),
        ({"status": 401, "body": status(401, "Unauthorized")}, answers.Unauthorized, f"{ROUTE}: unauthorized (401)"),
        ({"status": 401, "body": "<html>"}, answers.Unauthorized, f"{ROUTE}: unauthorized (401)"),
        (
            {"status": 403, "body": status(403, f'nodes "a" is forbidden: User "u" cannot get {SCOPE}')},
            Forbidden,
            f'{ROUTE}: nodes "a" is forbidden: User "u" cannot get {SCOPE}',
        ),
    ],
    ids=["missing", "unauthorized", "unauthorized-html", "forbidden"],
)
def test_a_clear_no(connected: client.Client, answer: dict[str, Any], kind: type[CniError], msg: str) -> None:
    """Missing, forbidden and unauthorized are errors of their own, not a server out of reach."""
    error = failure(connected, **answer)
    assert (type(error), error.code, error.msg) == (kind, PLUGIN_FAILURE, msg)
    assert not isinstance(error, Unreachable)


NO_NODE = f"{ROUTE}: its answer is not the Node asked for"


@pytest.mark.parametrize(
    ("answer", "msg"),
    [
        ({"body": "<html>Log in</html>"}, NO_NODE),
        ({"body": ""}, NO_NODE),
        ({"body": "[" * 100_000}, NO_NODE),
        ({"body": "[]"}, NO_NODE),
        ({"body": "\xff"}, NO_NODE),
        ({"json": {"kind": "Pod", "metadata": {"name": "a"}}}, NO_NODE),
        ({"json": {"kind": "Node"}}, NO_NODE),
        ({"json": {"kind": "Node", "metadata": None}}, NO_NODE),
        ({"json": {"kind": "Node", "metadata": {"name": "b"}}}, NO_NODE),
        ({"status": 201, "json": make_node("a")}, f"{ROUTE}: it answers 201"),
        ({"status": 204, "body": ""}, f"{ROUTE}: it answers 204"),
        ({"status": 400, "body": status(400, "bad\nrequest \x1b[31m")}, f"{ROUTE}: it answers 400: bad request [31m"),
        ({"status": 400, "body": status(400, "x" * 5000)}, f"{ROUTE}: it answers 400: {'x' * 400}"),
        ({"status": 403, "body": "<html>blocked</html>"}, f"{ROUTE}: it answers 403"),
        ({"status": 404, "body": "404 page not found"}, f"{ROUTE}: it answers 404"),
        ({"status": 501, "body": ""}, f"{ROUTE}: it answers 501"),
        (
            {"status": 302, "headers": {"Location": "https://u:p@login.example.org/?token=SECRET"}},
            f"{ROUTE}: it redirects to https://login.example.org",
        ),
        (
            {"status": 302, "headers": {"Location": "https://login.example.org#id_token=SECRET"}},
            f"{ROUTE}: it redirects to https://login.example.org",
        ),
        ({"status": 307, "headers": {"Location": "/SECRET"}}, f"{ROUTE}: it redirects to another path"),
        ({"status": 301}, f"{ROUTE}: it redirects to another path"),
        (
            {"body": "", "headers": {"Content-Encoding": "gzip"}},
            f"{ROUTE}: its answer is compressed, which was not requested",
        ),
    ],
)
def test_no_api_server(connected: client.Client, answer: dict[str, Any], msg: str) -> None:
    """What cannot come from a sound API server says nothing about the Node, and is not asked for again."""
    error = failure(connected, **answer)
    assert (type(error), error.code, error.msg) == (Unreachable, PLUGIN_FAILURE, msg)


def test_forbidden_comes_with_the_rule_to_add(connected: client.Client) -> None:
    """The details hold YAML that permits what was forbidden, for the user who was."""
    yaml = pytest.importorskip("yaml")
    user = "system:serviceaccount:kube-system:cni"
    says = f'nodes "a" is forbidden: User "{user}" cannot get {SCOPE}'
    details = failure(connected, status=403, body=status(403, says)).details
    text = details.partition("\n")[2].partition("\nkubeconfig")[0]
    role, binding = yaml.safe_load_all(text)
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "namespace": "kube-system", "name": "cni"}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]


@pytest.mark.parametrize(
    ("says", "part"),
    [
        (f'nodes is forbidden: User "jane" cannot list {SCOPE}', "verbs: [get, list]"),
        (
            f'nodes "a" is forbidden: User "jane" cannot get {SCOPE}',
            'kind: User, apiGroup: rbac.authorization.k8s.io, name: "jane"',
        ),
        (f'nodes "a" is forbidden: User "system:anonymous" cannot get {SCOPE}', "gives no credentials"),
        (
            f'nodes "a" is forbidden: User "system:node:b" cannot get {SCOPE}: '
            + "node 'b' cannot read 'a', only its own Node object",
            "a kubelet's credential may read its own Node and nothing else",
        ),
    ],
)
def test_advice_for_the_forbidden(connected: client.Client, says: str, part: str) -> None:
    """What to do depends on who was forbidden what."""
    assert part in failure(connected, status=403, body=status(403, says)).details


def test_every_error_names_the_kubeconfig(connected: client.Client, path: Path) -> None:
    """File, reason, user entry and kind of credential stand at the end of the details."""
    error = failure(connected, status=404, body=status(404, reason="NotFound"))
    assert error.details.splitlines()[-1] == f"kubeconfig {path} (ipam.kubeconfig), user 'u': token"


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504, 599])
@pytest.mark.parametrize(("chance", "waits"), [(b"\0", [0.25, 0.5, 1.0, 1.0]), (b"\xff", [0.5, 1.0, 2.0, 2.0])])
def test_tries_again(
    net: responses.RequestsMock,
    connected: client.Client,
    slept: list[float],
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    chance: bytes,
    waits: list[float],
) -> None:
    """An overloaded or starting server is asked again, after ever longer waits that are not the same everywhere."""
    monkeypatch.setattr(os, "urandom", lambda _length: chance)
    for _ in range(4):
        net.get(NODE_URL, status=code, body=status(code))
    net.get(NODE_URL, json=make_node("a"))
    assert connected.get_node("a")["metadata"]["name"] == "a"
    assert (slept, queries(net)) == (waits, ["resourceVersion=0"] * 5)


@pytest.mark.parametrize("error", [ConnectionRefusedError(111, ""), ConnectionResetError(104, "")])
def test_tries_again_after_a_broken_connection(
    net: responses.RequestsMock, connected: client.Client, slept: list[float], error: Exception
) -> None:
    """A server that starts refuses and resets connections."""
    net.get(NODE_URL, body=error)
    net.get(NODE_URL, json=make_node("a"))
    assert (connected.get_node("a")["metadata"]["name"], len(slept)) == ("a", 1)


def test_waits_as_long_as_the_server_says(
    net: responses.RequestsMock, connected: client.Client, slept: list[float]
) -> None:
    """Retry-After counts for more than our own idea, but for no storm of requests; a date there does not count."""
    net.get(NODE_URL, status=429, headers={"Retry-After": "7"})
    net.get(NODE_URL, status=503, headers={"Retry-After": "0"})
    net.get(NODE_URL, status=503, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"})
    net.get(NODE_URL, json=make_node("a"))
    connected.get_node("a")
    assert (slept[:2], 1.0 <= slept[2] <= 2.0) == ([7.0, 0.25], True)


def test_does_not_wait_for_what_comes_too_late(connected: client.Client, slept: list[float]) -> None:
    """When the server wants a longer wait than there is time for, the answer is now: unreachable."""
    error = failure(connected, status=429, body=status(429, "slow down"), headers={"Retry-After": "16"})
    assert (error.code, error.msg, slept) == (TRY_AGAIN_LATER, f"{ROUTE}: it answers 429: slow down", [])
    assert isinstance(error, Unreachable)


@pytest.mark.parametrize(("seconds", "tries"), [(1.0, 1), (3.0, 3)])
def test_the_deadline_bounds_the_tries(
    net: responses.RequestsMock, connected: client.Client, slept: list[float], seconds: float, tries: int
) -> None:
    """A closer deadline leaves time for fewer tries, and the error comes before it."""
    net.get(NODE_URL, status=503, headers={"Retry-After": "1"})
    with deadline.within(seconds), pytest.raises(Unreachable):
        _let_time_pass(slept, lambda: connected.get_node("a"))
    assert len(net.calls) == tries


def _let_time_pass(slept: list[float], action: Callable[[], object]) -> None:
    """Do this with a clock to which skipped waits are added."""
    real = time.monotonic
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: real() + sum(slept))
        action()


def test_401_reads_the_credentials_again(net: responses.RequestsMock, connected: client.Client, path: Path) -> None:
    """A token rotated since it was read is used at once."""

    def rotate(_request: Any) -> tuple[int, dict[str, str], str]:
        path.write_text(json.dumps(config(token="new")))
        return 401, {}, status(401)

    net.add_callback(responses.GET, NODE_URL, rotate)
    net.get(NODE_URL, json=make_node("a"))
    connected.get_node("a")
    assert [call.request.headers["Authorization"] for call in net.calls] == ["Bearer SECRET", "Bearer new"]


def test_401_runs_an_exec_plugin_again(net: responses.RequestsMock, tmp_path: Path) -> None:
    """What the plugin gave before is not taken from anywhere, it is run once more."""
    version = "client.authentication.k8s.io/v1"
    credential = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": "T%d"}}
    script, count = tmp_path / "plugin", tmp_path / "count"
    script.write_text(f"#!/bin/sh\necho run >> {count}\nprintf '{json.dumps(credential)}' $(wc -l < {count})\n")
    script.chmod(0o700)
    entry = {"apiVersion": version, "command": str(script), "interactiveMode": "Never"}
    (tmp_path / "kubeconfig").write_text(json.dumps(config(exec=entry)))
    net.get(NODE_URL, status=401)
    net.get(NODE_URL, json=make_node("a"))
    client.connect(str(tmp_path / "kubeconfig"), dict(os.environ)).get_node("a")
    assert [call.request.headers["Authorization"] for call in net.calls] == ["Bearer T1", "Bearer T2"]


def test_401_twice_is_enough(net: responses.RequestsMock, connected: client.Client, path: Path) -> None:
    """New credentials that are refused as well are not read a third time."""

    def rotate(_request: Any) -> tuple[int, dict[str, str], str]:
        path.write_text(json.dumps(config(token=f"new{len(net.calls)}")))
        return 401, {}, status(401)

    net.add_callback(responses.GET, NODE_URL, rotate)
    with pytest.raises(answers.Unauthorized):
        connected.get_node("a")
    assert len(net.calls) == 2


def test_401_with_the_same_credentials(net: responses.RequestsMock, connected: client.Client) -> None:
    """The same token would be refused again."""
    net.get(NODE_URL, status=401)
    with pytest.raises(answers.Unauthorized) as error:
        connected.get_node("a")
    assert (len(net.calls), error.value.details.splitlines()[0]) == (1, "renew the credentials in this kubeconfig")


@pytest.mark.parametrize(("expired", "text"), [(True, "they expired on 20"), (False, "they are valid until 20")])
def test_401_tells_the_expiry_date(tmp_path: Path, expired: bool, text: str) -> None:
    """An expired certificate is the usual reason."""
    pair = AUTHORITY.client("u", expired=expired)
    entry = {
        "client-certificate-data": makeconfig.base64_text(pair.certificate),
        "client-key-data": makeconfig.base64_text(pair.key),
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config(**entry)))
    error = failure(client.connect(str(tmp_path / "kubeconfig"), {}), status=401)
    assert (error.details.startswith(text), " UTC; renew them" in error.details) == (True, True)


@pytest.mark.parametrize(
    ("seconds", "claims", "text"),
    [
        (3600, {"namespace": "kube-system", "pod": {"name": "node-ipam-x"}}, "its pod kube-system/node-ipam-x is gone"),
        (-60, {"namespace": "kube-system", "pod": {"name": "node-ipam-x"}}, "they expired on 20"),
        (3600, {"namespace": "kube-system", "serviceaccount": {"name": "a"}}, "they are valid until 20"),
        (3600, {"pod": "odd"}, "they are valid until 20"),
    ],
)
def test_401_for_a_token_of_a_pod(tmp_path: Path, seconds: int, claims: dict[str, object], text: str) -> None:
    """A token that is refused before its end has lost its pod, if it is bound to one."""
    payload = base64.urlsafe_b64encode(
        json.dumps({"exp": time.time() + seconds, "kubernetes.io": claims}).encode()
    ).decode()
    (tmp_path / "kubeconfig").write_text(json.dumps(config(token=f"e30.{payload}.c2ln")))

    error = failure(client.connect(str(tmp_path / "kubeconfig"), {}), status=401)

    assert text in error.details
    assert payload not in error.details


def test_list_in_pages(net: responses.RequestsMock, connected: client.Client) -> None:
    """All pages, each asked for when it is wanted."""
    nodes = [make_node(name) for name in "abc"]
    net.get(LIST_URL, json={"kind": "NodeList", "metadata": {"continue": "to/k+n="}, "items": nodes[:2]})
    net.get(LIST_URL, json={"kind": "NodeList", "metadata": {}, "items": nodes[2:]})
    listed = connected.list_nodes()
    assert (next(listed)["metadata"]["name"], len(net.calls)) == ("a", 1)
    assert [node["metadata"]["name"] for node in listed] == ["b", "c"]
    assert queries(net) == ["limit=500", "limit=500&continue=to%2Fk%2Bn%3D"]


def test_list_starts_again_when_it_took_too_long(net: responses.RequestsMock, connected: client.Client) -> None:
    """After 410 the list begins anew, and no Node comes twice."""
    first = {"kind": "NodeList", "metadata": {"continue": "x"}, "items": [make_node("a")]}
    net.get(LIST_URL, json=first)
    net.get(LIST_URL, status=410, body=status(410, reason="Expired"))
    net.get(LIST_URL, json=first)
    net.get(LIST_URL, json={"kind": "NodeList", "metadata": {}, "items": [make_node("b")]})
    assert [node["metadata"]["name"] for node in connected.list_nodes()] == ["a", "b"]


def test_list_does_not_start_again_for_ever(net: responses.RequestsMock, connected: client.Client) -> None:
    """A list that always expires is an error."""
    net.get(LIST_URL, status=410, body=status(410, reason="Expired"))
    with pytest.raises(answers.Expired):
        list(connected.list_nodes())
    assert len(net.calls) == 4


@pytest.mark.parametrize(
    "odd", [{"items": 5}, {"items": [5]}, {"items": {"a": 1}}, {"metadata": {"continue": 5}}], ids=str
)
def test_odd_list(net: responses.RequestsMock, connected: client.Client, odd: dict[str, Any]) -> None:
    """A list that is none may be a proxy's doing: what is known from before still counts."""
    net.get(LIST_URL, json={"kind": "NodeList", "metadata": {}, "items": [], **odd})
    with pytest.raises(Unreachable, match="its list of Nodes is not one"):
        list(connected.list_nodes())


def test_nodes_without_a_name(net: responses.RequestsMock, connected: client.Client) -> None:
    """An answer that no API server sends is an error, not a Node and not a traceback."""
    net.get(LIST_URL, json={"kind": "NodeList", "metadata": {}, "items": [{}, {"metadata": None}]})
    assert list(connected.list_nodes()) == [{}]


@pytest.mark.parametrize("items", [None, []])
def test_empty_list(net: responses.RequestsMock, connected: client.Client, items: list[Any] | None) -> None:
    """Go writes an empty list as null."""
    net.get(LIST_URL, json={"kind": "NodeList", "metadata": {}, "items": items})
    assert list(connected.list_nodes()) == []


def test_impersonation(net: responses.RequestsMock, tmp_path: Path) -> None:
    """as, as-groups and as-user-extra become headers; a group each."""
    impersonated = {"as": "jané", "as-groups": ["g1", "g2"], "as-user-extra": {"scope": ["x"]}}
    (tmp_path / "kubeconfig").write_text(json.dumps(config(token="t", **impersonated)))
    net.get(NODE_URL, json=make_node("a"))
    client.connect(str(tmp_path / "kubeconfig"), {}).get_node("a")
    sent = [(name, value) for name, value in net.calls[0].request.headers.items() if name.startswith("Impersonate")]
    assert sent == [
        ("Impersonate-User", "jan\xc3\xa9"),
        ("Impersonate-Group", "g1"),
        ("Impersonate-Group", "g2"),
        ("Impersonate-Extra-scope", "x"),
    ]


def test_the_caller_s_deadline_passes_through(connected: client.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the deadline of the caller, the query fails without a retry."""
    asked = []

    def hang(*_args: object) -> None:
        asked.append(1)
        monkeypatch.setattr(deadline, "left", lambda: -0.1)  # as after a pause of the whole machine
        raise deadline.DeadlineExceeded

    monkeypatch.setattr(connected, "_request", hang)
    with pytest.raises(deadline.DeadlineExceeded):
        connected.get_node("a")
    assert asked == [1]


def test_its_own_deadline_is_unreachable(connected: client.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs leaves the caller time to do without."""
    monkeypatch.setattr(connected, "_request", lambda *_args: time.sleep(5))
    with deadline.within(0.2), pytest.raises(Unreachable, match="no answer in time") as error:
        connected.get_node("a")
    assert error.value.code == TRY_AGAIN_LATER


def test_importing_the_client_is_cheap() -> None:
    """requests, ssl and YAML are imported when a request is due, not before."""
    code = (
        "import sys, plugin.kube.client; print(sorted({'requests', 'ssl', 'yaml', 'http.client'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-Sc", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
