"""An operator's call: which command is run, and that its end is always an exit status and plain words."""

from __future__ import annotations

import argparse
import os
import pty
import re
import select
import subprocess
import sys
import types

import pytest

from plugin import __version__, cni
from plugin.errors import INVALID_CONFIG, CniError
from plugin.ops import main

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SECRET = "c2VjcmV0"


class Command(types.ModuleType):
    """A command whose run() does what a test wants, in place of a real one."""

    EXAMPLE = "node-ipam.pyz doctor --deep"

    def __init__(self) -> None:
        super().__init__("plugin.ops.doctor.doctor", "Look closely.\n\nVery closely.")
        self.end: BaseException | int = 0
        self.seen: argparse.Namespace | None = None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """One option."""
        parser.add_argument("--deep", action="store_true")

    def run(self, arguments: argparse.Namespace) -> int:
        """End as told."""
        self.seen = arguments
        if isinstance(self.end, BaseException):
            raise self.end
        return self.end


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """What runs as doctor."""
    made = Command()
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


def start(
    *arguments: str, stdin: int | None = None, stdout: int = subprocess.PIPE, close: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run it as a process of its own."""
    code = "import sys; from plugin.__main__ import main; main(['/opt/cni/bin/node-ipam.pyz', *sys.argv[1:]])"
    argv = [sys.executable, "-c", code, *arguments]
    if close:
        argv = ["/bin/sh", "-c", f'exec "$@" {close}', "sh", *argv]
    left_out = ("CNI_COMMAND", "PYTHONUNBUFFERED")  # unbuffered, nothing would be left to be written at the end
    environ = {name: value for name, value in os.environ.items() if name not in left_out}
    piped = subprocess.PIPE
    return subprocess.run(argv, cwd=ROOT, env=environ, stdin=stdin, stdout=stdout, stderr=piped, text=True, check=False)


@pytest.mark.parametrize("word", ["version", "--version", "-version", "-V"])
@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("/opt/cni/bin/kube-node", "kube-node"),
        ("node-annotation", "node-annotation"),
        ("./node-ipam.pyz", "node-ipam"),
        ("renamed", "node-ipam"),
    ],
)
def test_version(capsys: pytest.CaptureFixture[str], program: str, name: str, word: str) -> None:
    """The version goes to stdout, under the name it was called by."""
    assert main.run([program, word]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{name} {__version__} (CNI 0.1.0 to {cni.NEWEST}, Python ")
    assert out.count("\n") == 1
    assert err == ""


@pytest.mark.parametrize(("program", "name"), [("/x/kube-node", "kube-node"), ("/x/node-ipam.pyz", "node-ipam")])
def test_without_a_command(capsys: pytest.CaptureFixture[str], program: str, name: str) -> None:
    """Called with nothing at all, it says on stderr what it is, and that is no failure."""
    assert main.run([program]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{name} {__version__}: CNI IPAM plugin")
    assert f"CNI protocol versions supported: {', '.join(cni.VERSIONS)}\n" in err


@pytest.mark.parametrize("word", ["help", "--help", "-h", "-help"])
def test_overview(capsys: pytest.CaptureFixture[str], word: str) -> None:
    """help lists every command with what it does, a line each."""
    assert main.run(["node-ipam.pyz", word]) == 0
    out, err = capsys.readouterr()
    assert re.findall(r"^  ([a-z]+(?: [a-z]+)?) +[A-Z].*\.$", out, re.MULTILINE) == [*main.COMMANDS, "version"]
    assert max(map(len, out.splitlines())) <= 120
    assert err == ""


@pytest.mark.parametrize("name", main.COMMANDS)
@pytest.mark.parametrize("form", [["{}", "--help"], ["help", "{}"]])
def test_help_of_each_command(capsys: pytest.CaptureFixture[str], name: str, form: list[str]) -> None:
    """Each command's help tells its options and shows an example."""
    assert main.run(["/opt/cni/bin/node-ipam.pyz", *" ".join(form).format(name).split()]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: node-ipam.pyz {name} ")
    assert re.search(rf"^example:\n(  .*\n)*?  .*\b{name}\b", out, re.MULTILINE)


@pytest.mark.parametrize("word", ["instal", "ADD", "-x", "", "\x1b[31m"])
def test_unknown_command(capsys: pytest.CaptureFixture[str], word: str) -> None:
    """What it does not know is a mistake in usage; the answer names what it knows."""
    assert main.run(["kube-node", word]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: unknown command: {word}\n".replace("\x1b", "\\x1b"))
    assert "\ncommands: install, " in err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["instal"], "install"),
        (["Doctor"], "doctor"),
        (["lease"], "leases"),
        (["unistall"], "uninstall"),
        (["verson"], "version"),
        (["help", "explian"], "explain"),
    ],
)
def test_misspelt_command(capsys: pytest.CaptureFixture[str], words: list[str], meant: str) -> None:
    """A word that resembles a command gets that command suggested."""
    assert main.run(["node-ipam.pyz", *words]) == 2
    expected = f"error: unknown command: {words[-1]}\ndid you mean node-ipam.pyz {meant}?\ncommands: "
    assert capsys.readouterr().err.startswith(expected)


def test_a_word_without_resemblance(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is suggested for it."""
    assert main.run(["node-ipam.pyz", "xyzzy"]) == 2
    assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["doctor", "-"], ["explain", "-"]])
def test_standard_input_at_a_terminal(arguments: list[str]) -> None:
    """A command that waits for input at a terminal says what it waits for."""
    control, terminal = pty.openpty()
    try:
        os.write(control, b"\x04")  # Ctrl-D, the end of the input
        done = start(*arguments, stdin=terminal)
    finally:
        os.close(control)
        os.close(terminal)

    assert done.stderr.startswith("reading a CNI configuration from standard input; end it with Ctrl-D\n")
    assert "standard input is not JSON" in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["explain", "doctor"])
def test_standard_input_that_stays_silent(command: str) -> None:
    """If nothing arrives from a pipe, the user is told what is awaited."""
    code = "import sys; from plugin.__main__ import main; main(['/opt/cni/bin/node-ipam.pyz', *sys.argv[1:]])"
    argv = [sys.executable, "-c", code, command, "-"]
    piped = subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, stdin=piped, stdout=piped, stderr=piped, text=True) as process:
        assert process.stdin and process.stderr
        try:
            told = select.select([process.stderr], [], [], 30)[0]
            assert told and process.stderr.readline() == "waiting for a CNI configuration on standard input\n"
        finally:
            process.stdin.close()  # which ends it
        process.stdin = None
        assert "standard input is not JSON" in "".join(process.communicate())


def test_command(command: Command) -> None:
    """A command gets its options, and its exit status is the program's."""
    command.end = 1

    assert main.run(["node-ipam.pyz", "doctor", "--deep"]) == 1
    assert command.seen == argparse.Namespace(deep=True)


@pytest.mark.parametrize("arguments", [["--deeper"], ["--de"], ["more"]])
def test_wrong_option(command: Command, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Options are taken as they are written in full, others are refused with the usage."""
    assert main.run(["node-ipam.pyz", "doctor", *arguments]) == 2
    assert capsys.readouterr().err.startswith("usage: node-ipam.pyz doctor ")
    assert command.seen is None


@pytest.mark.parametrize(
    ("end", "status", "told"),
    [
        (CniError(INVALID_CONFIG, "broken", "mend it"), 1, "error: broken\nmend it\n"),
        (OSError(28, "No space left on device", "/var/x"), 1, "error: /var/x: No space left on device\n"),
        (OSError(28, "No space left on device"), 1, "error: No space left on device\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(32, "Broken pipe"), 0, ""),
    ],
)
def test_ends(command: Command, capsys: pytest.CaptureFixture[str], end: BaseException, status: int, told: str) -> None:
    """However a command ends, there is an exit status, and a sentence where one helps."""
    command.end = end

    assert main.run(["node-ipam.pyz", "doctor"]) == status
    assert capsys.readouterr() == ("", told)


def test_unforeseen_error(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake of our own is told by its kind and place, not by its text, which might hold a secret."""
    command.end = ValueError(f"token {SECRET}")

    assert main.run(["node-ipam.pyz", "doctor"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"error: unforeseen ValueError at test_main\.py:\d+\nplease report this\n", err)


@pytest.mark.parametrize("arguments", [[], ["my_node"], ["help"], ["--help"], ["nonsense"]])
def test_node_annotation_keeps_its_own_commands(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """What node-annotation is called with goes to its commands of old."""
    manual = types.ModuleType("plugin.ops.manual")
    seen = []
    manual.run = lambda argv: seen.append(argv) or 3  # type: ignore[attr-defined, func-returns-value]
    monkeypatch.setitem(sys.modules, manual.__name__, manual)

    assert main.run(["/x/node-annotation", *arguments]) == 3
    assert seen == [["/x/node-annotation", *arguments]]


def test_node_annotation_knows_the_new_commands(command: Command) -> None:
    """The operator's commands are there under each name of the program."""
    assert main.run(["/x/node-annotation", "doctor"]) == 0
    assert command.seen is not None


def test_commands_are_imported_when_they_are_wanted() -> None:
    """Asking for the version loads none of them."""
    code = (
        "import sys; from plugin.ops import main; main.run(['kube-node', 'version']);"
        "print(*sorted(name for name in sys.modules if name.startswith('plugin.ops.')))"
    )

    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert out.splitlines()[1:] == ["plugin.ops.main plugin.ops.output"]


def test_full_disk() -> None:
    """Output that cannot be written is a failure in one line."""
    with open("/dev/full", "w") as full:
        done = start("version", stdout=full.fileno())

    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_reader_that_went_away() -> None:
    """A pipe that nobody reads any more is no failure."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = start("version", stdout=writer)
    finally:
        os.close(writer)

    assert (done.returncode, done.stderr) == (0, "")


def test_closed_output() -> None:
    """Without a stdout there is nothing to say and nothing to complain about."""
    done = start("version", close=">&-")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["explain"], ["doctor", "-"]])
def test_closed_input(arguments: list[str]) -> None:
    """Without a stdin there is nothing on it."""
    done = start(*arguments, close="<&-")

    assert done.returncode == 1
    assert "standard input is not JSON" in done.stdout + done.stderr
