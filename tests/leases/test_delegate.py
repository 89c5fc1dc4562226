"""The next plugin: which one, what its end means, and when what it may have done is undone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugin.errors import PLUGIN_FAILURE, TRY_AGAIN_LATER, CniError
from plugin.leases import delegate
from tests.leases.conftest import CONFIG, DONE_WORDS, ENVIRON, ERROR
from tests.support.recorder import RESULT, Recorder


def test_find_takes_the_first_regular_file(tmp_path: Path) -> None:
    """The first file of the name counts; directories, missing ones and empty path elements are passed over."""
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "host-local").mkdir()
    (tmp_path / "b" / "other").touch()
    (tmp_path / "c" / "host-local").touch()
    (tmp_path / "d" / "host-local").touch()
    places = ["", str(tmp_path / "none"), *(str(tmp_path / name) for name in "abcd")]

    assert delegate.find("host-local", places) == str(tmp_path / "c" / "host-local")


def test_find_does_not_look_where_it_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty element of CNI_PATH is not the directory the runtime happens to run in."""
    (tmp_path / "host-local").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CniError):
        delegate.find("host-local", ["", ""])


def test_find_keeps_the_name_of_a_link(tmp_path: Path) -> None:
    """k3s has one binary for all plugins, which looks at the name it is called by."""
    (tmp_path / "cni").touch()
    (tmp_path / "host-local").symlink_to("cni")

    assert delegate.find("host-local", [str(tmp_path)]) == str(tmp_path / "host-local")


@pytest.mark.parametrize("kind", ["nothing", "dangling link", "directory", "no directory"])
def test_find_nothing(tmp_path: Path, kind: str) -> None:
    """The error names the plugin and the places, and has no word that containerd takes for success."""
    if kind == "dangling link":
        (tmp_path / "host-local").symlink_to("nothing")
    if kind == "directory":
        (tmp_path / "host-local").mkdir()
    places = [] if kind == "no directory" else ["", str(tmp_path)]

    with pytest.raises(CniError) as caught:
        delegate.find("host-local", places)
    error = caught.value
    assert error.code == PLUGIN_FAILURE
    assert "host-local" in error.msg and (not places or str(tmp_path) in error.msg)
    assert not any(word in f"{error.msg} {error.details}" for word in DONE_WORDS)


@pytest.mark.parametrize(
    "name", ["/{}/b/evil", "../b/evil", "a/../../b/evil", "sub/evil", "./evil", "evil/", "..", ".", ""]
)
def test_find_takes_names_only(tmp_path: Path, name: str) -> None:
    """A path leads out of the directories of plugins, which alone root has chosen; libcni refuses it, too."""
    for place in ("a/sub", "b"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "evil").touch()
    (tmp_path / "a" / "evil").touch()

    with pytest.raises(CniError) as caught:
        delegate.find(name.format(str(tmp_path)[1:]), [str(tmp_path / "a"), str(tmp_path / "b")])
    if "/" in name:
        assert "is not the name of a plugin" in caught.value.msg
        assert caught.value.details == "write the name of a file in the runtime's directory of plugins, without a slash"


@pytest.mark.parametrize("command", ["DEL", "CHECK"])
def test_release(next_plugin: Recorder, command: str, capfd: pytest.CaptureFixture[str]) -> None:
    """DEL and CHECK are passed on, and what is printed after success does not matter."""
    next_plugin.answers(command, "noise")
    delegate.run_silent(next_plugin.path, command, ENVIRON, CONFIG)
    (call,) = next_plugin.calls()
    assert (call.command, call.stdin) == (command, CONFIG)
    assert capfd.readouterr().out == ""


def refusal(next_plugin: Recorder, command: str = "DEL") -> delegate.Refused:
    """The refusal of a DEL."""
    with pytest.raises(delegate.Refused) as caught:
        delegate.run_silent(next_plugin.path, command, ENVIRON, CONFIG)
    return caught.value


@pytest.mark.parametrize(
    ("printed", "then", "status", "code"),
    [
        (ERROR, "exit 1", 1, 999),
        (ERROR, "exit 7", 7, 999),
        (RESULT + ERROR, "exit 1", 1, 999),
        (ERROR, "kill -9 $$", 1, 999),
    ],
)
def test_release_that_is_refused(next_plugin: Recorder, printed: str, then: str, status: int, code: int) -> None:
    """The plugin's own error goes back, as one document, with a status that says failure."""
    next_plugin.answers("DEL", printed, then)
    refused = refusal(next_plugin)
    assert (refused.status, json.loads(refused.answer)["code"], refused.error["code"]) == (status, code, code)
    assert next_plugin.commands() == ["DEL"]


@pytest.mark.parametrize(
    ("printed", "then", "code"),
    [
        ("", "exit 1", PLUGIN_FAILURE),
        ("panic", "exit 2", PLUGIN_FAILURE),
        (RESULT, "exit 1", PLUGIN_FAILURE),
        ("[]", "exit 1", PLUGIN_FAILURE),
        ("", "kill -9 $$", TRY_AGAIN_LATER),
    ],
)
def test_release_that_breaks(next_plugin: Recorder, printed: str, then: str, code: int) -> None:
    """A plugin that ends without a word of its own is an error of ours."""
    next_plugin.answers("DEL", printed, then)
    with pytest.raises(CniError) as caught:
        delegate.run_silent(next_plugin.path, "DEL", ENVIRON, CONFIG)
    assert caught.value.code == code


@pytest.mark.parametrize("kind", ["missing", "not executable"])
def test_release_that_cannot_be_run(tmp_path: Path, kind: str) -> None:
    """The error of a DEL has no word that containerd takes for success: the lease would leak."""
    (tmp_path / "not executable").touch()
    with pytest.raises(CniError) as caught:
        delegate.run_silent(str(tmp_path / kind), "DEL", ENVIRON, CONFIG)
    assert not any(word in f"{caught.value.msg} {caught.value.details}" for word in DONE_WORDS)


@pytest.mark.parametrize("words", ["open /x/lock: no such file or directory", "lease not found", "Not Found"])
def test_failed_del_does_not_say_that_it_is_done(next_plugin: Recorder, words: str) -> None:
    """The next plugin's error reaches containerd without the words it takes for success: the lease would leak."""
    next_plugin.answers("DEL", json.dumps({"code": 999, "msg": words}), "exit 1")
    answer = refusal(next_plugin).answer.decode()
    assert not any(word in answer.lower() for word in DONE_WORDS)


@pytest.mark.parametrize(
    ("printed", "then"),
    [
        ("", "exit 0"),
        ('{"code": 4, "msg": "unknown CNI_COMMAND: STATUS"}', "exit 1"),
        ('{"code": 3, "msg": "missing containerID"}', "exit 1"),
        ('{"code": 1, "msg": "config version does not allow STATUS"}', "exit 1"),
    ],
)
def test_ready(next_plugin: Recorder, printed: str, then: str) -> None:
    """A plugin that is ready, or too old to know the question, is no trouble."""
    next_plugin.answers("STATUS", printed, then)
    delegate.run_if_known(next_plugin.path, "STATUS", ENVIRON, CONFIG)
    assert next_plugin.commands() == ["STATUS"]


def test_not_ready(next_plugin: Recorder) -> None:
    """A plugin that says why it is not ready is heard."""
    next_plugin.answers("STATUS", '{"code": 50, "msg": "no pool"}', "exit 1")
    with pytest.raises(delegate.Refused, match="no pool"):
        delegate.run_if_known(next_plugin.path, "STATUS", ENVIRON, CONFIG)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b" \n", []),
        (b"{}", [{}]),
        (b' {"a": 1}\n', [{"a": 1}]),
        (b'{"a": 1} {"b": 2}', [{"a": 1}, {"b": 2}]),
        (b'{"a": 1}{"b": 2}', [{"a": 1}, {"b": 2}]),
        (b'{"a": 1}x', []),
        (b'{"a": 1}[]', []),
        (b'{"a": ', []),
        (b"{'a': 1}", []),
        (b"\xef\xbb\xbf{}", []),
        (b"\xff", []),
        ("{}".encode("utf-16"), []),
        (b"[" * 100_000, []),
        (b'{"a": ' * 100_000, []),
        (b'{"a": 1}\0', []),
    ],
)
def test_documents(text: bytes, expected: list[dict[str, Any]]) -> None:
    """The JSON objects in what a program printed; with anything else among them there are none."""
    assert delegate._documents(text) == expected


@pytest.mark.parametrize("text", [b'{"a": NaN}', b'{"a": -Infinity}'])
def test_documents_are_strict_json(text: bytes) -> None:
    """What a runtime cannot parse is no document."""
    assert delegate._documents(text) == []
