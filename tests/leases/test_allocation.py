"""ADD by the next plugin: what its end means, and when what it has done is undone."""

from __future__ import annotations

import errno
import json
import os
import posix
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from plugin import deadline, process, stdout
from plugin.errors import PLUGIN_FAILURE, TRY_AGAIN_LATER, CniError
from plugin.leases import allocation, conflict
from plugin.leases.allocation import Attempt
from tests.leases.conftest import CONFIG, DONE_WORDS, ENVIRON, ERROR
from tests.support import timeup
from tests.support.recorder import DUPLICATE, RESULT, Recorder


def add(next_plugin: Recorder) -> tuple[int, bytes]:
    """An ADD by that plugin."""
    return allocation.add(Attempt(next_plugin.path, ENVIRON, CONFIG))


def test_answer_goes_back_unchanged(next_plugin: Recorder) -> None:
    """Every byte of a result is the next plugin's, and it is called once, with what we were given."""
    assert add(next_plugin) == (0, RESULT.encode())
    (call,) = next_plugin.calls()
    assert (call.argv[-1], call.stdin) == (next_plugin.path, CONFIG)
    assert {name: call.environ.get(name) for name in ENVIRON} == ENVIRON


@pytest.mark.parametrize("error", [ERROR, DUPLICATE, '{"code": 0, "msg": ""}', f"\n {ERROR} \n"])
@pytest.mark.parametrize("status", [1, 2, 255])
def test_error_goes_back_unchanged(next_plugin: Recorder, error: str, status: int) -> None:
    """An error of its own goes back with its status; host-local has rolled back by itself, nothing is undone."""
    next_plugin.answers("ADD", error, f"exit {status}")
    assert add(next_plugin) == (status, error.encode())
    assert next_plugin.commands() == ["ADD"]


# (what the next plugin prints, and how it ends), after which nobody knows what it has reserved
UNKNOWN = [
    ('{"cniVersion": "1.0.0", "ips": [], "x": 1e999}', "exit 0"),
    ("", "exit 0"),
    ("", "exit 1"),
    ("panic: oops", "exit 2"),
    ("panic: oops", "exit 0"),
    (RESULT, "exit 1"),
    (RESULT, "kill -9 $$"),
    (RESULT[:50], "exit 0"),
    (RESULT[:50], "exit 1"),
    (RESULT[:-3], "exit 0"),
    (RESULT + RESULT, "exit 0"),
    (RESULT + "x", "exit 0"),
    (RESULT + ERROR, "exit 0"),
    (ERROR, "exit 0"),
    ("[]", "exit 0"),
    ("null", "exit 0"),
    ("1", "exit 1"),
    ('"text"', "exit 1"),
    ("{}", "exit 1"),
    ("\udcff", "exit 0"),
    ("[" * 100_000, "exit 0"),
    ("", "kill -9 $$"),
    ("", "kill -11 $$"),
    ("", "kill -15 $$"),
]


@pytest.mark.parametrize(("printed", "then"), UNKNOWN)
def test_unknown_outcome_is_undone(next_plugin: Recorder, printed: str, then: str) -> None:
    """After anything but one result or one error there is a DEL of the same attachment, and an error of ours.

    If the plugin was killed, the code says that the same may go well the next time.
    """
    next_plugin.answers("ADD", printed, then)
    with pytest.raises(CniError) as caught:
        add(next_plugin)

    assert caught.value.code == (TRY_AGAIN_LATER if "kill" in then else PLUGIN_FAILURE)
    assert next_plugin.path in caught.value.msg and caught.value.details
    first, second = next_plugin.calls()
    assert (first.command, second.command) == ("ADD", "DEL")
    assert second.stdin == first.stdin == CONFIG
    names = ("CNI_CONTAINERID", "CNI_IFNAME", "CNI_ARGS")
    assert [second.environ[name] for name in names] == [first.environ[name] for name in names]


@pytest.mark.parametrize(("name", "commands"), [("host-local", ["ADD"]), ("whereabouts", ["ADD", "DEL"])])
def test_unknown_outcome_where_there_was_a_lease(tmp_path: Path, name: str, commands: list[str]) -> None:
    """What host-local had given before is kept; what its store says means nothing where another plugin is asked."""
    (tmp_path / "net").mkdir()
    lease = tmp_path / "net" / "10.9.0.2"
    lease.write_bytes(b"c1\r\neth0")
    os.utime(lease, (0, 0))
    config = json.dumps({"name": "net", "ipam": {"dataDir": str(tmp_path)}}).encode()
    next_plugin = Recorder(tmp_path, name)
    next_plugin.answers("ADD", "", "exit 1")
    with pytest.raises(CniError):
        allocation.add(Attempt(next_plugin.path, ENVIRON, config))
    assert next_plugin.commands() == commands


def test_store_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a shortage hides which lease was there before, nothing is undone: a DEL could free that of a living pod."""
    (tmp_path / "net").mkdir()
    config = json.dumps({"name": "net", "ipam": {"dataDir": str(tmp_path)}}).encode()
    next_plugin = Recorder(tmp_path)
    next_plugin.answers("ADD", "", "exit 1")
    listed = os.listdir

    def refuse(path: str) -> list[str]:
        if path == str(tmp_path / "net"):
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE), path)
        return listed(path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(CniError, match="printed nothing"):
        allocation.add(Attempt(next_plugin.path, ENVIRON, config))
    monkeypatch.undo()
    assert next_plugin.commands() == ["ADD"]


def test_result_and_then_an_error(next_plugin: Recorder) -> None:
    """host-local in the host's own network namespace keeps the lease and prints both: undone, its error goes back."""
    next_plugin.answers("ADD", RESULT + '{"code": 8, "msg": "plugin\'s netns and netns from CNI_NETNS"}\n', "exit 1")
    status, answer = add(next_plugin)
    assert (status, json.loads(answer)["code"], next_plugin.commands()) == (1, 8, ["ADD", "DEL"])


def test_killed_after_its_error(next_plugin: Recorder) -> None:
    """An error that is whole says what happened, however the plugin ended: a DEL would free a live lease."""
    next_plugin.answers("ADD", DUPLICATE, "kill -9 $$")
    assert add(next_plugin) == (1, DUPLICATE.encode())
    assert next_plugin.commands() == ["ADD"]


@pytest.mark.parametrize(
    ("printed", "then"),
    [(DUPLICATE[:-1], "exit 1"), (f"warning: x\n{DUPLICATE}", "exit 1"), (DUPLICATE + DUPLICATE, "exit 1")],
)
def test_never_undone_after_duplicate_allocation(next_plugin: Recorder, printed: str, then: str) -> None:
    """Whatever else was printed: after these words the container has a lease, and a DEL would free it."""
    next_plugin.answers("ADD", printed, then)
    try:
        add(next_plugin)
    except CniError:
        pass
    assert next_plugin.commands() == ["ADD"]


def test_deadline_is_undone_and_worth_a_retry(next_plugin: Recorder) -> None:
    """A plugin that hangs is killed, what it may have done is undone, and the error says try again."""
    hangs = next_plugin.directory / "hangs"
    next_plugin.does("ADD", f"touch '{hangs}'; exec sleep 60")
    deadline.start(60)
    timeup.when(hangs)
    with pytest.raises(CniError, match="no answer in time") as caught:
        add(next_plugin)
    assert (caught.value.code, next_plugin.commands()) == (TRY_AGAIN_LATER, ["ADD", "DEL"])
    assert deadline.left() == float("inf")


def test_undo_that_hangs(next_plugin: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The undoing has a deadline of its own."""
    monkeypatch.setattr(deadline, "UNDO", 0.2)
    next_plugin.does("ADD", "kill -9 $$")
    next_plugin.does("DEL", "exec sleep 60")
    with pytest.raises(CniError, match="signal 9"):
        add(next_plugin)
    assert next_plugin.commands() == ["ADD", "DEL"]


def test_undo_has_the_rest_of_the_time(next_plugin: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Undoing is done within deadline.UNDO, though no other deadline is left."""
    left = []
    run = process.run

    def noted(path: str, argv: list[str], env: Mapping[str, str], stdin: bytes) -> tuple[int, bytes]:
        left.append(deadline.left())
        return run(path, argv, env, stdin)

    monkeypatch.setattr(process, "run", noted)
    next_plugin.does("ADD", "kill -9 $$")
    with pytest.raises(CniError, match="signal 9"):
        add(next_plugin)
    assert left[0] == float("inf")
    assert 0 < left[1] <= deadline.UNDO


@pytest.mark.parametrize(("before", "undone"), [(-3600.0, False), (3600.0, False), (None, True)])
def test_undo_spares_what_was_there_before(
    next_plugin: Recorder, tmp_path: Path, before: float | None, undone: bool
) -> None:
    """A lease of before this process began, or of the future that a clock once had, is not this ADD's."""
    store = tmp_path / "data" / "net"
    store.mkdir(parents=True)
    lease = store / "10.9.0.2"
    when = f"-d @{int(time.time() + before)} " if before else ""
    next_plugin.does("ADD", f"printf 'c1\\r\\neth0' >{lease}; touch {when}{lease}; kill -9 $$")
    config = json.dumps({"cniVersion": "1.0.0", "name": "net", "ipam": {"dataDir": str(tmp_path / "data")}}).encode()
    with pytest.raises(CniError, match="signal 9"):
        allocation.add(Attempt(next_plugin.path, {**ENVIRON, "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0"}, config))
    assert next_plugin.commands() == (["ADD", "DEL"] if undone else ["ADD"])


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE])
def test_machine_that_is_exhausted(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """What another moment may mend is code 11."""

    def refuse(*_: object) -> tuple[int, bytes]:
        raise OSError(number, "")

    monkeypatch.setattr(process, "run", refuse)
    with pytest.raises(CniError) as caught:
        allocation.add(Attempt("host-local", ENVIRON, CONFIG))
    assert caught.value.code == TRY_AGAIN_LATER


def test_conflict_that_cannot_be_examined(next_plugin: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong between host-local's success and its delivery is undone."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    monkeypatch.setattr(conflict, "refuse", refuse)
    with pytest.raises(OSError, match=os.strerror(errno.ENFILE)):
        add(next_plugin)
    assert next_plugin.commands() == ["ADD", "DEL"]


def test_undo_that_fails(next_plugin: Recorder) -> None:
    """An undoing that fails hides nothing of what went wrong first."""
    next_plugin.does("ADD", f"rm {next_plugin.path}; kill -9 $$")
    with pytest.raises(CniError, match="signal 9"):
        add(next_plugin)


@pytest.mark.parametrize("kind", ["missing", "not executable"])
def test_add_that_cannot_be_run(tmp_path: Path, kind: str) -> None:
    """A file that is no program is an error that says so; there is nothing to undo."""
    (tmp_path / "not executable").touch()
    with pytest.raises(CniError) as caught:
        allocation.add(Attempt(str(tmp_path / kind), ENVIRON, CONFIG))
    assert caught.value.code == PLUGIN_FAILURE
    assert "cannot be run" in caught.value.msg
    assert not any(word in caught.value.msg for word in DONE_WORDS)


@pytest.mark.parametrize(
    ("interruption", "raised"), [(deadline.DeadlineExceeded, CniError), (KeyboardInterrupt, KeyboardInterrupt)]
)
def test_interrupted_in_the_moment_the_plugin_ends(
    next_plugin: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    interruption: type[BaseException],
    raised: type[BaseException],
) -> None:
    """Interrupted between the plugin's end and its answer, what it did is undone all the same."""
    wait = posix.waitpid

    def waitpid(pid: int, options: int) -> tuple[int, int]:
        wait(pid, options)
        monkeypatch.setattr(posix, "waitpid", wait)
        raise interruption

    monkeypatch.setattr(posix, "waitpid", waitpid)
    with pytest.raises(raised):
        add(next_plugin)
    assert next_plugin.commands() == ["ADD", "DEL"]


@pytest.mark.parametrize("interruption", [deadline.DeadlineExceeded, KeyboardInterrupt])
def test_interrupted_in_the_moment_of_delivery(
    next_plugin: Recorder, monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
) -> None:
    """Once the caller has the result, the ADD has succeeded: the lease stays, and there is no error."""

    def deliver(_answer: bytes) -> bool:
        monkeypatch.setattr(stdout, "is_delivered", lambda: True)
        raise interruption

    monkeypatch.setattr(stdout, "deliver", deliver)
    assert add(next_plugin) == (0, RESULT.encode())
    assert next_plugin.commands() == ["ADD"]
