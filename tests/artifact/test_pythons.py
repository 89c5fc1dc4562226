"""The built archive under every Python on this machine, in odd environments, by both ways to start it."""

from __future__ import annotations

import glob
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.artifact.conftest import Built
from tests.support import parts, recorder
from tests.support.apiserver import ApiServer
from tests.support.dist import DIST
from tests.support.recorder import RESULT
from tests.support.runtime import Call, Pod, Runtime, run
from tests.support.world import World

PYTHONS = parts.pythons()
WAYS = ("by the first line", "as python FILE")
POD = Pod("web-0")
MAY_MOUNT = os.geteuid() == 0 and not subprocess.call(["unshare", "-m", "true"], stderr=subprocess.DEVNULL)
# What a node's own set-up, or somebody on it, may want Python to do.
HOSTILE = {
    "PYTHONHOME": "/nonexistent",
    "PYTHONVERBOSE": "1",
    "PYTHONINSPECT": "1",
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONWARNINGS": "error",
    "PYTHONUTF8": "0",
    "PYTHONIOENCODING": "utf-16",
    "PYTHONPLATLIBDIR": "nonexistent",
    "PYTHONTRACEMALLOC": "25",
    "PYTHONDEVMODE": "1",
}


def too_old() -> dict[str, str]:
    """Every CPython 3 before 3.9 found here, version to path."""
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    folders = [*os.environ.get("PATH", "").split(":"), *sorted(glob.glob(os.path.join(root, "versions", "*", "bin")))]
    found: dict[str, str] = {}
    for path in (path for folder in folders for path in sorted(glob.glob(os.path.join(folder, "python3*")))):
        if re.fullmatch(r"python3(\.\d+)?", os.path.basename(path)):
            ask = [path, "-ISc", "import sys; print('%d.%d %s' % (sys.version_info[:2] + (sys.executable,)))"]
            done = subprocess.run(ask, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
            version, _, executable = done.stdout.strip().partition(" ")
            if done.returncode == 0 and int(version.split(".")[1]) < 9:
                found.setdefault(version, executable)
    return found


OLD = too_old()


def runtime(built: Built, version: str, way: str, *before: str) -> Runtime:
    """A runtime that starts the plugins by this Python."""
    python = PYTHONS[version]
    return built.runtime(*before, *(built.by_first_line(python) if way == WAYS[0] else (python,)))


def check(plugins: Runtime, built: Built, quiet: Sequence[str] = ("DEL",), **environ: str) -> None:
    """VERSION, an ADD by the ordinary way, one by the short way, and these commands are answered as they should be."""
    config = built.node.config("1.1.0")
    version = run(plugins.call("ADD", config, POD, **{**environ, "CNI_COMMAND": "VERSION"}))
    added = [plugins.run("ADD", config, POD, **environ) for _ in range(2)]
    others = [plugins.run(command, config, POD, **environ) for command in quiet]

    assert [answer.stderr for answer in (version, *added, *others)] == [""] * (3 + len(others))
    assert [answer.status for answer in (version, *added, *others)] == [0] * (3 + len(others))
    assert version.document()["supportedVersions"][-1] == "1.1.0"
    assert [answer.document() for answer in added] == [{**json.loads(RESULT), "cniVersion": "1.1.0"}] * 2
    assert [answer.stdout for answer in others] == [b""] * len(others)


def test_there_is_one() -> None:
    """The Python that runs the tests is among those found."""
    assert "{}.{}".format(*sys.version_info[:2]) in PYTHONS


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", PYTHONS)
def test_all_commands(built: Built, version: str, way: str) -> None:
    """Every Python gives the same answers."""
    plugins = runtime(built, version, way)
    check(plugins, built, ("CHECK", "DEL", "STATUS", "GC"))
    error = plugins.run("ADD", {**built.node.config(), "name": "/"}, POD)
    assert (error.status, error.document()["code"], error.stderr) == (1, 7, "")


@pytest.mark.parametrize("version", PYTHONS)
def test_hostile_variables(built: Built, tmp_path: Path, version: str) -> None:
    """By the first line, Python listens to no variable: no PYTHONHOME, no module of somebody else, no start-up file."""
    for name in ("json", "os", "re", "plugin", "sitecustomize", "usercustomize", "fcntl"):
        (tmp_path / f"{name}.py").write_text("print('somebody else')\n")
    own = dict.fromkeys(("PYTHONPATH", "PYTHONUSERBASE", "PYTHONPYCACHEPREFIX"), str(tmp_path))
    startup = {"PYTHONSTARTUP": str(tmp_path / "json.py")}
    check(runtime(built, version, WAYS[0]), built, (), **HOSTILE, **own, **startup)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", PYTHONS)
def test_working_directory_is_not_searched(built: Built, tmp_path: Path, version: str, way: str) -> None:
    """Modules that lie where the runtime was started are not imported."""
    for name in ("json", "re", "plugin", "ipaddress"):
        (tmp_path / f"{name}.py").write_text("print('somebody else')\n")
    call = runtime(built, version, way).call("ADD", built.node.config(), POD)
    done = subprocess.run(call.argv, env=call.environ, input=call.stdin, cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, json.loads(RESULT), b"")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", PYTHONS)
def test_empty_environment(built: Built, version: str, way: str) -> None:
    """With nothing but CNI_* in the environment (no PATH, no HOME) each command works."""
    plugins = runtime(built, version, way)
    plugins.environ = {"NODE_IPAM_CACHE": built.node.cache}
    check(plugins, built)


@pytest.mark.parametrize("language", ["C", "C.UTF-8", "nonexistent"])
@pytest.mark.parametrize("version", PYTHONS)
def test_locale(built: Built, version: str, language: str) -> None:
    """The locale does not matter, nor does a path that is no ASCII."""
    plugins = runtime(built, version, WAYS[0])
    config = built.node.config(x="äöü\udcff"[:3])
    answer = plugins.run("ADD", config, POD, LC_ALL=language, LANG=language, HOME="/\udcff")
    assert (answer.document(), answer.stderr) == (json.loads(RESULT), "")
    assert json.loads(built.node.next.calls()[0].stdin)["ipam"]["x"] == "äöü"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", PYTHONS)
def test_closed_stderr(built: Built, version: str, way: str) -> None:
    """With stderr closed each command works, a warning included."""
    closing = ("/bin/sh", "-c", 'exec "$0" "$@" 2>&-')
    check(runtime(built, version, way, *closing), built)


@pytest.mark.parametrize("version", PYTHONS)
def test_no_temporary_directory(built: Built, version: str) -> None:
    """A TMPDIR that is not there is not missed."""
    check(runtime(built, version, WAYS[0]), built, TMPDIR="/nonexistent")


def read_only(directory: Path) -> tuple[str, ...]:
    """A command before a command that makes /tmp read-only but for this directory, for that command alone."""
    mounts = 'mount --bind /tmp /tmp && mount --bind "$0" "$0" && mount -o remount,bind,ro /tmp'
    return ("unshare", "-m", "/bin/sh", "-c", f'{mounts} && ! 2>/dev/null >/tmp/x && exec "$@"', str(directory))


@pytest.mark.skipif(not MAY_MOUNT, reason="needs root and leave to mount")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", PYTHONS)
def test_read_only_tmp(built: Built, version: str, way: str) -> None:
    """A /tmp that cannot be written is not missed."""
    check(runtime(built, version, way, *read_only(built.node.directory)), built)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A node with an API server."""
    with ApiServer() as server:
        yield World(str(tmp_path), server)


@pytest.mark.skipif(not MAY_MOUNT, reason="needs root and leave to mount")
@pytest.mark.parametrize("version", PYTHONS)
def test_read_only_tmp_and_a_server(world: World, tmp_path: Path, version: str) -> None:
    """A cold ADD, with the bundled packages and a TLS connection, needs no /tmp either."""
    built = Built(recorder.make(tmp_path))
    world.runtime.interpreter = (*read_only(tmp_path), *built.by_first_line(PYTHONS[version]))
    assert world.addresses(world.config())[0] == "11.0.1.2/24"
    assert world.delete(world.config()).status == 0


def old_ways(built: Built, version: str) -> dict[str, tuple[str, ...]]:
    """The two ways to start it, by a Python that is too old."""
    return {WAYS[0]: built.by_first_line(OLD[version]), WAYS[1]: (OLD[version],)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", OLD)
def test_too_old(built: Built, version: str, way: str) -> None:
    """A Python before 3.9 gives a CNI error that says so, not a traceback."""
    call = built.runtime(*old_ways(built, version)[way]).call("ADD", built.node.config(), POD)
    answer = run(call)

    document = answer.document()
    assert (answer.status, answer.stderr, document["code"]) == (1, "", 100)
    assert f"Python {version}" in document["msg"] and OLD[version] in document["msg"]
    assert document["details"]


def test_version_of_the_system(built: Built) -> None:
    """Called by its own first line, it is the system's Python that runs it."""
    done = run(Call((os.path.join(DIST, "kube-node"), "version"), {}, b""))
    assert (done.status, done.stderr) == (0, "")
    assert b" at /usr/bin/python3" in done.stdout
