"""plugin.kube.exec_plugin: programs that hand out credentials, run for real."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from plugin import deadline
from plugin.errors import PLUGIN_FAILURE, TRY_AGAIN_LATER, CniError, Unreachable
from plugin.kube import exec_plugin, kubeconfig
from plugin.kube.kubeconfig import Kubeconfig
from tests.support.pki import Authority

_VERSION = "client.authentication.k8s.io/v1"
_ANSWER: dict[str, Any] = {"apiVersion": _VERSION, "kind": "ExecCredential", "status": {"token": "t"}}
_AUTHORITY = Authority()


class Plugin:
    """A shell script in a directory of its own, and the kubeconfig that names it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "hand-out"

    def script(self, text: str, interpreter: str = "/bin/sh") -> None:
        """Write the program; $D is its directory."""
        self.path.write_text(f"#!{interpreter}\nD={self.directory}\n{text}\n")
        self.path.chmod(0o700)

    def prints(self, answer: object) -> None:
        """A program that prints this: text as it is, anything else as JSON. It keeps count in the file ran."""
        (self.directory / "answer").write_text(answer if isinstance(answer, str) else json.dumps(answer))
        self.script("echo >> $D/ran; cat $D/answer")

    def config(self, **keys: object) -> Kubeconfig:
        """The kubeconfig; keys are those of its exec entry, cluster those of its cluster."""
        cluster: Any = keys.pop("cluster", {})
        entry = {"apiVersion": _VERSION, "command": "./hand-out", "interactiveMode": "Never", **keys}
        document = {
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443", **cluster}}],
            "users": [{"name": "u", "user": {"exec": entry}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path = self.directory / "config"
        path.write_text(json.dumps(document))
        return kubeconfig.find(str(path), {})

    def read(self, name: str) -> str:
        """What the program wrote into a file."""
        return (self.directory / name).read_text()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugin:
    """A plugin that hands out the token t, never run before in this process."""
    monkeypatch.setattr(exec_plugin, "_printed", {})
    made = Plugin(tmp_path)
    made.prints(_ANSWER)
    return made


def _ask(config: Kubeconfig, environ: Mapping[str, str] | None = None) -> str:
    """The token."""
    return exec_plugin.credential(config, {"PATH": os.environ["PATH"]} if environ is None else environ)[0]


def _failure(config: Kubeconfig, environ: Mapping[str, str] | None = None) -> CniError:
    with pytest.raises(CniError) as raised:
        _ask(config, environ)
    return raised.value


def test_token(program: Plugin) -> None:
    """The token it prints is the one to show."""
    assert exec_plugin.credential(program.config(), {}) == ("t", b"", b"", None)


def test_yaml(program: Plugin) -> None:
    """client-go reads YAML as well."""
    program.prints(f"apiVersion: {_VERSION}\nkind: ExecCredential\nstatus:\n  token: t\n")
    assert _ask(program.config()) == "t"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-05T17:30:20Z", 1772731820.0),
        ("2026-03-05T17:30:20.123456789Z", 1772731820.0),
        ("2026-03-05T18:30:20+01:00", 1772731820.0),
        ("2026-03-05T12:00:20-05:30", 1772731820.0),
        ("2026-03-05t17:30:20z", 1772731820.0),
        ("2026-13-05T17:30:20Z", None),
        ("20260305T173020Z", None),  # which datetime reads since Python 3.11
        ("2026-W10-4T17:30:20Z", None),
        ("2026-03-05T17:30:20", None),
        ("tomorrow", None),
        (1772731820, None),
        (None, None),
    ],
)
def test_expiration(text: object, expected: float | None, program: Plugin) -> None:
    """The time is RFC 3339, with any offset; what is none is as if it were not there."""
    program.prints({**_ANSWER, "status": {"token": "t", "expirationTimestamp": text}})
    assert exec_plugin.credential(program.config(), {})[3] == expected


def test_stdin_is_empty(program: Plugin) -> None:
    """The request on our standard input is not for the plugin, and nothing waits for a terminal."""
    program.script("cat > $D/stdin; test -t 0 && echo terminal >> $D/stdin; cat $D/answer")
    source, sink = os.pipe()
    os.write(sink, b"the CNI request")
    os.close(sink)
    saved = os.dup(0)
    os.dup2(source, 0)
    try:
        _ask(program.config())
        assert os.read(0, 100) == b"the CNI request"
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(source)
    assert program.read("stdin") == ""


def test_stderr_is_ours_and_stdout_is_not(program: Plugin, capfd: pytest.CaptureFixture[str]) -> None:
    """What it says on stderr passes through; on our stdout is nothing but the CNI result."""
    program.script("echo said >&2; cat $D/answer")
    _ask(program.config())
    assert tuple(capfd.readouterr()) == ("", "said\n")


def test_environment(program: Plugin) -> None:
    """It gets our environment, then what the entry sets, then KUBERNETES_EXEC_INFO, whatever else that was set to."""
    program.script("env > $D/env; cat $D/answer")
    mine = {"PATH": os.environ["PATH"], "KEPT": "1", "REPLACED": "old", "KUBERNETES_EXEC_INFO": "old"}
    variables = [
        {"name": "REPLACED", "value": "first"},
        {"name": "REPLACED", "value": "new"},
        {"name": "EMPTY"},
        {"name": "KUBERNETES_EXEC_INFO", "value": "other"},
    ]
    _ask(program.config(env=variables), mine)
    found = dict(line.split("=", 1) for line in program.read("env").splitlines() if "=" in line)
    assert (found["KEPT"], found["REPLACED"], found["EMPTY"]) == ("1", "new", "")
    assert json.loads(found["KUBERNETES_EXEC_INFO"]) == {
        "kind": "ExecCredential",
        "apiVersion": _VERSION,
        "spec": {"interactive": False},
    }


def test_arguments_and_directory(program: Plugin) -> None:
    """Arguments come as they are written; the current directory is ours."""
    program.script('printf "%s|" "$0" "$@" > $D/arguments; pwd >> $D/arguments; cat $D/answer')
    _ask(program.config(args=["eks", "get-token", "a b", "$HOME", ""]))
    assert program.read("arguments") == f"{program.path}|eks|get-token|a b|$HOME||{os.getcwd()}\n"


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_cluster_information(version: str, program: Plugin) -> None:
    """With provideClusterInfo the plugin learns all of the cluster, an authority's file as data."""
    (program.directory / "ca.crt").write_bytes(_AUTHORITY.ca_pem)
    cluster = {
        "certificate-authority": "ca.crt",
        "tls-server-name": "kubernetes",
        "proxy-url": "http://proxy:3128",
        "disable-compression": True,
        "extensions": [
            {"name": "other", "extension": {"a": 1}},
            {"name": "client.authentication.k8s.io/exec", "extension": {"audience": ["x"], "n": 5}},
        ],
    }
    program.prints({**_ANSWER, "apiVersion": f"client.authentication.k8s.io/{version}"})
    program.script('printf %s "$KUBERNETES_EXEC_INFO" > $D/info; cat $D/answer')
    _ask(program.config(apiVersion=f"client.authentication.k8s.io/{version}", provideClusterInfo=True, cluster=cluster))
    info = json.loads(program.read("info"))
    assert program.read("info").count("\n") == 1
    assert info["apiVersion"] == f"client.authentication.k8s.io/{version}"
    assert base64.b64decode(info["spec"]["cluster"].pop("certificate-authority-data")) == _AUTHORITY.ca_pem
    assert info["spec"]["cluster"] == {
        "server": "https://127.0.0.1:6443",
        "tls-server-name": "kubernetes",
        "proxy-url": "http://proxy:3128",
        "disable-compression": True,
        "config": {"audience": ["x"], "n": 5},
    }


def test_found_on_path(program: Plugin) -> None:
    """A command without a slash is looked for in the directories of PATH, in their order."""
    (program.directory / "not-executable").mkdir()
    (program.directory / "not-executable" / "hand-out").write_text("")
    path = f"{program.directory}/not-executable:{program.directory}:/usr/bin:/bin"
    assert _ask(program.config(command="hand-out"), {"PATH": path}) == "t"


@pytest.mark.parametrize("path", ["", ":/usr/bin", ".:/usr/bin", "/usr/bin"])
def test_current_directory_is_not_searched(path: str, program: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if PATH names it: what lies about there must not run as root."""
    monkeypatch.chdir(program.directory)
    failure = _failure(program.config(command="hand-out"), {"PATH": path})
    assert "executable hand-out not found" in failure.msg
    assert not (program.directory / "ran").exists()


def test_without_path(program: Plugin) -> None:
    """containerd may have been started without PATH; the usual directories do then, for the plugin as well."""
    program.script("cat $D/answer")
    assert _ask(program.config(), {}) == "t"
    program.prints(_ANSWER)
    failure = _failure(program.config(command="hand-out"), {})
    assert "executable hand-out not found" in failure.msg


def test_missing(program: Plugin) -> None:
    """A plugin that is not installed is named, with the hint from the kubeconfig cleaned of what is not text."""
    hint = "\x1b[1;31mInstall\n\tit \x07here\x00 " + "x" * 1000
    with pytest.raises(CniError):
        program.config(command="no-such-plugin", installHint=hint)  # NUL is refused when the file is read
    failure = _failure(program.config(command="no-such-plugin", installHint=hint.replace("\x00", "")))
    assert failure.code == PLUGIN_FAILURE
    assert failure.msg == "getting credentials: exec: executable no-such-plugin not found"
    where = f'the credential plugin is that of user "u" in {program.directory}/config'
    assert failure.details.startswith(f"{where}; it must be installed on the node. [1;31mInstall it here xxx")
    assert len(failure.details) < len(where) + 600


def test_interpreter_missing(program: Plugin) -> None:
    """A script whose first line names nothing is there and cannot be run."""
    program.script("", interpreter="/no/such/interpreter")
    failure = _failure(program.config())
    assert failure.msg == f"getting credentials: exec: fork/exec {program.path}: no such file or directory"


def test_malformed_variable(program: Plugin) -> None:
    """A name that no variable can have is an error like any other."""
    assert "malformed args or env" in _failure(program.config(env=[{"name": "A=B", "value": "secret"}])).msg


@pytest.mark.parametrize(
    ("script", "expected"), [("exit 3", "failed with exit code 3"), ("kill -TERM $$", "was ended by signal 15")]
)
def test_failure_is_passing(script: str, expected: str, program: Plugin) -> None:
    """A plugin that fails may succeed next time: the service it asks is unreachable, say."""
    program.script(f"echo '{json.dumps(_ANSWER)}'; {script}")
    failure = _failure(program.config())
    assert isinstance(failure, Unreachable)
    assert (failure.code, failure.msg) == (
        TRY_AGAIN_LATER,
        f"getting credentials: exec: executable {program.path} {expected}",
    )


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_time_out(program: Plugin) -> None:
    """A plugin that hangs is ended with its children, in time to say so."""
    program.script("sleep 60 & echo $$ $! > $D/pids; wait")
    with deadline.within(1.5):
        failure = _failure(program.config())
        assert deadline.left() > 0
    assert isinstance(failure, Unreachable)
    assert f"executable {program.path} did not answer in 1." in failure.msg
    pids = [int(pid) for pid in program.read("pids").split()]
    for _ in range(100):
        if not any(map(_runs, pids)):
            break
        time.sleep(0.02)
    assert [pid for pid in pids if _runs(pid)] == []


_WRONG = [
    ("", "decoding stdout: not an ExecCredential"),
    ("secret", "decoding stdout: not an ExecCredential"),
    ("{secret", "decoding stdout: yaml: line 1"),
    ([_ANSWER], "decoding stdout: not an ExecCredential"),
    ({**_ANSWER, "kind": "Pod"}, "decoding stdout: not an ExecCredential"),
    (
        {**_ANSWER, "apiVersion": "client.authentication.k8s.io/v1beta1"},
        "exec plugin is configured to use API version client.authentication.k8s.io/v1, "
        "plugin returned version client.authentication.k8s.io/v1beta1",
    ),
    ({"kind": "ExecCredential", "status": {"token": "secret"}}, "plugin returned version None"),
    ({**_ANSWER, "status": None}, "exec plugin didn't return a token or cert/key pair"),
    ({**_ANSWER, "status": "secret"}, "exec plugin didn't return a token or cert/key pair"),
    ({**_ANSWER, "status": {}}, "exec plugin didn't return a token or cert/key pair"),
    ({**_ANSWER, "status": {"token": ["secret"]}}, "decoding stdout: token is not a string"),
    ({**_ANSWER, "status": {"token": "\ud800"}}, "decoding stdout: token is not a string"),
    (
        {**_ANSWER, "status": {"token": "secret", "clientCertificateData": "secret"}},
        "exec plugin returned only certificate or key, not both",
    ),
    ({**_ANSWER, "status": {"clientKeyData": "secret"}}, "exec plugin returned only certificate or key, not both"),
    (
        {**_ANSWER, "status": {"clientCertificateData": "secret", "clientKeyData": "secret"}},
        "failed parsing client key/certificate",
    ),
]


@pytest.mark.parametrize(("answer", "expected"), _WRONG, ids=range(len(_WRONG)))
def test_wrong_answer(answer: object, expected: str, program: Plugin) -> None:
    """An answer that is none is said to be so in client-go's words, and never shown."""
    program.prints(answer)
    failure = _failure(program.config())
    assert not isinstance(failure, Unreachable)
    assert (failure.code, failure.msg.startswith("getting credentials: ")) == (PLUGIN_FAILURE, True)
    assert expected in failure.msg
    assert "secret" not in failure.msg + failure.details


def test_run_once_per_process(program: Plugin) -> None:
    """The answer is used until a 401 or until it expires, as in client-go."""
    config = program.config()
    assert [_ask(config), _ask(program.config())] == ["t", "t"]
    assert program.read("ran") == "\n"
    program.prints({**_ANSWER, "status": {"token": "new", "expirationTimestamp": "2020-01-01T00:00:00Z"}})
    assert exec_plugin.credential(config, {}, refresh=True)[0] == "new"
    assert _ask(config) == "new"
    assert program.read("ran") == "\n\n\n"


def test_token_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What a program says on stderr is passed on, without the credential that it hands out."""
    plugin = Plugin(tmp_path)
    plugin.prints({**_ANSWER, "status": {"token": "sekrit-token-of-a-kubelet"}})
    plugin.script("echo got sekrit-token-of-a-kubelet from the cache >&2; cat $D/answer")
    assert exec_plugin.credential(plugin.config(), {})[0] == "sekrit-token-of-a-kubelet"
    assert capfd.readouterr().err == "got [redacted] from the cache\n"
