"""plugin.kube.credentials: what is shown to the server, and what it says about the node."""

from __future__ import annotations

import base64
import datetime
import json
import threading
from pathlib import Path

import pytest

from plugin.errors import CniError
from plugin.kube import credentials, files, kubeconfig, pem, places
from plugin.kube.credentials import Credentials
from tests.support.kubeconfig_cases import FILE_TOKEN, INLINE_TOKEN, USER, Material, config
from tests.support.pki import Authority, Pair

_AUTHORITY = Authority()
_NODE_CLAIM = {"kubernetes.io": {"node": {"name": "worker-1", "uid": "1"}}}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """The files that the kubeconfigs name."""
    return Material(str(tmp_path_factory.mktemp("material")))


def _load(material: Material, text: str) -> Credentials:
    path = material.write("config", material.filled(text).encode())
    return credentials.load(kubeconfig.find(path, {}), {})


_CERTIFICATE = "client-certificate: client.crt, client-key: client.key"
_EXEC = "exec: {{apiVersion: client.authentication.k8s.io/v1, command: bin/{}-v1, interactiveMode: Never}}"


@pytest.mark.parametrize(
    ("user", "kind", "source"),
    [
        ("token: $TOKEN", "token", "config"),
        ("tokenFile: token", "token file", "token"),
        ("tokenFile: empty, token: $TOKEN", "token", "config"),
        ("username: a, password: b", "basic auth", "config"),
        (_CERTIFICATE, "client certificate", "client.crt"),
        ("client-certificate-data: $CERT_DATA, client-key-data: $KEY_DATA", "client certificate", "config"),
        (f"{_CERTIFICATE}, token: $TOKEN", "client certificate and token", "client.crt"),
        (f"{_CERTIFICATE}, username: a", "client certificate and basic auth", "client.crt"),
        (_EXEC.format("token"), "exec plugin token-v1", "config"),
        ("", "anonymous", "config"),
    ],
)
def test_kind_and_source(user: str, kind: str, source: str, material: Material) -> None:
    """Messages can say what kind of credential it is and which file to look at."""
    found = _load(material, config(user))
    assert (found.kind, found.source) == (kind, f"{material.directory}/{source}")


def test_plain_http_carries_nothing(material: Material) -> None:
    """For a http:// server no file is read and no plugin is run."""
    found = _load(material, config(f"tokenFile: absent, {_CERTIFICATE}", server="http://$HOST"))
    assert (found.kind, found.headers, found.certificate, found.key) == ("anonymous", {}, b"", b"")


def test_certificate_and_key_are_of_one_look(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificate and key in one file are read at once, as the kubelet may replace the file at any time."""
    looks: list[str] = []
    read = files.read

    def counted(path: str) -> bytes:
        looks.append(path)
        return read(path)

    monkeypatch.setattr(files, "read", counted)
    found = _load(
        material, config("client-certificate: kubelet-client-current.pem, client-key: ./kubelet-client-current.pem")
    )
    assert looks.count(f"{material.directory}/kubelet-client-current.pem") == 1
    assert found.certificate == found.key


@pytest.mark.parametrize(
    ("name", "share"), [("client.crt", 0), ("client.crt", 0.5), ("client.key", 0), ("client.key", 0.5), ("token", 0)]
)
def test_half_written_file_is_read_again(name: str, share: float, tmp_path: Path) -> None:
    """k3s truncates certificate and key before it writes them; they are read until they are whole."""
    material = Material(str(tmp_path))
    path = tmp_path / name
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    writer = threading.Timer(0.15, lambda: path.write_bytes(whole))
    writer.start()
    try:
        found = _load(material, config(_CERTIFICATE if name != "token" else "tokenFile: token"))
    finally:
        writer.join()
    assert found.kind in ("client certificate", "token file")


def test_changed_files_are_read_again_when_asked(tmp_path: Path) -> None:
    """After a 401 the same kubeconfig gives the rotated token."""
    material = Material(str(tmp_path))
    assert _load(material, config("tokenFile: token")).headers == {"Authorization": f"Bearer {FILE_TOKEN}"}
    material.write("token", b"rotated\n")
    assert _load(material, config("tokenFile: token")).headers == {"Authorization": "Bearer rotated"}


def _with_certificate(user: str, *groups: str) -> Credentials:
    return Credentials("client certificate", "", {}, _AUTHORITY.client(user, groups).certificate)


def _with_token(claims: object, head: str = "e30") -> Credentials:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return Credentials("token", "", {"Authorization": f"Bearer {head}.{payload}.c2ln"})


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (_with_certificate("system:node:worker-1", "system:nodes"), ("certificate CN", "worker-1")),
        (_with_certificate("system:node:w.example.org", "a", "system:nodes"), ("certificate CN", "w.example.org")),
        (_with_certificate("system:node:worker-1"), None),
        (_with_certificate("system:node:worker-1", "system:masters"), None),
        (_with_certificate("worker-1", "system:nodes"), None),
        (_with_certificate("system:node:", "system:nodes"), None),
        (_with_certificate("kubernetes-admin", "system:masters"), None),
        (_with_token(_NODE_CLAIM), ("token claim", "worker-1")),
        (_with_token({"kubernetes.io": {"namespace": "a", "pod": {"name": "p"}}}), None),
        (_with_token({"sub": "system:serviceaccount:kube-system:multus"}), None),
        (_with_token({"kubernetes.io": {"node": None}}), None),
        (_with_token({"kubernetes.io": {"node": {"name": 3}}}), None),
        (_with_token({"kubernetes.io": {"node": {"name": ""}}}), None),
        (_with_token([1]), None),
        (Credentials("token", "", {"Authorization": f"Bearer {INLINE_TOKEN}"}), None),
        (Credentials("token", "", {"Authorization": "Bearer k8s-aws-v1.aGFsbG8"}), None),
        (Credentials("token", "", {"Authorization": "Bearer a.\u00fc.c"}), None),
        (Credentials("token", "", {"Authorization": "Bearer a.a.c"}), None),
        (Credentials("token", "", {"Authorization": "Bearer a." + "W1tb" * 30000 + ".c"}), None),
        (Credentials("basic auth", "", {"Authorization": "Basic YS5iLmM="}), None),
        (
            Credentials("client certificate", "", {}, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
            None,
        ),
        (Credentials("anonymous", ""), None),
    ],
)
def test_node_name(shown: Credentials, expected: tuple[str, str] | None) -> None:
    """A kubelet's certificate and a token bound to a pod name the node; nothing else does, and nothing raises."""
    assert credentials.node_name(shown) == expected


def test_node_name_of_certificate_before_token() -> None:
    """The certificate is a node's own; the token may be anybody's."""
    shown = _with_token(_NODE_CLAIM)
    shown.certificate = _AUTHORITY.client("system:node:other", ["system:nodes"]).certificate
    assert credentials.node_name(shown) == ("certificate CN", "other")


def test_expiry_of_certificate() -> None:
    """The end of the certificate's validity."""
    now = datetime.datetime.now(datetime.timezone.utc).timestamp()
    ends = credentials.expiry(_with_certificate("a"))
    assert ends is not None
    assert abs(ends - now - 86400) < 60
    expired = Credentials("client certificate", "", {}, _AUTHORITY.client("a", expired=True).certificate)
    assert (credentials.expiry(expired) or now) < now


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"exp": 1792000000}, 1792000000.0),
        ({"exp": 1.5e9}, 1.5e9),
        ({"exp": "soon"}, None),
        ({"exp": 1e300}, None),
        ({}, None),
    ],
)
def test_expiry_of_token(claims: object, expected: float | None) -> None:
    """The exp claim, where it is a time."""
    assert credentials.expiry(_with_token(claims)) == expected


def test_expiry_of_plugin_answer(material: Material) -> None:
    """What the plugin says, or its certificate, whichever ends first."""
    found = _load(material, config(_EXEC.format("certificate")))
    assert found.expires == datetime.datetime(2099, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc).timestamp()
    assert credentials.expiry(found) == pem.not_after(found.certificate)


def test_plugin_gives_certificate(material: Material) -> None:
    """A certificate from a plugin is PEM, not base64 of it."""
    found = _load(material, config(_EXEC.format("certificate")))
    assert pem.subject(found.certificate) == (USER, ["dev"])
    assert found.key == (Path(material.directory) / "client.key").read_bytes()


def test_token_of_plugin_with_line_break_is_refused(tmp_path: Path) -> None:
    """What cannot be in a header is refused without being shown."""
    material = Material(str(tmp_path))
    answer = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"sec\\\\nret"}}'
    material.write("bin/broken-v1", f"#!/bin/sh\nprintf '%s' '{answer}'\n".encode().replace(b"\\\\n", b"\\n"), 0o700)
    with pytest.raises(CniError) as raised:
        _load(material, config(_EXEC.format("broken")))
    assert "invalid header field value" in raised.value.msg
    assert "ret" not in raised.value.msg + raised.value.details


_NODE = ("system:node:worker-1", ["system:nodes"])


def _kubelet(material: Material, **user: str) -> Credentials:
    """The credentials of a kubeconfig whose user has these keys."""
    text = config(", ".join(f"{key}: {value}" for key, value in user.items()))
    return credentials.load(kubeconfig.find(material.write("kubelet.conf", material.filled(text).encode()), {}), {})


def _data(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


@pytest.mark.parametrize(
    ("embedded", "current", "is_renewed"),
    [
        (_AUTHORITY.client(*_NODE, expired=True), _AUTHORITY.client(*_NODE), True),
        (_AUTHORITY.client(*_NODE), _AUTHORITY.client(*_NODE), False),
        (_AUTHORITY.client(*_NODE, expired=True), _AUTHORITY.client(*_NODE, expired=True), False),
        (_AUTHORITY.client(*_NODE, expired=True), _AUTHORITY.client("system:node:worker-2", ["system:nodes"]), False),
        (_AUTHORITY.client("admin", ["system:masters"], expired=True), _AUTHORITY.client(*_NODE), False),
        (_AUTHORITY.client(*_NODE, expired=True), None, False),
    ],
    ids=["expired", "valid", "both expired", "of another node", "not a kubelet's", "none"],
)
@pytest.mark.parametrize("place", places.CURRENT_CERTIFICATES)
def test_current_certificate_of_the_kubelet(
    place: str,
    embedded: Pair,
    current: Pair | None,
    is_renewed: bool,
    material: Material,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An expired certificate gives way to the one that the kubelet renews, if it is the same node's."""
    monkeypatch.setattr(places, "ROOT", str(tmp_path))
    path = tmp_path / place.lstrip("/")
    path.parent.mkdir(parents=True)
    if current:
        path.write_bytes(current.certificate + current.key)
    keys = {
        "client-certificate-data": _data(embedded.certificate),
        "client-key-data": _data(embedded.key),
    }
    found = _kubelet(material, **keys)
    taken = current.certificate + current.key if current and is_renewed else embedded.certificate
    assert found.certificate == taken
    assert found.source == (str(path) if is_renewed else f"{material.directory}/kubelet.conf")


def test_current_certificate_without_a_key(material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate alone is of no use."""
    monkeypatch.setattr(places, "ROOT", str(tmp_path))
    path = tmp_path / places.CURRENT_CERTIFICATES[0].lstrip("/")
    path.parent.mkdir(parents=True)
    path.write_bytes(_AUTHORITY.client(*_NODE).certificate)
    old = _AUTHORITY.client(*_NODE, expired=True)
    keys = {"client-certificate-data": _data(old.certificate), "client-key-data": _data(old.key)}
    assert _kubelet(material, **keys).key == old.key
