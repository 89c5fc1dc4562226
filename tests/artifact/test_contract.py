"""The built archive called as a runtime calls it, by both names and by both ways to start it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from plugin import cni
from tests.artifact.conftest import Built, files
from tests.support.dist import ARCHIVE, DIST
from tests.support.recorder import RESULT
from tests.support.runtime import Call, Pod, run

POD = Pod("web-0")
NAMES = ("kube-node", "node-annotation")
WAYS = ("by its first line", "by an interpreter")
PYTHON = "/usr/bin/python3"
MAY_MOUNT = os.geteuid() == 0 and not subprocess.call(["unshare", "-m", "true"], stderr=subprocess.DEVNULL)


def interpreter(way: str) -> tuple[str, ...]:
    """What stands before the plugin's path."""
    return () if way == WAYS[0] else (PYTHON,)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", WAYS)
def test_version(built: Built, name: str, way: str) -> None:
    """VERSION lists all versions of the protocol, and writes nothing anywhere."""
    before = files(built.node.directory)
    answer = built.runtime(*interpreter(way)).version(name)

    assert answer.document() == {"cniVersion": "1.1.0", "supportedVersions": list(cni.VERSIONS)}
    assert (answer.status, answer.stderr, files(built.node.directory)) == (0, "", before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stdin", [b"", b"{}", b"null", b"garbage", b"\0" * 100_000])
def test_version_whatever_is_on_stdin(built: Built, name: str, stdin: bytes) -> None:
    """VERSION does not look at standard input."""
    answer = run(Call((os.path.join(DIST, name),), {"CNI_COMMAND": "VERSION"}, stdin))
    assert (answer.status, answer.document()["cniVersion"]) == (0, "1.1.0")


@pytest.mark.parametrize("name", (*NAMES, "node-ipam.pyz"))
@pytest.mark.parametrize("way", WAYS)
def test_called_by_hand(built: Built, name: str, way: str) -> None:
    """Without CNI_COMMAND and without an argument: what this is, on stderr, status 0."""
    answer = run(Call((*interpreter(way), os.path.join(DIST, name)), {}, b""))
    assert (answer.status, answer.stdout) == (0, b"")
    assert len(answer.stderr.splitlines()) >= 2 and "Traceback" not in answer.stderr


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", cni.VERSIONS)
def test_add_check_del(built: Built, way: str, version: str) -> None:
    """ADD gives host-local's answer, CHECK and DEL give none, in every version that has them."""
    runtime = built.runtime(*interpreter(way))
    config = built.node.config(version)
    added = [runtime.run("ADD", config, POD) for _ in range(2)]
    released = [runtime.run(command, config, POD) for command in ("CHECK", "DEL", "DEL") if version >= "0.4.0"]

    expected = json.loads(RESULT) if version != "1.1.0" else {**json.loads(RESULT), "cniVersion": "1.1.0"}
    assert [answer.document() for answer in added] == [expected] * 2
    assert [(answer.status, answer.stdout, answer.stderr) for answer in released] == [(0, b"", "")] * len(released)
    spoken = {json.loads(call.stdin)["cniVersion"] for call in built.node.next.calls()}
    assert spoken == {min(version, "1.0.0")}


@pytest.mark.parametrize("command", ["STATUS", "GC"])
@pytest.mark.parametrize("way", WAYS)
def test_status_and_gc(built: Built, way: str, command: str) -> None:
    """STATUS and GC print nothing when all is well, and host-local need not know them."""
    answer = built.runtime(*interpreter(way)).run(command, built.node.config("1.1.0"))
    assert (answer.status, answer.stdout, answer.stderr) == (0, b"", "")
    assert built.node.next.calls() == []


@pytest.mark.parametrize("name", NAMES)
def test_del_of_what_was_never_added(built: Built, name: str) -> None:
    """DEL needs no server, no cache and no earlier ADD: host-local is told to free, with a placeholder range."""
    config = {"cniVersion": "1.0.0", "name": "net", "ipam": {"type": name, "annotation": "example.com/x"}}
    answer = built.runtime().run("DEL", config, POD)

    assert (answer.status, answer.stdout, answer.stderr) == (0, b"", "")
    (call,) = built.node.next.calls()
    assert json.loads(call.stdin)["ipam"] == {"type": "host-local", "ranges": [[{"subnet": "192.0.2.0/24"}]]}
    assert (call.command, call.environ["CNI_ARGS"]) == ("DEL", "IgnoreUnknown=1")


def test_del_with_arguments_that_spoil_it(built: Built) -> None:
    """What of a request could make host-local refuse a DEL does not reach it."""
    config = built.node.config(ranges="bad", routes="bad")
    config["runtimeConfig"] = config["args"] = {"cni": {"ips": ["bad"]}, "ips": ["bad"]}
    answer = built.runtime().run("DEL", config, POD, CNI_ARGS="IP=bad;;x")

    assert (answer.status, answer.stdout) == (0, b"")
    (call,) = built.node.next.calls()
    assert sorted(json.loads(call.stdin)) == ["cniVersion", "ipam", "name"]


def test_the_whole_request_travels_on(built: Built) -> None:
    """Of the request only ipam is rewritten, and of that only our own keys are taken out."""
    ours: dict[str, Any] = {
        "cacheSeconds": 30,
        "nodeName": "a",
        "kubeconfig": "/k",
        "annotation": "",
        "loglevel": "debug",
    }
    theirs: dict[str, Any] = {"routes": [{"dst": "0.0.0.0/0"}], "resolvConf": "/etc/resolv.conf", "x": {"ä": None}}
    config = built.node.config(**ours, **theirs)
    more = {
        "runtimeConfig": {"ips": ["10.9.0.9"]},
        "args": {"cni": {}},
        "dns": {"search": ["a"]},
        "prevResult": {"x": 1},
    }
    answer = built.runtime().run("ADD", {**config, **more}, POD)

    assert answer.status == 0
    (call,) = built.node.next.calls()
    told = json.loads(call.stdin)
    ranges = [[{"subnet": "10.9.0.0/24"}]]
    assert told.pop("ipam") == {**theirs, "type": "host-local", "dataDir": config["ipam"]["dataDir"], "ranges": ranges}
    assert told == {"cniVersion": "1.0.0", "name": "net", **more}
    assert {key: call.environ[key] for key in built.environ()} == built.environ()


def test_link_to_a_link(built: Built, tmp_path: Path) -> None:
    """What counts is the name it is called by, wherever that leads."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kube-node").symlink_to(os.path.join(DIST, "node-annotation"))
    answer = run(Call((str(tmp_path / "bin" / "kube-node"),), {"CNI_COMMAND": "VERSION"}, b""))
    assert answer.document()["cniVersion"] == "1.1.0"


@pytest.mark.parametrize("name", ["a b", "ä", "x'y\"z", "-c", "%s", "x.pyz"])
def test_copied_under_an_odd_path(built: Built, tmp_path: Path, name: str) -> None:
    """A plain copy works, wherever it lies."""
    folder = tmp_path / "copies" / name
    folder.mkdir(parents=True)
    shutil.copy(ARCHIVE, folder / "kube-node")
    answer = run(Call((str(folder / "kube-node"),), {"CNI_COMMAND": "VERSION"}, b""))
    assert answer.document()["cniVersion"] == "1.1.0"


@pytest.mark.parametrize("kind", ["kube-node", "node-annotation"])
def test_another_name(built: Built, tmp_path: Path, kind: str) -> None:
    """Under a name of the operator's choice the type in the request decides."""
    path = tmp_path / "my-ipam"
    path.symlink_to(ARCHIVE)
    config = {"cniVersion": "1.0.0", "name": "net", "ipam": {"type": kind}}
    call = built.runtime().call("DEL", config, POD)
    assert run(call._replace(argv=(str(path),))).status == 0
    assert built.node.next.commands() == ["DEL"]


def test_another_name_and_another_type(built: Built, tmp_path: Path) -> None:
    """Under such a name a type that is not ours is refused, and the error says how the name and the type go."""
    path = tmp_path / "my-ipam"
    path.symlink_to(ARCHIVE)
    config = {"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "kube-node"}}
    call = built.runtime().call("DEL", config, POD)
    answer = run(call._replace(argv=(str(path),), stdin=json.dumps({**config, "ipam": {"type": "my-ipam"}}).encode()))

    assert (answer.status, answer.document()["code"]) == (1, 7)
    assert "'my-ipam'" in answer.document()["msg"]
    assert built.node.next.calls() == []


def test_del_with_a_broken_configuration_file(built: Built, tmp_path: Path) -> None:
    """Where nothing is known and the file that could say more is broken, host-local is told to free all the same."""
    (tmp_path / "nacfg").write_text("{")
    config = {"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "node-annotation", "annotation": "example.com/x"}}
    answer = built.runtime().run("DEL", config, POD, NODE_ANNOTATION_CFG=str(tmp_path / "nacfg"))

    assert (answer.status, answer.stdout) == (0, b"")
    assert built.node.next.commands() == ["DEL"]


@pytest.mark.skipif(not MAY_MOUNT, reason="needs root and leave to mount")
def test_full_disk(built: Built) -> None:
    """With no room left for a cache pods get their addresses all the same."""
    mount = 'mount -t tmpfs -o size=4k,nr_inodes=2,mode=700 none "$0" && exec "$@"'
    os.mkdir(built.node.cache)
    runtime = built.runtime("unshare", "-m", "sh", "-c", mount, built.node.cache)
    for command in ("ADD", "ADD", "CHECK", "DEL"):
        answer = runtime.run(command, built.node.config(), POD)
        assert (answer.status, answer.stderr) == (0, "")
    assert os.listdir(built.node.cache) == []


@pytest.mark.skipif(not MAY_MOUNT, reason="needs root and leave to mount")
def test_bare_dev(built: Built) -> None:
    """A /dev that holds nothing but null, as some containers have it, is enough."""
    mount = "mount -t tmpfs -o mode=755 none /dev && mknod -m 666 /dev/null c 1 3"
    runtime = built.runtime("unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh")
    for command in ("ADD", "ADD", "CHECK", "DEL"):
        answer = runtime.run(command, built.node.config(), POD)
        assert (answer.status, answer.stderr) == (0, "")


def replace(built: Built, folder: Path) -> None:
    """Put another archive in the place of the one that runs, as an installer does."""
    with open(ARCHIVE, "rb") as file:
        data = file.read()
    new = folder / ".new"
    new.write_bytes(data[:50] + bytes(5000) + data[50:])  # nothing is where it was
    new.chmod(0o755)
    new.rename(folder / "kube-node")


@pytest.mark.parametrize("key", ["kubeconfig", "dataDir", "cacheSeconds", "nodeName", "ipv4-namespaces", "ranges"])
def test_status_of_a_bad_configuration(built: Built, key: str) -> None:
    """What an ADD would stumble over is code 50 of STATUS, and code 7 of ADD; the same words tell of it."""
    runtime, config = built.runtime(), built.node.config("1.1.0", **{key: "?"})
    status, add = runtime.run("STATUS", config).document(), runtime.run("ADD", config, POD).document()
    assert (status["code"], add["code"], status["msg"]) == (50, 7, add["msg"])


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "STATUS", "GC"])
@pytest.mark.parametrize("way", WAYS)
def test_replaced_while_waiting_for_the_request(built: Built, tmp_path: Path, command: str, way: str) -> None:
    """An archive replaced while a process runs from it: the answer, or code 11, try again; never anything else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    shutil.copy(ARCHIVE, folder / "kube-node")
    call = built.runtime().call(command, built.node.config("1.1.0"), POD)
    argv = [*interpreter(way), str(folder / "kube-node")]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=call.environ, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        assert child.stdin
        os.write(child.stdin.fileno(), call.stdin[:1])
        while unread(child.stdin.fileno()) and child.poll() is None:
            time.sleep(0.01)
        replace(built, folder)
        printed, complaint = child.communicate(call.stdin[1:])

    assert complaint == b""
    if child.returncode == 0:
        assert printed == b"" if command != "ADD" else "ips" in json.loads(printed)
    else:
        assert json.loads(printed)["code"] == 11


def unread(pipe: int) -> int:
    """How many bytes in a pipe nobody has read yet."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize("size", [0, 10, 50, 200_000])
def test_half_an_archive(built: Built, tmp_path: Path, size: int) -> None:
    """A file that was cut off while it was copied never looks like success to a runtime."""
    path = tmp_path / "kube-node"
    with open(ARCHIVE, "rb") as file:
        path.write_bytes(file.read(size))
    path.chmod(0o755)
    try:
        answer = run(Call((str(path),), {"CNI_COMMAND": "VERSION"}, b""))
    except OSError:
        return
    assert answer.status != 0
    assert answer.stdout == b"" or answer.document()["code"] == 11


def test_two_at_once(built: Built) -> None:
    """Requests at the same time do not get in each other's way."""
    runtime = built.runtime()
    answers = []

    def add(number: int) -> None:
        answers.append(runtime.run("ADD", built.node.config(), Pod(f"pod-{number}")))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(answer.status, answer.stderr, answer.stdout) for answer in answers if answer.status or answer.stderr] == []
    assert len({call.environ["CNI_CONTAINERID"] for call in built.node.next.calls()}) == 8
