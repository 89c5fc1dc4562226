"""Numbers from whole processes: how long, how much CPU, how much memory, how many questions to the API server."""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, NamedTuple

from tests.bench import meter
from tests.support.runtime import Answer, Call

_PATIENCE = 60  # seconds; a plugin under way gives up after 15


class Failed(Exception):
    """A process that is to be measured did not do what it should."""


class Sample(NamedTuple):
    """One measurement, of all processes in it together; memory is that of the largest."""

    wall: float  # ms
    cpu: float  # ms
    peak: float  # MiB
    gets: int


class Series:
    """The samples of one row."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def median(self, field: str) -> float:
        """The middle one of a field of Sample."""
        return float(statistics.median(getattr(sample, field) for sample in self.samples))

    def least(self, field: str) -> float:
        """The smallest of a field of Sample."""
        return float(min(getattr(sample, field) for sample in self.samples))

    def most(self, field: str) -> float:
        """The largest of a field of Sample."""
        return float(max(getattr(sample, field) for sample in self.samples))


class Helper:
    """A process that answers questions until its stdin is closed."""

    def __init__(self, argv: Sequence[str], environ: dict[str, str] | None = None, cwd: str = "/") -> None:
        # A session of its own: Ctrl-C is for us, the helper then sees its stdin end.
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, env=environ, cwd=cwd, start_new_session=True)
        assert self._process.stdin and self._process.stdout
        self.to: IO[bytes] = self._process.stdin
        self.back: IO[bytes] = self._process.stdout

    def close(self) -> None:
        """End it."""
        for stream in (self.to, self.back):
            with contextlib.suppress(BrokenPipeError):  # it has ended by itself
                stream.close()
        self._process.wait(_PATIENCE)


class Meter(Helper):
    """Runs processes one after another, or several at a time, in a small process (see meter.py)."""

    def __init__(self, python: str) -> None:
        super().__init__([python, "-IS", os.path.abspath(meter.__file__)], {})

    def run(
        self, sequences: Sequence[Sequence[Call]], width: int = 1
    ) -> tuple[float, list[list[tuple[Answer, float, float]]]]:
        """(ms in all, for each sequence (answer, CPU ms, peak MiB) of each process)."""
        plain = [[(list(call.argv), call.environ, call.stdin) for call in sequence] for sequence in sequences]
        self.to.write(marshal.dumps((plain, width), meter.FORMAT))
        self.to.flush()
        seconds, done = marshal.load(self.back)
        found = [
            [
                (Answer(status, out, err.decode(errors="replace"), wall), cpu * 1e3, kib / 1024)
                for status, wall, cpu, kib, out, err in processes
            ]
            for processes in done
        ]
        return seconds * 1e3, found


class Server(Helper):
    """The API servers, and what they have been asked."""

    def __init__(self, folder: str, nodes: int, root: str) -> None:
        super().__init__([sys.executable, "-m", "tests.bench.server", folder, str(nodes)], cwd=root)
        self.small, self.large = json.loads(self.back.readline())  # their kubeconfigs

    def gets(self) -> int:
        """How many requests there were."""
        return self._ask("")

    def annotate(self, name: str, text: str) -> None:
        """Put an annotation on the Node."""
        self._ask(f"{name}={text}")

    def _ask(self, line: str) -> int:
        self.to.write(line.encode() + b"\n")
        self.to.flush()
        return int(self.back.readline())


def checked(call: Call, answer: Answer) -> Answer:
    """The answer, if it is one of success. Raises Failed."""
    if answer.status:
        command = call.environ.get("CNI_COMMAND", "")
        raise Failed(
            f"{' '.join(call.argv)} {command}: status {answer.status}: {answer.stdout!r} {answer.stderr}".strip()
        )
    return answer
