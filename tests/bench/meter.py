"""Starts processes and measures them; a program of its own that imports next to nothing.

It has to be small: a child started by posix_spawn inherits its parent's peak of memory as its own (exec_mmap in the
kernel's fs/exec.c), so one that imports a lot could see nothing smaller than itself.
"""

from __future__ import annotations

import marshal
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = 2  # of marshal: the same in all Pythons of today


def serve() -> None:
    """Measure jobs from stdin, one after another, until it ends.

    A job is (sequences, width): sequences of (argv, environ, stdin), so many of them at a time. The answer is
    (seconds in all, for each sequence a list of (status, seconds, CPU seconds, peak KiB, stdout, stderr)).
    """
    try:
        while True:
            sequences, width = marshal.load(sys.stdin.buffer)
            sys.stdout.buffer.write(marshal.dumps(measure(sequences, width), FORMAT))
            sys.stdout.buffer.flush()
    except (EOFError, BrokenPipeError):
        os._exit(0)  # nothing is left to be written, and nobody to read it


def measure(sequences: list[Any], width: int) -> tuple[float, list[Any]]:
    """Do one job."""
    done: list[Any] = [[] for _ in sequences]
    running: dict[int, Any] = {}
    next_one = 0
    begun = time.perf_counter()
    while running or next_one < len(sequences):
        while next_one < len(sequences) and len(running) < width:
            _start(sequences, next_one, 0, running)
            next_one += 1
        pid, status, used = os.wait4(-1, 0)
        ended = time.perf_counter()
        number, step, started, files = running.pop(pid)
        if step + 1 < len(sequences[number]):
            _start(sequences, number, step + 1, running)
        cpu = used.ru_utime + used.ru_stime
        code = os.waitstatus_to_exitcode(status)
        done[number].append((code, ended - started, cpu, used.ru_maxrss, _content(files[0]), _content(files[1])))
    return time.perf_counter() - begun, done


def _start(sequences: list[Any], number: int, step: int, running: dict[int, Any]) -> None:
    argv, environ, stdin = sequences[number][step]
    files = [os.memfd_create(name) for name in ("stdout", "stderr")]
    source, sink = os.pipe()
    os.write(sink, stdin)  # less than a pipe holds
    os.close(sink)
    actions = [(os.POSIX_SPAWN_DUP2, file, target) for target, file in enumerate([source, *files])]
    started = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, environ, file_actions=actions, setsigdef=[13])
    running[pid] = (number, step, started, files)
    os.close(source)


def _content(file: int) -> bytes:
    content = os.pread(file, os.fstat(file).st_size, 0)
    os.close(file)
    return content


if __name__ == "__main__":
    serve()
