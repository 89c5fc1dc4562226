"""A Python that lacks a part of its standard library, or a machine that is short of something, is told as that."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.artifact.conftest import Built
from tests.support import parts, recorder
from tests.support.apiserver import ApiServer
from tests.support.dist import ARCHIVE
from tests.support.runtime import Answer, Call, Pod, run
from tests.support.world import World

PYTHONS = parts.pythons()
POD = Pod("web-0")


def lacking(built: Built, python: str, module: str) -> tuple[str, ...]:
    """The command by which this Python runs the archive, were it without this module."""
    *options, code = built.by_first_line(python)
    return (*options, f"import sys;sys.modules[{module!r}]=None;{code}")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A node with an API server."""
    with ApiServer() as server:
        yield World(str(tmp_path), server)


def checked(answer: Answer, code: int, words: str) -> None:
    """It is one error with this code and these words, and no traceback."""
    assert (answer.status, answer.document()["code"], answer.stderr) == (1, code, "")
    assert words in answer.document()["msg"]
    assert answer.document()["details"]


@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("module", ["_ssl", "ssl", "http", "socket"])
def test_no_network_modules(world: World, tmp_path: Path, version: str, module: str) -> None:
    """An ADD that needs the server names the module, with code 100; DEL and CHECK need less, and work."""
    (tmp_path / "recorder").mkdir()
    built = Built(recorder.make(tmp_path / "recorder"))
    config = world.config()
    given = world.runtime.run("ADD", config, POD)
    world.age(86400)
    world.runtime.interpreter = lacking(built, PYTHONS[version], module)
    checked(world.runtime.run("ADD", config, Pod("web-1")), 100, f"{PYTHONS[version]} lacks the module {module}")

    assert given.status == 0
    assert world.runtime.run("CHECK", config, POD).status == 0
    assert world.runtime.run("DEL", config, POD).status == 0


@pytest.mark.parametrize("module", ["json", "re"])
@pytest.mark.parametrize("command", ["ADD", "DEL", "VERSION"])
def test_no_json(built: Built, command: str, module: str) -> None:
    """Without what every request needs each one names it."""
    runtime = built.runtime(*lacking(built, "/usr/bin/python3", module))
    call = runtime.call("ADD", built.node.config(), POD)
    answer = run(call._replace(environ={**call.environ, "CNI_COMMAND": command}))
    checked(answer, 100, f"/usr/bin/python3 lacks the module {module}")
    assert "apt-get install python3" in answer.document()["details"]


@pytest.mark.parametrize("module", ["json", "_ssl", "argparse", "zipfile", "dataclasses", "subprocess", "http"])
@pytest.mark.parametrize("command", ["doctor", "install", "help"])
def test_commands(built: Built, tmp_path: Path, command: str, module: str) -> None:
    """doctor and install run as far as they can, and say what is missing; never a traceback."""
    argv = [*lacking(built, "/usr/bin/python3", module), ARCHIVE, command]
    argv += ["--bin-dir", str(tmp_path)] if command == "install" else []
    done = subprocess.run(argv, capture_output=True, text=True, env=built.environ(), check=False)
    assert "Traceback" not in done.stderr and "unforeseen" not in done.stdout + done.stderr
    assert done.returncode == 0 or "lacks" in done.stdout + done.stderr or command == "doctor"


def test_doctor_of_a_network(built: Built, world: World) -> None:
    """A check that a module is missing for names it; the checks that can do without are made."""
    argv = [*lacking(built, "/usr/bin/python3", "_ssl"), ARCHIVE, "doctor", "-", "-o", "json"]
    argv += ["--bin-dir", parts.host_local(), "--conf-dir", world.path("none")]
    done = subprocess.run(argv, input=json.dumps(world.config()), capture_output=True, text=True, check=False)
    found = {line["check"]: line for line in json.loads(done.stdout)["checks"]}

    assert found["server"]["what"] == "/usr/bin/python3 lacks the module _ssl"
    assert "apt-get install python3" in found["server"]["remedy"]
    assert (found["configuration"]["status"], found["leases"]["status"]) == ("ok", "ok")


@pytest.mark.parametrize("files", range(6, 14))
def test_few_descriptors(world: World, files: int) -> None:
    """With next to no descriptors an ADD works, or says that files are short; the next one with enough works."""
    config = world.config()
    world.runtime.interpreter = ("prlimit", f"--nofile={files}:{files}")
    answer = world.runtime.run("ADD", config, POD)
    if answer.status:
        assert (answer.document()["code"], "Traceback" in answer.stderr) == (11, False)
    world.runtime.interpreter = ()
    assert world.runtime.run("ADD", config, Pod("web-1")).status == 0


def test_call_is_the_same(built: Built) -> None:
    """The way in which these tests take a module away leaves all else as it is."""
    runtime = built.runtime(*lacking(built, "/usr/bin/python3", "no_such_module"))
    assert runtime.run("ADD", built.node.config(), POD).status == 0
    assert isinstance(runtime.call("ADD", built.node.config(), POD), Call)
