"""This process's environment and stdin, and the programs it runs: by posix_spawn, as subprocess costs 25 ms."""

from __future__ import annotations

import _signal  # the C module under signal, which would import enum (5 ms)
import posix as os  # os itself would add 0.7 ms to each start
import sys
import time

from plugin import stdout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

STARTED = time.time() - 0.01  # epoch seconds; a file's time may be so much behind
STDIN_LIMIT = 1 << 20  # bytes of a request
_ANSWER_LIMIT = 8 << 20  # bytes on stdout, after which a program is killed
_CHUNK = 65536  # bytes of one read
_RELAYED = 16384  # bytes of a program's stderr that are passed on
_SIGPIPE = 13
_SIGKILL = 9
# The file is being replaced in place: "text file busy", or for a moment empty.
_REPLACED = (26, 8)  # ETXTBSY, ENOEXEC
_REPLACED_WAIT = (0.02, 0.1, 0.3, 0.6)  # seconds between tries


def run(
    path: str,
    argv: list[str],
    env: Mapping[str, str],
    stdin: bytes,
    group: bool = False,
    relay: Callable[[int], object] | None = None,
) -> tuple[int, bytes]:
    """Run a program to its end and return (exit status, stdout); a status below 0 is the signal that ended it.

    What it prints on stderr is passed on at its end: a daemon that it leaves behind must not hold a descriptor that
    our caller waits for. relay() gets a file that holds it instead. With group, the program and its children are a
    process group of their own, ended together.
    Whatever interrupts the wait (the deadline) ends the program first. Raises OSError if it cannot be started.
    """
    opened = [_readable(stdin)]
    try:
        opened += os.pipe()
        opened.append(os.memfd_create("stderr"))
        source, out, sink, messages = opened
        pid = _spawn(path, argv, env, (source, sink, messages), group)
        try:
            os.close(sink)
            opened.remove(sink)
            return _wait(pid, out)
        except BaseException:
            _end(pid, group)
            raise
        finally:
            (relay or _relay)(messages)
    finally:
        for file in opened:
            os.close(file)


def to_text(data: bytes) -> str:
    """os.fsdecode."""
    return data.decode(sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())


def to_bytes(text: str) -> bytes:
    """os.fsencode."""
    return text.encode(sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())


def environment() -> dict[str, str]:
    """os.environ."""
    return {to_text(name): to_text(value) for name, value in os.environ.items() if name}


def argument(environ: Mapping[str, str], name: str) -> str:
    """Return the value of one key of CNI_ARGS; empty if it is missing."""
    found = ""
    for pair in environ.get("CNI_ARGS", "").split(";"):
        key, _, value = pair.partition("=")
        if key == name:
            found = value  # the last one counts, as in Go
    return found


def undo_inherited() -> None:
    """Reset what a parent may have changed for its children.

    A closed stdin, stdout or stderr becomes /dev/null before a pipe gets its number. SIGCHLD is not ignored, so that
    the end of a program can be waited for. SIGALRM is not blocked, so that the deadline works.
    """
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGALRM,))
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number: this one. An answer without a reader must not look delivered.
            os.open("/dev/null", os.O_RDONLY if number == 1 else os.O_RDWR)
            os.set_inheritable(number, True)


def read_stdin() -> bytes:
    """Return standard input up to its end, or a little more than STDIN_LIMIT bytes. Raises CniError."""
    data = b""
    try:
        while len(data) <= STDIN_LIMIT and (chunk := os.read(0, _CHUNK)):
            data += chunk
    except OSError as error:
        from plugin.errors import IO_FAILURE, CniError

        raise CniError(IO_FAILURE, f"standard input cannot be read: {error.strerror}") from None
    return data


def _relay(messages: int) -> None:
    size = os.fstat(messages).st_size
    if size:
        stdout.write_stderr(os.pread(messages, min(size, _RELAYED), 0))


def _readable(data: bytes) -> int:
    """Return a descriptor from which a child reads the data. Nothing has to write meanwhile."""
    source = os.memfd_create("stdin")
    while data:
        data = data[os.write(source, data) :]
    os.lseek(source, 0, 0)
    return source


def _spawn(path: str, argv: list[str], env: Mapping[str, str], files: tuple[int, int, int], group: bool) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files)]
    options: dict[str, Any] = {"setpgroup": 0} if group else {}
    waits = iter(_REPLACED_WAIT)
    while True:
        try:
            # Python ignores SIGPIPE and a child would inherit that.
            return os.posix_spawn(path, argv, env, file_actions=actions, setsigdef=[_SIGPIPE], **options)
        except OSError as error:
            wait = next(waits, None) if error.errno in _REPLACED else None
            if wait is None:
                raise
            time.sleep(wait)


def _wait(pid: int, out: int) -> tuple[int, bytes]:
    answer = b""
    while chunk := os.read(out, _CHUNK):
        answer += chunk
        if len(answer) > _ANSWER_LIMIT:
            os.kill(pid, _SIGKILL)
            break
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), answer


def _end(pid: int, group: bool) -> None:
    try:
        (os.killpg if group else os.kill)(pid, _SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # it had ended, and was waited for, when the interruption came
