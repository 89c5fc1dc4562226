"""The log: warnings on stderr, and JSON lines in the file that the configuration names."""

from __future__ import annotations

import json
import os
import re
import time

from plugin import stdout

LEVELS = ("error", "warning", "info", "debug", "trace")
_NAME = re.compile(r".*log(s|file)?(\.json|\.txt|[.-]\d+)*")  # node-ipam.log, node-ipam.log.1; not login.conf
_LINES = (b'{"ts": "', b'{"level"')  # how a line begins: ours, and those of the Go plugin


def level(setting: object) -> str:
    """Return the level that a configuration names, or gives as a number (1: debug, 2: trace); "" if it is unknown."""
    text = str(setting)[:10]
    try:
        return LEVELS[min(2 + abs(int(text)), 4)]
    except ValueError:
        return text if text in LEVELS else ""


class Log:
    """Writes what is at or above its level. No method raises: a log that cannot be written must not stop a pod.

    trusted: root has chosen the file. Any other one must be a log: root would change a file of another program, or make
    one that means something to it.
    """

    def __init__(self, file: str = "", wanted: str = "info", trusted: bool = False, **context: object) -> None:
        self.file = file
        self.trusted = trusted
        self.limit = LEVELS.index(wanted)
        self.context = context

    def error(self, msg: str, **fields: object) -> None:
        """A request failed."""
        self._write("error", msg, fields)

    def warning(self, msg: str, **fields: object) -> None:
        """Something is wrong, but the request continues. Also on stderr, which runtimes copy to their journal."""
        self._write("warning", msg, fields)
        _to_stderr(f"{self.context.get('plugin', 'node-ipam')}: {msg}")

    def info(self, msg: str, **fields: object) -> None:
        """A request was answered, a range has changed."""
        self._write("info", msg, fields)

    def debug(self, msg: str, **fields: object) -> None:
        """How a result was found."""
        self._write("debug", msg, fields)

    def trace(self, msg: str, **fields: object) -> None:
        """Requests, configurations and results in full."""
        self._write("trace", msg, fields)

    def _write(self, name: str, msg: str, fields: dict[str, object]) -> None:
        if not self.file or LEVELS.index(name) > self.limit:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        line = json.dumps({"ts": stamp, "level": name, "msg": msg, **self.context, **fields}, default=_plain)
        try:
            file = _open(self.file, self.trusted)
            try:
                if not self.trusted:
                    _refuse_foreign(file)
                os.write(file, line.encode() + b"\n")
            finally:
                os.close(file)
        except (OSError, ValueError) as error:  # ValueError: a name that cannot be encoded
            why = error.strerror if isinstance(error, OSError) else "no file can have that name"
            _to_stderr(f"log file {self.file} cannot be written: {why}")
            self.limit = -1


def _plain(value: object) -> object:
    """Return what json can write for a value: what an answer says, if it is JSON, else a text. For json's default."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return json.loads(value, parse_constant=str)
    except (ValueError, RecursionError):
        return value.decode("utf-8", "replace").strip()


def _open(path: str, trusted: bool) -> int:
    """Open a log file without following links; make it, unless it has the name of something else. Raises OSError.

    settings.read() has checked a path without links; the owner of a directory in it may have replaced that by a link.
    """
    *directories, name = path.split("/")
    if not (trusted or path.startswith("/var/log/") or _NAME.fullmatch(name)):
        raise PermissionError(1, f"its name is not that of a log: call it {name}.log")
    flags = (os.O_WRONLY if trusted else os.O_RDWR) | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    here = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        for each in filter(None, directories):
            above, here = here, os.open(each, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(above)
        return os.open(name, flags, 0o640, dir_fd=here)
    finally:
        os.close(here)


def _refuse_foreign(file: int) -> None:
    """Raise PermissionError if an open file is neither empty, nor a log, nor a pipe."""
    try:
        begin = os.pread(file, 8, 0)
    except OSError:  # a pipe has no place to read from, and nothing that could be spoilt
        return
    if begin and not begin.startswith(_LINES):
        raise PermissionError(1, "it does not begin with a line of this log: name another file, or move it away")


def _to_stderr(line: str) -> None:
    stdout.write_stderr(line.encode("utf-8", "backslashreplace") + b"\n")
