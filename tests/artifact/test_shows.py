"""What build.py shows to people: the demo and the bench, each as a process of its own with the built archive."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import parts
from tests.support.dist import DIST
from tests.support.recorder import ROOT


def start(tmp_path: Path, *command: str, **environ: str) -> subprocess.Popen[str]:
    """Start a module of tests/, its temporary files in tmp_path."""
    variables = {**os.environ, "TMPDIR": str(tmp_path), **environ}
    command = (sys.executable, "-m", *command)
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=variables, stdout=pipe, stderr=pipe, text=True)


def test_demo(tmp_path: Path) -> None:
    """The demo comes out well, in plain text for who is no terminal, and leaves nothing behind."""
    process = start(tmp_path, "tests.demo")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err, os.listdir(tmp_path)) == (0, "", [])
    commands = {"VERSION": 2, "ADD": 7, "STATUS": 1, "CHECK": 6, "DEL": 7}
    assert {name: sum(line.startswith(f"  {name} ") for line in out.splitlines()) for name in commands} == commands
    assert "\x1b" not in out
    assert [line for line in out.splitlines() if len(line) > 80] == []
    assert {"address", "ranges", "GETs"} <= {line.split()[0] for line in out.splitlines() if line.startswith("  ")}


@pytest.mark.parametrize("argument", ["extra", "--nope"])
def test_demo_takes_no_arguments(tmp_path: Path, argument: str) -> None:
    """An argument is a usage error; nothing is started."""
    process = start(tmp_path, "tests.demo", argument)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, "usage: build.py demo" in err) == (2, "", True)


@pytest.mark.parametrize("python", parts.pythons().values(), ids=parts.pythons())
def test_demo_needs_no_packages(tmp_path: Path, python: str) -> None:
    """Any Python that can build runs the demo, without the packages that the tests need."""
    code = "import runpy, sys; sys.path[:0] = [sys.argv.pop(1)]; runpy.run_module('tests.demo', run_name='__main__')"
    command = [python, "-IS", "-c", code, ROOT]
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    """Stopped in the middle, the demo cleans up and fails."""
    process = start(tmp_path, "tests.demo")
    assert process.stdout
    for line in process.stdout:
        if line.startswith("  ADD "):
            break
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip(), os.listdir(tmp_path)) == (1, "interrupted; all files are removed", [])


def test_demo_failure(tmp_path: Path) -> None:
    """A plugin that does not do its job is shown as such."""
    broken = tmp_path / "dist"
    broken.mkdir()
    for name in ("kube-node", "node-annotation"):
        (broken / name).write_text('#!/bin/sh\necho \'{"code": 7, "msg": "no good"}\'\nexit 1\n')
        (broken / name).chmod(0o755)
    process = start(tmp_path, "tests.demo", NODE_IPAM_DIST=str(broken))
    # Run by a Python instead, as nothing fits in the first line, it is no better.
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "demo failed: VERSION failed" in err, os.listdir(tmp_path)) == (1, True, ["dist"])


def test_bench(tmp_path: Path) -> None:
    """One round measures every row; --vs adds a line to each that the other plugin can do."""
    other = os.path.join(DIST, "kube-node")
    process = start(tmp_path, "tests.bench", "--rounds", "1", "--nodes", "3", "-o", "json", "--vs", other)
    out, err = process.communicate(timeout=300)
    found: dict[str, Any] = json.loads(out)
    rows = {(row["name"], row["variant"]): row for row in found["rows"]}
    gets = {name: rows["kube-node ADD, " + name, "copied"]["gets"] for name in ("known", "refresh", "refresh, large")}
    assert (process.returncode, os.listdir(tmp_path)) == (0 if found["all_hold"] else 1, []), err
    assert gets == {"known": 0, "refresh": 1, "refresh, large": 1}
    assert {variant for _, variant in rows} == {"", "installed", "copied", "other"}
    assert rows["100 ADDs after boot", "copied"]["gets"] == 1
    assert rows["first ADD after boot", "copied"]["gets"] == 1
