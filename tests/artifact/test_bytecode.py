"""Byte code in the cache: used when it is this archive's, this Python's and this user's, and never else."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plugin.ops.install import archive
from plugin.start import warm
from tests.artifact.conftest import Built
from tests.support import parts
from tests.support.dist import ARCHIVE, DIST
from tests.support.recorder import RESULT
from tests.support.runtime import Call, Pod, run

PYTHONS = parts.pythons()
SYSTEM = archive.INTERPRETER
PROGRAM = os.path.join(DIST, "kube-node")
POD = Pod("web-0")
KILLS = int(os.environ.get("NODE_IPAM_KILLS", "20"))
MARK = "code of another user"
# A byte code file of the right form whose first code says that it ran.
PLANT = f"""
import marshal, sys
from _imp import source_hash
code = compile('print("{MARK}")', "planted", "exec")
block = marshal.dumps((code, ()))
sys.stdout.buffer.write(source_hash(0, block) + len(block).to_bytes(3, "big") + block)
"""


def add(built: Built, python: str = SYSTEM, program: str = "") -> None:
    """An ADD that must work."""
    call = built.runtime(*built.by_first_line(python)).call("ADD", built.node.config(), POD)
    answer = run(call._replace(argv=(*call.argv[:-1], program or call.argv[-1])))
    assert (answer.status, json.loads(answer.stdout), answer.stderr) == (0, json.loads(RESULT), "")


def version(built: Built) -> str:
    """What VERSION prints."""
    answer = run(Call((PROGRAM,), {**built.environ(), "CNI_COMMAND": "VERSION"}, b""))
    assert answer.stderr == ""
    return answer.stdout.decode()


def files(built: Built) -> dict[str, tuple[int, int]]:
    """The byte code files: name to inode and time."""
    found = Path(built.node.cache).glob("code-*")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def only(built: Built) -> Path:
    """The byte code file that there is."""
    (found,) = Path(built.node.cache).glob("code-*")
    return found


@pytest.mark.parametrize("version", PYTHONS)
def test_kept_by_the_first_and_used_by_the_second(built: Built, version: str) -> None:
    """The first request leaves byte code; the same requests later, in any order, compile and store nothing."""
    add(built, PYTHONS[version])
    first = files(built)
    add(built, PYTHONS[version])

    assert len(first) == 1
    assert files(built) == first
    assert only(built).stat().st_mode & 0o7777 == 0o600


def test_it_is_what_runs(built: Built) -> None:
    """The proof for the tests below: what lies in the file is run."""
    add(built)
    plant(only(built))
    assert MARK in run(Call((PROGRAM,), {**built.environ(), "CNI_COMMAND": "VERSION"}, b"")).stdout.decode()


def plant(path: Path) -> None:
    """Put other code into a byte code file."""
    done = subprocess.run([SYSTEM, "-IS", "-c", PLANT], capture_output=True, check=True)
    path.write_bytes(done.stdout)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("way", ["owner", "group", "mode", "link", "file's owner", "file's mode", "file is a link"])
def test_prepared_by_somebody_else(built: Built, tmp_path: Path, way: str) -> None:
    """From a directory or file that another user owns, may write, or has linked, nothing is run."""
    add(built)
    folder, file = Path(built.node.cache), only(built)
    plant(file)
    if way == "owner":
        os.chown(folder, 1000, -1)
    elif way in ("group", "mode"):
        folder.chmod(0o770 if way == "group" else 0o755)
    elif way == "link":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    elif way == "file's owner":
        os.chown(file, 1000, -1)
    elif way == "file's mode":
        file.chmod(0o622)
    else:
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")

    assert json.loads(version(built))["cniVersion"] == "1.1.0"


def test_damaged(built: Built) -> None:
    """Cut off or changed anywhere, it is compiled anew: every request is answered as before."""
    add(built)
    path, dice = only(built), random.Random(11)
    whole = path.read_bytes()
    second = 11 + int.from_bytes(whole[8:11], "big")
    places = [block + place for block in (0, second) for place in (0, 7, 8, 10, 11, 12)]
    places += [dice.randrange(limit) for limit in (len(whole), 9000) for _ in range(12)]
    for place in places:
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :]):
            path.write_bytes(damaged)
            os.chmod(path, 0o600)
            os.utime(path, (1, 1))
            assert json.loads(version(built))["cniVersion"] == "1.1.0"
            add(built)
    add(built)
    assert path.stat().st_mtime > 1
    assert len(files(built)) == 1


def test_directory_or_pipe_in_its_place(built: Built) -> None:
    """A pipe or a directory in place of the file is not waited for."""
    add(built)
    path = only(built)
    for make in (os.mkfifo, os.mkdir):
        path.unlink()
        make(path, 0o600)
        add(built)
        if path.is_dir():
            path.rmdir()
            path.touch(0o600)


@pytest.mark.skipif(len(PYTHONS) < 2, reason="needs two versions of Python")
def test_each_python_has_its_own(built: Built) -> None:
    """One cache, one Python after the other and back: each uses its own and leaves the other's alone."""
    oldest, *_, newest = PYTHONS.values()
    add(built, newest)
    first = files(built)
    add(built, oldest)
    both = files(built)
    for python in (newest, oldest):
        add(built, python)

    assert len(both) == 2
    assert first.items() <= both.items()
    assert files(built) == both


def changed(path: Path, number: int) -> str:
    """Another version of the archive."""
    entries = archive.unpack(ARCHIVE)
    entries["plugin/__init__.py"] += b"# %d\\n" % number
    path.mkdir()
    archive.place(str(path / "kube-node"), archive.pack(entries))
    return str(path / "kube-node")


def test_upgrades(built: Built, tmp_path: Path) -> None:
    """Two versions beside each other keep theirs; of many that came one after the other as many as 4 MiB hold."""
    programs = [changed(tmp_path / f"v{number}", number) for number in range(7)]
    for program in programs[:2] * 2:
        add(built, program=program)
    assert len(files(built)) == 2
    for program in programs:
        run(Call((program,), {**built.environ(), "CNI_COMMAND": "VERSION", warm.PREPARE: "1"}, b""))
    left = files(built)
    add(built, program=programs[-1])

    sizes = [path.stat().st_size for path in Path(built.node.cache).glob("code-*")]
    assert 2 <= len(left) < 7 and sum(sizes) <= 4 << 20 < sum(sizes) + max(sizes)
    assert files(built) == left


def test_edited_in_place(built: Built, tmp_path: Path) -> None:
    """An archive that a ZIP tool has changed is another one, whatever its bootstrap says."""
    shutil.copy(ARCHIVE, tmp_path / "kube-node")
    add(built, program=str(tmp_path / "kube-node"))
    with open(tmp_path / "kube-node", "ab") as file:
        file.write(b"")
    os.utime(tmp_path / "kube-node", (time.time() + 5,) * 2)
    add(built, program=str(tmp_path / "kube-node"))

    assert len(files(built)) == 2


def test_killed_while_it_is_written(built: Built) -> None:
    """Killed at any moment of a first request, the next one answers, and no half of a file has its name."""
    started = time.monotonic()
    add(built)
    takes, dice = time.monotonic() - started, random.Random(7)
    call = built.runtime(*built.by_first_line(SYSTEM)).call("ADD", built.node.config(), POD)
    for _ in range(KILLS):
        shutil.rmtree(built.node.cache, ignore_errors=True)
        with subprocess.Popen(call.argv, env=call.environ, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
            assert child.stdin
            child.stdin.write(call.stdin)
            child.stdin.close()
            time.sleep(takes * (1 - dice.random() ** 2 / 2))
            child.kill()
        before = files(built)
        assert json.loads(version(built))["cniVersion"] == "1.1.0"
        add(built)
        assert before.items() <= files(built).items() or len(files(built)) == 1


def test_many_at_once_after_boot(built: Built) -> None:
    """The first of many compiles, the others wait for that; all are answered."""
    runtime, config = built.runtime(*built.by_first_line(SYSTEM)), built.node.config()
    calls = [runtime.call("ADD", config, Pod(f"web-{number}")) for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(run, calls))
    assert [(answer.status, answer.stderr) for answer in answers] == [(0, "")] * 16
    assert len(files(built)) == 1


def test_first_one_is_stopped(built: Built) -> None:
    """A process that was stopped while it compiles is waited for a second, not for ever."""
    os.mkdir(built.node.cache, 0o700)
    with open(Path(built.node.cache, "code.lock"), "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        add(built)
    assert len(files(built)) == 1


def test_archive_cut_off_meanwhile(built: Built, tmp_path: Path) -> None:
    """If the archive is damaged while the first ADD runs, the pod has its address, and no byte code is stored."""
    shutil.copy(ARCHIVE, tmp_path / "kube-node")
    built.node.next.answers("ADD", RESULT, f": >'{tmp_path}/kube-node'")
    add(built, program=str(tmp_path / "kube-node"))

    assert (tmp_path / "kube-node").stat().st_size == 0
    assert files(built) == {}


def test_relative_cache(built: Built, tmp_path: Path) -> None:
    """A variable with a relative path names no directory: nothing in the working directory is run."""
    add(built)
    plant(only(built))
    environ = {**built.environ(), "CNI_COMMAND": "VERSION", "NODE_IPAM_CACHE": os.path.basename(built.node.cache)}
    folder = os.path.dirname(built.node.cache)
    printed = subprocess.run([PROGRAM], env=environ, cwd=folder, capture_output=True, check=True).stdout

    assert json.loads(printed)["cniVersion"] == "1.1.0"


def test_left_overs_are_removed(built: Built) -> None:
    """What killed processes have left goes when byte code is stored."""
    os.mkdir(built.node.cache, 0o700)
    left = Path(built.node.cache, ".code-0a.1")
    left.touch()
    os.utime(left, (time.time() - 100,) * 2)
    add(built)
    assert not left.exists()


def test_version_leaves_nothing(built: Built) -> None:
    """Only install, which asks for that, has VERSION leave byte code."""
    version(built)
    assert not os.path.exists(built.node.cache)
    built.prepare(SYSTEM)
    assert len(files(built)) == 1
    assert warm.PREPARE


MAY_MOUNT = os.geteuid() == 0 and not subprocess.call(["unshare", "-m", "true"], stderr=subprocess.DEVNULL)


@pytest.mark.skipif(not MAY_MOUNT, reason="needs root and leave to mount")
def test_read_only_cache(built: Built) -> None:
    """Where nothing can be stored every request compiles, and is answered."""
    os.mkdir(built.node.cache, 0o700)
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    runtime = built.runtime("unshare", "-m", "sh", "-c", mount, built.node.cache)
    for command in ("ADD", "ADD", "DEL"):
        assert runtime.run(command, built.node.config(), POD).status == 0
    assert os.listdir(built.node.cache) == []
