"""Measures in rounds, all rows in each, in another order every time: what disturbs one disturbs all."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

from tests.bench import options, report, scenarios
from tests.bench.measure import Failed, Series
from tests.bench.scenarios import Row
from tests.bench.stage import OTHER, Stage
from tests.support.dist import ARCHIVE
from tests.support.parts import PartMissing

_RARE = 5  # rows of a hundred processes are measured about so many times
_STATE = "/run"  # for leases and configurations: one in /dev/shm, into which pods write, is refused
_MEMORY = (_STATE, "/dev/shm")  # for caches: on nodes /run is a tmpfs, on other machines perhaps not
_STEP = 10  # seconds between two lines of progress where no terminal shows it


class Progress:
    """How far it is, on stderr."""

    def __init__(self) -> None:
        self.started = self.told = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def show(self, what: str, part: float = 0.0) -> None:
        """Tell what is going on and, once a part of it is done, how long the rest will take."""
        now = time.monotonic()
        if not self.terminal and now - self.told < _STEP:
            return
        self.told = now
        line = what + (f", {(now - self.started) / part * (1 - part):.0f} s left" if part else "")
        print(
            f"\r{line:<50}" if self.terminal else line, end="" if self.terminal else "\n", file=sys.stderr, flush=True
        )

    def clear(self) -> None:
        """Leave nothing of it on a terminal, and begin anew."""
        if self.terminal:
            print(f"\r{'':50}\r", end="", file=sys.stderr, flush=True)
        self.started = time.monotonic()


def measure(stage: Stage, rounds: int, progress: Progress) -> dict[tuple[str, str], Series]:
    """Take the samples of all rows. Raises Failed when one of ours does not work."""
    costs = _working(stage, progress)
    rows = list(costs)
    table = {(row.name, row.variant): Series() for row in rows}
    often = max(rounds // _RARE, 1)
    turns = {row: len(range(0, rounds, often)) if row.rare else rounds * row.times for row in rows}
    total, done = sum(costs[row] * turns[row] for row in rows), 0.0
    progress.clear()
    for number in range(rounds):
        turn = [row for row in rows if not row.rare or number % often == 0 for _ in range(row.times)]
        random.shuffle(turn)
        for row in turn:
            table[row.name, row.variant].samples.append(row.measure())
            done += costs[row]
            progress.show(f"round {number + 1} of {rounds}", done / total)
    progress.clear()
    return table


def _working(stage: Stage, progress: Progress) -> dict[Row, float]:
    """Do each row once, so that it is known: the seconds it takes, without rows that the other plugin cannot do."""
    costs = {}
    for row in scenarios.rows(stage):
        progress.show("getting ready")
        started = time.monotonic()
        try:
            row.measure()
        except Failed as failure:
            if row.variant != OTHER:
                raise
            print(f"left out: {row.name} by the other plugin: {failure}", file=sys.stderr)
        else:
            costs[row] = time.monotonic() - started
    return costs


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="build.py bench", description="Measure what a request costs.")
    options.add(parser)
    return parser.parse_args(argv)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(argv: list[str]) -> int:
    """Measure and tell; 1 when something that must hold does not."""
    arguments = _arguments(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        table, places = _measured(arguments)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 1
    except (Failed, PartMissing, OSError) as error:
        print(f"\nbench failed: {error}", file=sys.stderr)
        return 1
    size = os.path.getsize(ARCHIVE)
    checks = list(report.musts(table, size))
    facts = {"python": _version(arguments.python), "cores": os.cpu_count(), "rounds": arguments.rounds}
    facts |= {"nodes": arguments.nodes, "other": arguments.vs, "archive_bytes": size, "places": places}
    if arguments.output == "json":
        print(json.dumps(report.data(table, checks, facts), indent=2))
    else:
        head = "{python}, {cores} cores, {rounds} rounds; the large cluster has {nodes:,} Nodes".format(**facts)
        head += f"\n{places}"
        head += f"\nother: {arguments.vs}" if arguments.vs else ""
        print(report.text(table, checks, head, "utf" in (sys.stdout.encoding or "").lower()), end="")
    return 0 if all(must.holds for must in checks) else 1


def _measured(arguments: argparse.Namespace) -> tuple[dict[tuple[str, str], Series], str]:
    """Return what was measured, and where caches and leases were."""
    # Programs can be forbidden on /run.
    state = _STATE if os.access(_STATE, os.W_OK) else tempfile.gettempdir()
    memory = next((path for path in _MEMORY if _is_tmpfs(path) and os.access(path, os.W_OK)), state)
    parents = tempfile.gettempdir(), state, memory
    made = [tempfile.TemporaryDirectory(prefix="node-ipam-bench-", dir=parent) for parent in parents]
    with made[0] as folder, made[1] as leases, made[2] as caches:
        stage = Stage(folder, leases, caches, arguments.python, arguments.vs, arguments.nodes)
        try:
            table = measure(stage, arguments.rounds, Progress())
        finally:
            stage.close()
    kinds = ["a tmpfs" if _is_tmpfs(path) else "no tmpfs" for path in (memory, state)]
    return table, f"caches in {memory} ({kinds[0]}), leases in {state} ({kinds[1]})"


def _is_tmpfs(path: str) -> bool:
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        return [path, "tmpfs"] in [line.split()[1:3] for line in mounts]


def _version(python: str) -> str:
    done = subprocess.run([python, "--version"], capture_output=True, text=True, check=True)
    return f"{python} ({done.stdout.strip()})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
