"""plugin.kube.kubeconfig and what it is made of: which file is taken, what it says, what is refused and how."""

from __future__ import annotations

import os
import pwd
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from plugin import deadline
from plugin.errors import DECODE_FAILURE, INVALID_CONFIG, IO_FAILURE, PLUGIN_FAILURE, CniError
from plugin.kube import credentials, files, kubeconfig, kubelet, places
from tests.support.kubeconfig_cases import (
    CASES,
    FILE_TOKEN,
    INLINE_TOKEN,
    MERGES,
    PLAIN_HTTP,
    Case,
    Material,
    Merge,
    config,
)
from tests.support.privileges import modes_count

_PLAIN = config()


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """The files that the kubeconfigs name."""
    return Material(str(tmp_path_factory.mktemp("material")))


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a node without any kubeconfig."""
    monkeypatch.setattr(places, "ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.0)


def _environ(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **more}


def _put(path: Path, material: Material, text: str = _PLAIN) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(material.filled(text))
    return str(path)


def _secrets(material: Material) -> list[str]:
    key = material.values["KEY_DATA"]
    return [INLINE_TOKEN, FILE_TOKEN, "plugin-token", "secret", key[:40], key[100:140], "-----BEGIN"]


def _load(path: str) -> tuple[kubeconfig.Kubeconfig, credentials.Credentials]:
    found = kubeconfig.find(path, _environ())
    return found, credentials.load(found, _environ())


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    "case", [each for each in [*CASES, *PLAIN_HTTP] if not each.refused], ids=lambda case: case.name
)
def test_accepted(case: Case, material: Material) -> None:
    """Each kubeconfig that client-go accepts leads to the same address, credentials and headers."""
    found, shown = _load(material.config(case))
    scheme = "http" if case in PLAIN_HTTP else "https"
    host = "localhost" if "localhost" in case.text else "127.0.0.1"
    assert found.server == f"{scheme}://{host}:6443{case.prefix}"
    assert (shown.headers.get("Authorization", ""), bool(shown.certificate and shown.key), found.impersonate) == (
        case.authorization,
        case.certificate,
        list(case.impersonate),
    )


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("case", [each for each in [*CASES, *PLAIN_HTTP] if each.refused], ids=lambda case: case.name)
def test_refused(case: Case, material: Material) -> None:
    """Each one that cannot be used is refused in client-go's words, without a secret of it, and says what to do."""
    with pytest.raises(CniError) as raised:
        _load(material.config(case))
    assert material.filled(case.refused) in raised.value.msg
    assert raised.value.details
    shown = f"{raised.value.msg} {raised.value.details} {raised.value!r}"
    assert [secret for secret in _secrets(material) if secret in shown] == []


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("case", MERGES, ids=lambda case: case.name)
def test_list_of_files(case: Merge, material: Material) -> None:
    """The files in $KUBECONFIG are merged by client-go's rules; the file of the user entry is known."""
    for name, text in case.files.items():
        material.write(name, material.filled(text).encode())
    environ = _environ(KUBECONFIG=material.filled(case.listed))
    if case.refused:
        with pytest.raises(CniError) as raised:
            kubeconfig.find("", environ)
        assert material.filled(case.refused) in raised.value.msg
        return
    found = kubeconfig.find("", environ)
    authorization = credentials.load(found, environ).headers["Authorization"]
    assert (authorization, found.path, found.why) == (case.authorization, material.filled(case.path), "$KUBECONFIG")


def test_paths_are_relative_to_the_link_not_to_what_it_points_to(material: Material, tmp_path: Path) -> None:
    """A kubeconfig may be a symbolic link; the files it names are looked for beside the link."""
    target = _put(tmp_path / "far" / "config", material, config(ca="certificate-authority: ca.crt"))
    (tmp_path / "config").symlink_to(target)
    (tmp_path / "ca.crt").write_bytes(material.authority.ca_pem)
    assert kubeconfig.find(str(tmp_path / "config"), _environ()).ca == material.authority.ca_pem


def test_everything_a_cluster_can_say(material: Material) -> None:
    """What the client needs to know is in the attributes."""
    text = config(
        "tokenFile: token",
        "tls-server-name: kubernetes, proxy-url: 'http://a:secret@proxy:3128'",
        ca="certificate-authority: ca.crt",
    )
    found = kubeconfig.find(material.write("config", material.filled(text).encode()), _environ())
    assert (found.cluster_name, found.user_name) == ("local", "u")
    assert (found.tls_server_name, found.insecure) == ("kubernetes", False)
    assert (found.ca, found.proxy_url) == (material.authority.ca_pem, "http://a:secret@proxy:3128")
    assert found.user == {"tokenFile": f"{material.directory}/token"}
    assert found.files == [found.path] == [f"{material.directory}/config"]


# Later ones are looked at only if none of those before is there.
_PLACES = [
    ("etc/kubernetes/kubelet.conf", "the kubelet's own"),
    ("var/lib/kubelet/kubeconfig", "the kubelet's own"),
    ("var/lib/rancher/k3s/agent/kubelet.kubeconfig", "the kubelet's own"),
    ("var/lib/rancher/rke2/agent/kubelet.kubeconfig", "the kubelet's own"),
    ("var/lib/k0s/kubelet.conf", "the kubelet's own"),
    ("var/snap/microk8s/current/credentials/kubelet.config", "the kubelet's own"),
    ("etc/kubernetes/kubelet-kubeconfig", "the kubelet's own"),
    ("etc/kubernetes/kubeconfig-kubelet", "the kubelet's own"),
    ("home/.kube/config", "~/.kube/config"),
]


@pytest.mark.parametrize("first", range(len(_PLACES)), ids=lambda first: _PLACES[first][0])
def test_order_of_places(first: int, node: Path, material: Material) -> None:
    """The kubelet's kubeconfig is taken before the one in the home directory, and the reason is known."""
    for place, _ in _PLACES[first:]:
        _put(node / place, material)
    found = kubeconfig.find("", _environ(HOME=str(node / "home")))
    assert (found.path, found.why) == (str(node / _PLACES[first][0]), _PLACES[first][1])


NO_KUBECONFIGS = {
    "a KubeletConfiguration": (
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nclusterDNS: [10.96.0.10]\n",
        'no kind "KubeletConfiguration" is registered for version "kubelet.config.k8s.io/v1beta1"',
    ),
    "empty": ("", "nothing in it"),
    "comments alone": ("# written by cloud-init\n", "nothing in it"),
    "an empty object": ("{}\n", "nothing in it"),
    "other settings": ("KUBELET_ARGS: --v=2\n", "nothing in it"),
    "text": ("KUBELET_ARGS=--v=2\n", "cannot unmarshal string"),
    "not YAML": ("a: [1\nb: '\n", "not YAML"),
    "a directory": (None, "a directory"),
}


@pytest.mark.parametrize(("text", "what"), NO_KUBECONFIGS.values(), ids=NO_KUBECONFIGS)
def test_place_without_a_kubeconfig_is_passed_over(
    text: str | None, what: str, node: Path, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first place without a kubeconfig does not hide the second; the result names it."""
    monkeypatch.setattr(files, "PATIENCE", 0.0)
    first = node / "etc/kubernetes/kubelet.conf"
    first.parent.mkdir(parents=True)
    first.mkdir() if text is None else first.write_text(text)
    with pytest.raises(CniError) as raised:
        kubeconfig.find("", _environ(HOME=f"{node}/home"))
    assert (raised.value.code, f"{first}: " in raised.value.msg, what in raised.value.msg) == (100, True, True)
    second = _put(node / "var/lib/kubelet/kubeconfig", material)
    found = kubeconfig.find("", _environ())
    assert found.path == second
    (told,) = found.passed_over
    assert told.startswith(f"{first}: ") and what in told


def test_place_that_is_being_written_is_not_passed_over(node: Path, material: Material) -> None:
    """A half-written kubelet kubeconfig is read again, before the one in the home directory is used."""
    path = node / "etc/kubernetes/kubelet.conf"
    path.parent.mkdir(parents=True)
    path.write_text("")
    _put(node / "home/.kube/config", material)
    writer = _later(0.15, lambda: path.write_text(material.filled(_PLAIN)))
    try:
        assert kubeconfig.find("", _environ(HOME=f"{node}/home")).path == str(path)
    finally:
        writer.join()


def test_running_kubelet_comes_first(node: Path, material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    """The --kubeconfig of the running kubelet precedes the usual places, if that file exists."""
    usual, told = _put(node / "etc/kubernetes/kubelet.conf", material), node / "data/kubelet.kubeconfig"
    monkeypatch.setattr(kubelet, "kubeconfig", lambda _proc, _cache: str(told))
    assert kubeconfig.find("", _environ()).path == usual
    _put(told, material)
    found = kubeconfig.find("", _environ())
    assert (found.path, found.why) == (str(told), "the running kubelet's --kubeconfig")


def test_running_kubelet_in_a_usual_place(node: Path, material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that is usual and the running kubelet's is looked at once."""
    usual, second = node / "etc/kubernetes/kubelet.conf", _put(node / "var/lib/kubelet/kubeconfig", material)
    usual.mkdir(parents=True)
    monkeypatch.setattr(kubelet, "kubeconfig", lambda _proc, _cache: str(usual))
    found = kubeconfig.find("", _environ())
    assert (found.path, found.passed_over) == (second, [f"{usual}: a directory"])


def test_variable_before_the_kubelets_own(node: Path, material: Material) -> None:
    """$KUBECONFIG goes before the kubelet's kubeconfig."""
    _put(node / "etc/kubernetes/kubelet.conf", material)
    named = _put(node / "named", material)
    found = kubeconfig.find("", _environ(KUBECONFIG=named))
    assert (found.path, found.why) == (named, "$KUBECONFIG")


def test_configuration_before_the_variable(node: Path, material: Material) -> None:
    """A path in the configuration goes before $KUBECONFIG, and it is one path, not a list."""
    named, explicit = _put(node / "named", material), _put(node / "with:colon", material)
    found = kubeconfig.find(explicit, _environ(KUBECONFIG=named), label="kubeconfig")
    assert (found.path, found.why) == (explicit, "kubeconfig")


def test_configured_file_must_exist(node: Path, material: Material) -> None:
    """A path in the configuration that leads nowhere is an error, whatever else there is."""
    _put(node / "etc/kubernetes/kubelet.conf", material)
    with pytest.raises(CniError) as raised:
        kubeconfig.find(str(node / "typo"), _environ())
    assert (raised.value.code, raised.value.msg) == (INVALID_CONFIG, f"ipam.kubeconfig: stat {node}/typo: missing")


def test_home_when_the_variable_is_not_set(node: Path, material: Material) -> None:
    """containerd's children have no $HOME; the home directory is that of the user then."""
    place = _put(node / pwd.getpwuid(os.getuid()).pw_dir.lstrip("/") / ".kube/config", material)
    assert kubeconfig.find("", {}).path == place


def test_home_of_a_user_without_entry(node: Path, material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown user id is not an error."""
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    place = _put(node / ".kube/config", material)
    assert kubeconfig.find("", {}).path == place


def _account(node: Path, material: Material) -> Path:
    directory = node / places.SERVICE_ACCOUNT.lstrip("/")
    directory.mkdir(parents=True)
    (directory / "token").write_text("service-account-token\n")
    (directory / "ca.crt").write_bytes(material.authority.ca_pem)
    return directory


@pytest.mark.parametrize(
    ("host", "server"), [("10.96.0.1", "https://10.96.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_in_cluster(host: str, server: str, node: Path, material: Material) -> None:
    """In a pod with a service account its token and authority are used, when there is nothing else."""
    directory = _account(node, material)
    environ = _environ(KUBERNETES_SERVICE_HOST=host, KUBERNETES_SERVICE_PORT="443")
    found = kubeconfig.find("", environ)
    shown = credentials.load(found, environ)
    assert (found.server, found.why, found.ca) == (server, "in-cluster files", material.authority.ca_pem)
    assert (shown.headers, shown.source) == ({"Authorization": "Bearer service-account-token"}, f"{directory}/token")


def test_in_cluster_comes_last(node: Path, material: Material) -> None:
    """A service account does not count where there is a kubeconfig."""
    _account(node, material)
    place = _put(node / "etc/kubernetes/kubelet.conf", material)
    environ = _environ(KUBERNETES_SERVICE_HOST="10.96.0.1", KUBERNETES_SERVICE_PORT="443")
    assert kubeconfig.find("", environ).path == place


@pytest.mark.parametrize("missing", ["token", "ca.crt", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"])
def test_in_cluster_needs_everything(missing: str, node: Path, material: Material) -> None:
    """Half a service account is none: thick Multus leaks the variables into a chroot without the files."""
    directory = _account(node, material)
    environ = _environ(KUBERNETES_SERVICE_HOST="10.96.0.1", KUBERNETES_SERVICE_PORT="443")
    if environ.pop(missing, None) is None:
        (directory / missing).unlink()
    with pytest.raises(CniError, match="no kubeconfig; looked at"):
        kubeconfig.find("", environ)


def test_nothing_anywhere(node: Path) -> None:
    """If there is none at all, what is not a kubeconfig is named, the missing places are counted."""
    (node / "etc/kubernetes/kubelet.conf").mkdir(parents=True)
    with pytest.raises(CniError) as raised:
        kubeconfig.find("", _environ(HOME=f"{node}/home"), label="ipam.kubeconfig")
    missing = f"{len(places.KUBELET_FILES) + 1} usual places: missing"
    looked = f"$KUBECONFIG: not set, {node}/etc/kubernetes/kubelet.conf: a directory, {missing}"
    assert (raised.value.code, raised.value.msg) == (PLUGIN_FAILURE, f"no kubeconfig; looked at {looked}")
    assert raised.value.details == "set ipam.kubeconfig to the path of a kubeconfig whose user may get this Node"


def test_places_of_kubectl(node: Path, material: Material) -> None:
    """kubectl's places are two, which an error names; the kubelet's are not among them."""
    _put(node / "etc/kubernetes/kubelet.conf", material)
    environ = _environ(HOME=f"{node}/home")
    with pytest.raises(CniError) as raised:
        kubeconfig.find("", environ, "--kubeconfig", as_kubectl=True)
    missing = f"{node}/home/.kube/config: missing, {node}{places.SERVICE_ACCOUNT}: missing"
    assert raised.value.msg == f"no kubeconfig; looked at $KUBECONFIG: not set, {missing}"
    own = _put(node / "home/.kube/config", material)
    assert kubeconfig.find("", environ, "--kubeconfig", as_kubectl=True).path == own


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A faulty file is read again until it is whole, however late that is."""
    monkeypatch.setattr(files, "PATIENCE", 60.0)


def _later(seconds: float, action: Callable[[], object]) -> threading.Thread:
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


@pytest.mark.usefixtures("_patient")
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.8, 0.97])
def test_half_written_file_is_read_again(share: float, material: Material, tmp_path: Path) -> None:
    """Calico, whereabouts and k3s write in place: empty or cut anywhere, the file is read until it is whole."""
    path = tmp_path / "config"
    text = material.filled(_PLAIN)
    path.write_text(text[: int(len(text) * share)])
    writer = _later(0.15, lambda: path.write_text(text))
    try:
        assert kubeconfig.find(str(path), _environ()).user == {"token": INLINE_TOKEN}
    finally:
        writer.join()


@pytest.mark.usefixtures("_patient")
def test_file_that_vanishes_for_a_moment_is_read_again(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was there when looked for and is gone when opened is being replaced."""
    path = Path(_put(tmp_path / "config", material))
    looked = places.search
    writers: list[threading.Thread] = []

    def look_and_remove(*arguments: object) -> tuple[list[str], str]:
        found = looked(*arguments)  # type: ignore[arg-type]
        if not writers:
            path.rename(tmp_path / "aside")
            writers.append(_later(0.15, lambda: (tmp_path / "aside").rename(path)))
        return found

    monkeypatch.setattr(places, "search", look_and_remove)
    assert kubeconfig.find(str(path), _environ()).path == str(path)
    writers[0].join()


@pytest.mark.usefixtures("_patient")
def test_file_that_is_put_in_place_late(material: Material, tmp_path: Path) -> None:
    """A file that is not there when looked for may be there a moment later."""
    path = tmp_path / "config"
    writer = _later(0.15, lambda: Path(_put(tmp_path / "new", material)).rename(path))
    try:
        assert kubeconfig.find(str(path), _environ()).path == str(path)
    finally:
        writer.join()


def test_fifo(tmp_path: Path) -> None:
    """A file that would have to be waited for is none."""
    os.mkfifo(tmp_path / "config")
    with pytest.raises(CniError, match="invalid argument"):
        kubeconfig.find(str(tmp_path / "config"), _environ())


@pytest.mark.parametrize(
    ("user", "key"),
    [
        ("tokenFile: eyJhbGciOiJSUzI1NiJ9.SECRET.SECRETSECRETSECRETSECRETSECRETSECRETSECRET", "tokenFile"),
        ("client-certificate: $DIR/client.crt, client-key: TUlJRXZnSUJBREFO/SECRET/SECRET", "client-key"),
    ],
)
def test_secret_in_place_of_a_path(material: Material, tmp_path: Path, user: str, key: str) -> None:
    """A token or a key under the key that is for a path is not repeated."""
    path = _put(tmp_path / "config", material, config(user))
    with pytest.raises(CniError, match=f"unable to read {key} \\(not shown: ") as raised:
        credentials.load(kubeconfig.find(path, _environ()), {})
    assert "SECRET" not in f"{raised.value.msg}{raised.value.details}"


@pytest.mark.usefixtures("_patient")
def test_half_written_authority_is_read_again(material: Material, tmp_path: Path) -> None:
    """The files that a kubeconfig names are written in place as well."""
    path = _put(tmp_path / "config", material, config(ca="certificate-authority: ca.crt"))
    (tmp_path / "ca.crt").write_bytes(material.authority.ca_pem[:100])
    writer = _later(0.15, lambda: (tmp_path / "ca.crt").write_bytes(material.authority.ca_pem))
    try:
        assert kubeconfig.find(path, _environ()).ca == material.authority.ca_pem
    finally:
        writer.join()


def test_patience_ends_before_the_deadline(tmp_path: Path) -> None:
    """With little time left the error is the file's, not that time is up."""
    (tmp_path / "config").write_text("")
    with deadline.within(0.3), pytest.raises(CniError, match="no configuration has been provided"):
        kubeconfig.find(str(tmp_path / "config"), _environ())


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("content", "code", "expected"),
    [
        (b"", INVALID_CONFIG, "no configuration has been provided"),
        (b"a: [", DECODE_FAILURE, "yaml: line 1, column 5: not YAML"),
        (b"\xff", DECODE_FAILURE, "invalid UTF-8 at byte 0"),
        (b"#" * (1 << 20) + b"#", INVALID_CONFIG, "more than 1048576 bytes"),
    ],
    ids=["empty", "cut", "binary", "too large"],
)
def test_codes(content: bytes, code: int, expected: str, tmp_path: Path) -> None:
    """Text that cannot be decoded and an unusable configuration have different codes."""
    (tmp_path / "config").write_bytes(content)
    with pytest.raises(CniError) as raised:
        kubeconfig.find(str(tmp_path / "config"), _environ())
    assert (raised.value.code, str(tmp_path) in raised.value.msg) == (code, True)
    assert raised.value.msg.endswith(expected)


@pytest.mark.parametrize(
    ("user", "remedy"),
    [(0, "it must be a file that root can read"), (1000, "run this as root, or as a user who can read it")],
)
def test_unreadable(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, remedy: str
) -> None:
    """A file that must not be read is named; what to do depends on the user."""
    path = Path(_put(tmp_path / "config", material))
    path.chmod(0)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with pytest.raises(CniError) as raised, modes_count():
        kubeconfig.find(str(path), _environ())
    expected = f'error loading config file "{path}": open {path}: permission denied'
    assert (raised.value.code, raised.value.msg, raised.value.details) == (IO_FAILURE, expected, remedy)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("name", ["calico.yaml", "rancher.yaml", "json-view.json", "eks-al2023.yaml"])
def test_cut_anywhere(name: str, material: Material) -> None:
    """Cut after any byte, a kubeconfig is refused or is what a longer piece of it is; nothing else ever happens."""
    case = next(each for each in CASES if each.name == name)
    text = material.filled(case.text).encode()
    ends = [end for end in range(len(text)) if len(text) - end < 500 or end % 37 == 0]
    for end in ends:
        path = material.write("cut", text[:end])
        try:
            found = kubeconfig.find(path, _environ())
        except CniError:
            continue
        assert found.server.startswith("https://127.0.0.1")
