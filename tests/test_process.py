"""Programs run to their end, or to the deadline; and what becomes of our own descriptors."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import posix
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from plugin import deadline, process
from tests.support import timeup
from tests.support.recorder import ROOT

F_SETPIPE_SZ = 1031  # fcntl(2)
SH = "/bin/sh"
LS = shutil.which("ls") or ""
FAR = 60.0  # seconds


def shell(script: str, stdin: bytes = b"", group: bool = False, **environ: str) -> tuple[int, bytes]:
    """Run a line of shell."""
    return process.run(SH, ["sh", "-c", script], {"PATH": os.defpath, **environ}, stdin, group)


def descriptors() -> list[str]:
    """The descriptors open in this process."""
    return sorted(os.listdir("/proc/self/fd"))


def is_inheritable(number: int) -> bool:
    """Whether a child gets this descriptor."""
    try:
        return os.get_inheritable(number)
    except OSError:
        return False


def executable(path: Path, text: str) -> str:
    """An executable file."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_dead(pid: int) -> bool:
    """Whether a killed process is gone, soon."""
    for _ in range(200):
        if not is_alive(pid):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 1 << 20, 3 << 20])
def test_stdin_and_stdout(size: int) -> None:
    """All bytes go in and come out, more than a pipe holds as well."""
    data = hashlib.sha256(b"%d" % size).digest() * (size // 32 + 1)
    assert shell("cat", data[:size]) == (0, data[:size])


def test_stdin_that_is_not_read() -> None:
    """A program that reads nothing is no trouble."""
    assert shell("echo hello", b"x" * 100_000) == (0, b"hello\n")


def test_small_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past a user's limit pipe(7) gives pipes of one page: a request that is larger does not wait for its reader."""
    pipe = posix.pipe

    def small() -> tuple[int, int]:
        made = pipe()
        fcntl.fcntl(made[1], F_SETPIPE_SZ, 4096)
        return made

    monkeypatch.setattr(posix, "pipe", small)
    for size in (4096, 4097, 30_000):
        with deadline.within(10):
            assert shell("cat", b"x" * size) == (0, b"x" * size)


def test_endless_stdout() -> None:
    """A program that never stops printing is killed before it fills the memory."""
    status, answer = shell("exec yes")
    assert status == -signal.SIGKILL
    assert 8 << 20 < len(answer) < 9 << 20


@pytest.mark.parametrize("status", [0, 1, 3, 126, 255])
def test_exit_status(status: int) -> None:
    """The exit status comes back with what was printed."""
    assert shell(f"printf x; exit {status}") == (status, b"x")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_signal(number: signal.Signals) -> None:
    """A status below 0 is the signal that ended the program."""
    assert shell(f"printf x; kill -{int(number)} $$") == (-number, b"x")


def test_argv_and_environment_are_as_given() -> None:
    """Nothing is added to either, and bytes that are no UTF-8 go through."""
    argv = ["name", "-c", "tr '\\0' '|' </proc/$$/environ; echo; echo \"$0\" \"$@\"", "a b", "", "\udcff"]
    status, answer = process.run(SH, argv, {"ONE": "1", "ODD": "\udcfe "}, b"")
    assert (status, answer) == (0, b"ONE=1|ODD=\xfe |\na b  \xff\n")


def test_stderr_is_ours(capfd: pytest.CaptureFixture[str]) -> None:
    """What the program says on stderr is on ours."""
    shell("echo complaint >&2")
    assert capfd.readouterr().err == "complaint\n"


def own_descriptors(listing: str) -> dict[int, str]:
    """Descriptor to target in the output of ls -l /proc/self/fd, without the one by which ls reads that."""
    pairs = [line.split(" -> ") for line in listing.splitlines() if " -> " in line]
    return {int(key.split()[-1]): target for key, target in pairs if not re.fullmatch(r"/proc/\d+/fd", target)}


def test_child_inherits_three_descriptors(tmp_path: Path) -> None:
    """A plugin starts as if the runtime had started it: no descriptor of ours, only what was left to us open."""
    left = {number for number in map(int, descriptors()) if number > 2 and is_inheritable(number)}
    with open(tmp_path / "ours", "w"):
        _, answer = process.run(LS, ["ls", "-l", "/proc/self/fd"], {}, b"")
    assert set(own_descriptors(answer.decode())) == {0, 1, 2} | left


def test_child_ignores_no_signal_that_python_ignores() -> None:
    """A plugin that writes into a closed pipe ends, as it would without us."""
    _, answer = shell("exec grep SigIgn /proc/self/status")
    assert int(answer.split()[1], 16) & 1 << (signal.SIGPIPE - 1) == 0


@pytest.mark.parametrize(
    ("kind", "number"), [("missing", errno.ENOENT), ("not executable", errno.EACCES), ("a directory", errno.EACCES)]
)
def test_cannot_be_started(tmp_path: Path, kind: str, number: int) -> None:
    """The kernel's error comes back as it is, and no descriptor stays open."""
    (tmp_path / "not executable").write_text("#!/bin/sh\n")
    (tmp_path / "a directory").mkdir()
    before = descriptors()
    with pytest.raises(OSError) as caught:
        process.run(str(tmp_path / kind), ["x"], {}, b"")
    assert (caught.value.errno, descriptors()) == (number, before)


def test_file_that_stays_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is no program is tried again a few times, then the error comes back."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    with pytest.raises(OSError) as caught:
        process.run(executable(tmp_path / "empty", ""), ["x"], {}, b"")
    assert (caught.value.errno, tuple(waits)) == (errno.ENOEXEC, process._REPLACED_WAIT)


@pytest.mark.parametrize("kind", ["empty", "open for writing"])
def test_file_that_is_just_being_replaced(tmp_path: Path, kind: str) -> None:
    """A program that an installer is writing in place runs as soon as it is whole."""
    path = tmp_path / "program"
    path.write_text("" if kind == "empty" else "#!/bin/sh\necho whole\n")
    path.chmod(0o755)

    def finish() -> None:
        time.sleep(0.05)
        file.write("#!/bin/sh\necho whole\n")
        file.close()

    with open(path, "w" if kind == "empty" else "r+") as file:
        writer = threading.Thread(target=finish)
        writer.start()
        found = process.run(str(path), [str(path)], {}, b"")
        writer.join()
    assert found == (0, b"whole\n")


def write_pid(variable: str, folder: Path) -> str:
    """A command that writes a variable of the shell into the file pid, which is never there without it."""
    return f"echo {variable} >'{folder}/new'; mv '{folder}/new' '{folder}/pid'"


def test_deadline_ends_the_program(tmp_path: Path) -> None:
    """A program that hangs is killed and waited for; no descriptor stays open."""
    before = descriptors()
    deadline.start(FAR)
    timeup.when(tmp_path / "pid")
    with pytest.raises(deadline.DeadlineExceeded):
        shell(f"{write_pid('$$', tmp_path)}; exec sleep 60")
    deadline.stop()
    assert not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text().strip()}")
    assert descriptors() == before


def test_deadline_ends_the_whole_group(tmp_path: Path) -> None:
    """With group, what the program has started ends with it."""
    deadline.start(FAR)
    timeup.when(tmp_path / "pid")
    with pytest.raises(deadline.DeadlineExceeded):
        shell(f"sleep 60 & {write_pid('$!', tmp_path)}; wait", group=True)
    deadline.stop()
    assert wait_until_dead(int((tmp_path / "pid").read_text()))


def test_group_is_one_of_its_own() -> None:
    """Only with group has the program a process group of its own."""
    script = "cut -d' ' -f1,5 /proc/$$/stat"
    groups = [shell(script, group=group)[1].split() for group in (True, False)]
    assert groups[0][0] == groups[0][1]
    assert int(groups[1][1]) == os.getpgrp()


def test_descriptors_are_closed() -> None:
    """A run leaves no descriptor open, with a small stdin or with a large one."""
    before = descriptors()
    shell("cat", b"x")
    shell("cat", b"x" * 100_000)
    assert descriptors() == before


def test_no_descriptor_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a pipe cannot be had, what was opened before is given back."""

    def scarce() -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    before = descriptors()
    monkeypatch.setattr(posix, "pipe", scarce)
    with pytest.raises(OSError, match="Too many open files"):
        shell("true")
    assert descriptors() == before


def python(code: str) -> list[str]:
    """The command for a Python that has process imported."""
    return [
        sys.executable,
        "-c",
        f"import os, sys; sys.path[:0] = [{ROOT!r}]; from plugin import process, stdout; {code}",
    ]


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2), ()])
def test_undo_inherited(tmp_path: Path, closed: tuple[int, ...]) -> None:
    """Each closed standard descriptor becomes /dev/null, those that are open stay, children inherit all three."""
    code = (
        f"process.undo_inherited(); _, listing = process.run({LS!r}, ['ls', '-l', '/proc/self/fd'], {{}}, b''); "
        f"open({str(tmp_path / 'listing')!r}, 'wb').write(listing); "
        f"open({str(tmp_path / 'own')!r}, 'w').write(os.readlink('/proc/self/fd/2')); os._exit(0)"
    )
    closing = " ".join(f"{number}>&-" for number in closed)
    command = [SH, "-c", f'exec "$@" {closing}', "sh", *python(code)]
    done = subprocess.run(command, input=b"", capture_output=True, check=False)
    found = own_descriptors((tmp_path / "listing").read_text())

    assert (done.returncode, sorted(found)) == (0, [0, 1, 2])
    assert found[2].startswith("/memfd:stderr")  # in the child; ours:
    assert ((tmp_path / "own").read_text() == "/dev/null") == (2 in closed)


def test_undo_inherited_signals() -> None:
    """With SIGCHLD ignored by the parent a program's end is waited for, with SIGALRM blocked a deadline ends that."""
    code = (
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]); "
        "from plugin import deadline; process.undo_inherited(); "
        f"assert process.run({SH!r}, ['sh', '-c', 'exit 3'], {{}}, b'') == (3, b''); deadline.start(0.1)\n"
        f"try: process.run({SH!r}, ['sh', '-c', 'exec sleep 60'], {{}}, b'')\n"
        "except deadline.DeadlineExceeded: os._exit(7)"
    )
    assert subprocess.run(python(code), check=False).returncode == 7


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 1 << 20])
def test_read_stdin(size: int) -> None:
    """All of standard input up to the limit, however it comes in."""
    code = "data = process.read_stdin(); os.write(1, b'%d' % len(data))"
    done = subprocess.run(python(code), input=b"x" * size, stdout=subprocess.PIPE, check=True)
    assert int(done.stdout) == size


def test_read_stdin_stops() -> None:
    """Of an endless standard input a little more than the limit is read."""
    code = "data = process.read_stdin(); os.write(1, b'%d' % len(data))"
    with open("/dev/zero", "rb") as zeros:
        done = subprocess.run(python(code), stdin=zeros, stdout=subprocess.PIPE, check=True)
    assert process.STDIN_LIMIT < int(done.stdout) <= process.STDIN_LIMIT + 65536


@pytest.mark.parametrize("status", [0, 1, 3])
@pytest.mark.parametrize("size", [0, 5, 1 << 20])
def test_exit_with(status: int, size: int) -> None:
    """All of the answer is printed, to a reader of its own pace, and the status is as given."""
    code = f"stdout.exit_with({status}, b'x' * {size}); print('not reached')"
    with subprocess.Popen(python(code), stdout=subprocess.PIPE) as child:
        assert child.stdout
        first = child.stdout.read(100)
        time.sleep(0.02)
        printed = first + child.stdout.read()
    assert (child.returncode, printed) == (status, b"x" * size)


@pytest.mark.parametrize(("status", "expected"), [(0, 1), (1, 1), (3, 3)])
def test_exit_without_a_reader(status: int, expected: int) -> None:
    """An answer that cannot be printed is a failure, without a traceback."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            python(f"stdout.exit_with({status}, b'x')"), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (expected, b"")


def test_exit_into_a_closed_pipe() -> None:
    """A reader that went away is a failure as well, not a death by signal."""
    source, sink = os.pipe()
    os.close(source)
    try:
        done = subprocess.run(python("stdout.exit_with(0, b'x')"), stdout=sink, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(sink)
    assert (done.returncode, done.stderr) == (1, b"")
