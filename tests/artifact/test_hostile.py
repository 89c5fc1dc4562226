"""Hostile requests to the built archive: one error object each time, status 1, and nothing created anywhere."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.artifact.conftest import Built, files
from tests.support import recorder
from tests.support.dist import DIST
from tests.support.runtime import SECONDS, Answer, Call

WORKERS = 2
PLACES = ("/", "/etc/cni", "/opt/cni", "/run/node-ipam", "/var/lib/cni", "/var/lib/cni/networks")
DONE_WORDS = ("not found", "no such file")
NAMES = ("kube-node", "node-annotation")
CACHE = "/CACHE"  # in a variable: the cache directory of the site
GOOD = {"CNI_CONTAINERID": "c1", "CNI_NETNS": "/var/run/netns/x", "CNI_IFNAME": "eth0", "CNI_ARGS": "K8S_POD_NAME=a"}


class Hostile(NamedTuple):
    """A request, and the codes that the error may have."""

    what: str
    codes: tuple[int, ...]
    command: str = "ADD"
    environ: Mapping[str, str | None] = {}
    stdin: bytes = b""
    names: tuple[str, ...] = NAMES  # of the plugins it is made to


ABSENT: Any = object()


def config(**keys: Any) -> bytes:
    """A configuration that is fine but for these keys; None takes a key away."""
    whole = {"cniVersion": "1.1.0", "name": "net", "ipam": {"type": "kube-node", "annotation": "example.com/x"}, **keys}
    return json.dumps({key: value for key, value in whole.items() if value is not ABSENT}).encode()


def ipam(**keys: Any) -> bytes:
    """A configuration whose ipam has these keys."""
    return config(ipam={"type": "kube-node", **keys})


FINE = config()


def variables() -> Iterator[Hostile]:
    """Variables that are missing, empty, or unknown commands."""
    required = {"ADD": 4, "CHECK": 4, "DEL": 3, "STATUS": 1, "GC": 1}
    names = ("CNI_PATH", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS")
    for command, count in required.items():
        for name in names[:count]:
            yield Hostile(f"{command} without {name}", (4,), command, {name: None}, FINE)
            yield Hostile(f"{command} with empty {name}", (4,), command, {name: ""}, FINE, NAMES[:1])
    for command in ("add", " ADD", "ADD ", "ADD\n", "FOO", "VERSION;", "$(id)", "\udcff\udcfe", "ADD,DEL", "é", "0"):
        yield Hostile(f"command {command!r}", (4,), command, {}, FINE, NAMES[:1])
    yield Hostile("command of 100 kB", (4,), "A" * 100_000, {}, FINE, NAMES[:1])


IDS = ["..", ".", "/", "../../etc/passwd", "a/b", "/abs", "-rf", ".hidden", "a b", "a\n", "\n", "a;reboot", "$(id)"]
IDS += ["`id`", "a%00", "ä", "\udcff", "a\udc80b", "a\\..\\b", "a:b", "*", "~", "a\tb", "\u202e", "١", "x" * 70 + "/"]


def identifiers() -> Iterator[Hostile]:
    """Paths, shell and broken text in container id, interface and network name."""
    for value in IDS:
        yield Hostile(f"ADD container {value!r}", (4,), "ADD", {"CNI_CONTAINERID": value}, FINE, NAMES[:1])
        yield Hostile(f"DEL container {value!r}", (4,), "DEL", {"CNI_CONTAINERID": value}, FINE, NAMES[1:])
        yield Hostile(f"network {value!r}", (7,), "ADD", {}, config(name=value), NAMES[:1])
        yield Hostile(f"GC of network {value!r}", (7,), "GC", {}, config(name=value), NAMES[1:])
    for value in (
        "..",
        ".",
        "/",
        "../../x",
        "a/b",
        "a b",
        "a\n",
        "a:1",
        "x" * 16,
        "é" * 8,
        "\udcff" * 16,
        "\u2003",
        "\t",
    ):
        for command in ("ADD", "DEL"):
            yield Hostile(f"{command} interface {value!r}", (4,), command, {"CNI_IFNAME": value}, FINE, NAMES[:1])


TEXTS: list[tuple[str, bytes, int]] = [
    ("empty", b"", 6),
    ("white space", b" \n\t ", 6),
    ("NUL", b"\0", 6),
    ("a megabyte of NUL", b"\0" * (1 << 20), 6),
    ("10 MiB of NUL", b"\0" * (10 << 20), 5),
    ("10 MiB of blanks", b" " * (10 << 20), 5),
    ("10 MiB of JSON", b'{"name": "net", "x": "' + b"x" * (10 << 20) + b'"}', 5),
    ("a byte too much", FINE + b" " * ((1 << 20) + 1 - len(FINE)), 5),
    ("100,000 brackets", b"[" * 100_000, 6),
    ("100,000 brackets, closed", b"[" * 100_000 + b"]" * 100_000, 6),
    ("100,000 objects", b'{"a":' * 100_000, 6),
    ("100,000 objects, closed", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 6),
    ("500,000 brackets inside", b'{"name":"net","x":' + b"[" * 500_000 + b"]" * 500_000 + b"}", 6),
    ("1,000 levels", b'{"name":"net","x":' + b"[" * 1000 + b"]" * 1000 + b"}", 6),
    ("invalid UTF-8", b'{"name": "\xff\xfe"}', 6),
    ("an overlong NUL", b'{"name": "a\xc0\x80"}', 6),
    ("an encoded surrogate", b'{"name": "\xed\xa0\x80"}', 6),
    ("a byte order mark", b"\xef\xbb\xbf" + FINE, 6),
    ("UTF-16", FINE.decode().encode("utf-16"), 6),
    ("UTF-32", FINE.decode().encode("utf-32"), 6),
    ("Latin-1", '{"name": "é"}'.encode("latin-1"), 6),
    ("two documents", FINE + FINE, 6),
    ("half a document", FINE[:-10], 6),
    ("text after it", FINE + b"x", 6),
    ("NUL after it", FINE + b"\0", 6),
    ("NaN", b'{"name": "net", "x": NaN}', 6),
    ("Infinity", b'{"name": "net", "x": -Infinity}', 6),
    ("1e999", b'{"name": "net", "x": 1e999}', 6),
    ("YAML", b"name: net\nipam:\n  type: kube-node\n", 6),
    ("Python", b"{'name': 'net', 'ipam': None}", 6),
    ("a shell script", b"#!/bin/sh\nreboot\n", 6),
    ("an ELF header", b"\x7fELF\x02\x01\x01" + b"\0" * 57, 6),
    ("a list", b"[]", 6),
    ("a list of a configuration", b"[" + FINE + b"]", 6),
    ("a string", b'"net"', 6),
    ("a number", b"0", 6),
    ("true", b"true", 6),
    ("null", b"null", 7),
    ("an empty object", b"{}", 7),
]


def texts() -> Iterator[Hostile]:
    """Standard input that is no configuration, to every command that reads it."""
    for what, text, code in TEXTS:
        yield Hostile(f"ADD with {what}", (code,), "ADD", {}, text, NAMES[:1])
    for index, (what, text, code) in enumerate(TEXTS):
        command = ("DEL", "CHECK", "STATUS", "GC")[index % 4]
        yield Hostile(f"{command} with {what}", (code,), command, {}, text, NAMES[1:])


NO_TEXTS: list[Any] = [0, True, [], {}, 1.5]
NO_OBJECTS: list[Any] = [None, ABSENT, 0, "kube-node", [], [{"type": "kube-node"}], True]
NO_NAMES: list[Any] = ["", None, ABSENT]
NO_SECONDS: list[Any] = ["30", -1, 1e9, [], True, {}]
NO_NAMESPACES: list[Any] = ["a", 0, {}, [0], [None], [[]], True]
NO_ATTACHMENTS: list[Any] = [
    0,
    "c1",
    True,
    {},
    [None],
    [[]],
    ["c1"],
    [{}],
    [{"containerID": "c1"}],
    [{"ifname": 1}],
    [0],
]


def configurations() -> Iterator[Hostile]:
    """Keys of the configuration that are missing, of the wrong type, in another case or of another version."""
    for key, code in (("name", 6), ("cniVersion", 6)):
        for value in NO_TEXTS:
            yield Hostile(f"{key} {value!r}", (code,), "ADD", {}, config(**{key: value}), NAMES[:1])
    for value in NO_NAMES:
        yield Hostile(f"name {value!r}", (7,), "ADD", {}, config(name=value), NAMES[:1])
    for version in ("9.9.9", "1.0", "v1.0.0", "1.1.0\n", "-1", "x" * 100_000, "1.1.0\u0000"):
        yield Hostile(f"version {version[:9]!r}", (1,), "ADD", {}, config(cniVersion=version), NAMES[:1])
    for command, version in (("CHECK", "0.3.1"), ("STATUS", "1.0.0"), ("GC", "1.0.0"), ("GC", ABSENT)):
        yield Hostile(f"{command} in {version!r}", (1,), command, {}, config(cniVersion=version))
    for value in NO_OBJECTS:
        for command in ("ADD", "DEL", "CHECK"):
            yield Hostile(f"{command} ipam {value!r}", (7,), command, {}, config(ipam=value), NAMES[:1])
    for key in ("Name", "NAME", "IPAM", "CniVersion", "Args", "RUNTIMECONFIG", "ar\u0067\u017f"):
        yield Hostile(f"key {key!r}", (7,), "ADD", {}, config(**{key: {}}))
    for key in ("Type", "Ranges", "SUBNET", "rangestart", "DATADIR"):
        yield Hostile(f"key ipam.{key}", (7,), "ADD", {}, ipam(**{key: "x"}), NAMES[:1])


def settings() -> Iterator[Hostile]:
    """Values in ipam: wrong types, path tricks, ranges of somebody else."""
    for key in ("annotation", "kubeconfig", "dataDir", "logfile", "nodeName", "cacheDir"):
        for value in (*NO_TEXTS, "a\u0000b"):
            yield Hostile(f"ipam.{key} {value!r}", (7,), "ADD", {}, ipam(**{key: value}), NAMES[:1])
    for key in ("kubeconfig", "dataDir", "logfile", "cacheDir"):
        for path in ("x", "../../../../tmp/x", "./x", "~/x", "-", "\\x", "$HOME/x"):
            yield Hostile(f"ipam.{key} {path!r}", (7,), "ADD", {}, ipam(**{key: path}), NAMES[:1])
    for value in NO_SECONDS:
        yield Hostile(f"ipam.cacheSeconds {value!r}", (7,), "ADD", {}, ipam(cacheSeconds=value), NAMES[:1])
    for value in NO_NAMESPACES:
        yield Hostile(f"namespaces {value!r}", (7, 100), "ADD", {}, ipam(**{"ipv4-namespaces": value}), NAMES[:1])
    for name in (
        "A",
        "..",
        "a/b",
        "../../api/v1/secrets",
        "a?x=y",
        "a#b",
        "a%2e",
        "-a",
        "a" * 254,
        "a\r\nHost: x",
        "é",
    ):
        yield Hostile(f"ipam.nodeName {name!r}", (7,), "ADD", {}, ipam(nodeName=name), NAMES[:1])
        yield Hostile(f"$NODE_NAME {name!r}", (7, 11, 100), "ADD", {"NODE_NAME": name}, FINE, NAMES[1:])
    for key in ("ranges", "subnet", "rangeStart", "rangeEnd", "gateway"):
        yield Hostile(f"ipam.{key}", (7,), "ADD", {}, ipam(**{key: "10.0.0.0/24"}), NAMES[:1])
    for value in (*NO_NAMES, *NO_TEXTS):
        text = config(ipam={"type": "node-annotation", **({} if value is ABSENT else {"annotation": value})})
        yield Hostile(f"annotation {value!r}", (7,), "ADD", {}, text, NAMES[1:])


def garbage_collections() -> Iterator[Hostile]:
    """Lists of attachments that are none."""
    for value in NO_ATTACHMENTS:
        text = config(**{"cni.dev/valid-attachments": value})
        yield Hostile(f"attachments {value!r}", (7,), "GC", {}, text)


# What no file can be called, though JSON can write it.
HALF_A_PAIR = [
    Hostile(f"ipam.{key}", (7,), command, {}, ipam(**{key: "/x/\ud800"}), NAMES[:1])
    for key, command in (("kubeconfig", "ADD"), ("dataDir", "ADD"), ("dataDir", "DEL"), ("logfile", "ADD"))
] + [Hostile("ipam.cacheDir", (7,), "ADD", {}, ipam(cacheDir="/x/\ud800"), NAMES[:1])]


def machine() -> Iterator[Hostile]:
    """A machine without what is needed: no host-local, no server, odd directories, odd variables."""
    for path in (
        "/nonexistent",
        "relative",
        ":",
        "::::",
        "/dev/null",
        "/proc/self/fd",
        "\udcff",
        "x" * 5000,
        "/" * 200,
    ):
        yield Hostile(f"ADD, CNI_PATH {path[:20]!r}", (7, 11, 100), "ADD", {"CNI_PATH": path}, FINE, NAMES[:1])
        yield Hostile(f"DEL, CNI_PATH {path[:20]!r}", (100,), "DEL", {"CNI_PATH": path}, FINE, NAMES[:1])
    # No relative one: that is none, and /run/node-ipam would be used.
    for cache in ("/proc/x", "/dev/null", "/proc/self/fd/0", f"{CACHE}/\udcff", "/" + "x" * 300, "/"):
        yield Hostile(f"cache {cache[:20]!r}", (7, 11, 100), "ADD", {"NODE_IPAM_CACHE": cache}, FINE, NAMES[:1])
    for kubeconfig in ("/", "relative", "\udcff", "/proc/self/mem", "/dev/zero", "a:b:c", "x" * 5000):
        environ = {"KUBECONFIG": kubeconfig}
        yield Hostile(f"KUBECONFIG {kubeconfig[:20]!r}", (5, 7, 11, 100), "ADD", environ, FINE, NAMES[:1])
        yield Hostile(f"STATUS, KUBECONFIG {kubeconfig[:20]!r}", (50,), "STATUS", environ, FINE, NAMES[1:])
    for file in ("/nonexistent", "/", "/proc/self/mem", "relative", "\udcff", "/dev/null", "/etc/hostname"):
        for command in ("ADD", "STATUS"):  # the others free and check all the same
            environ = {"NODE_ANNOTATION_CFG": file}
            yield Hostile(f"{command}, configuration {file!r}", (6, 7, 50), command, environ, FINE, NAMES[1:])
    for variable in ("CNI_ARGS", "HOME", "PATH", "TMPDIR", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONSTARTUP"):
        for value in ("\udcff\udcfe", "/" * 4000):
            yield Hostile(f"{variable} {value[:2]!r}", (7, 11, 100), "ADD", {variable: value}, FINE, NAMES[:1])


GROUPS = {
    "variables": list(variables()),
    "identifiers": list(identifiers()),
    "texts": list(texts()),
    "configurations": list(configurations()),
    "settings": list(settings()),
    "garbage collections": list(garbage_collections()),
    "machine": list(machine()),
}


class Site:
    """Where hostile requests are made: everything that they may lead to is in one directory, and watched."""

    def __init__(self, built: Built) -> None:
        self.built = built
        self.directory = built.node.directory
        for name in ("home", "tmp", "work"):
            (self.directory / name).mkdir()
        self.before = self.state()

    def state(self) -> tuple[set[str], list[list[str]]]:
        """All files that could have been made, but for the cache and what the recorder writes down."""
        return files(self.directory, ("cache", "calls")) - {"cache"}, [_listing(place) for place in PLACES]

    def call(self, hostile: Hostile, name: str) -> Call:
        """The process for a request to the plugin of this name."""
        directories = f"{DIST}:{self.directory}"
        base = {**self.built.environ(), **GOOD, "CNI_PATH": directories, "TMPDIR": str(self.directory / "tmp")}
        environ = {**base, "CNI_COMMAND": hostile.command, **hostile.environ}
        cache = self.built.node.cache
        kept = {key: value.replace(CACHE, cache) for key, value in environ.items() if value is not None}
        return Call((os.path.join(DIST, name),), kept, hostile.stdin)

    def troubles(self, hostile: Hostile) -> list[str]:
        """What is wrong about the answers to a request."""
        found = []
        for name in hostile.names:
            answer = self.run(self.call(hostile, name))
            found += [f"{name}, {hostile.what}: {trouble}" for trouble in wrong(answer, hostile)]
        return found

    def run(self, call: Call) -> Answer:
        """Run it in a directory of its own, as a runtime may."""
        work = self.directory / "work"
        done = subprocess.run(
            call.argv, env=call.environ, input=call.stdin, cwd=work, capture_output=True, timeout=SECONDS, check=False
        )
        return Answer(done.returncode, done.stdout, done.stderr.decode(errors="replace"), 0.0)


def wrong(answer: Answer, hostile: Hostile) -> Iterator[str]:
    """What is wrong about an answer."""
    if answer.status != 1:
        yield f"status {answer.status}"
    if "Traceback" in answer.stderr:
        yield f"on stderr: {answer.stderr}"
    try:
        document = json.loads(answer.stdout.decode("ascii"), parse_constant=lambda name: 1 / 0)
    except (ValueError, ZeroDivisionError):
        yield f"stdout is not one JSON document: {answer.stdout[:200]!r}, stderr: {answer.stderr[-500:]}"
        return
    if answer.stdout.count(b"\n") != 1:
        yield "not one line"
    if not {"cniVersion", "code", "msg"} <= set(document) <= {"cniVersion", "code", "msg", "details"}:
        yield f"keys {sorted(document)}"
    if document.get("code") not in hostile.codes:
        yield f"code {document.get('code')}, not {hostile.codes}: {document.get('msg')!r:.300}"
    if "unforeseen" in document.get("msg", ""):
        yield document["msg"]
    if hostile.command == "DEL" and any(word in answer.stdout.decode().lower() for word in DONE_WORDS):
        yield f"containerd takes this for success: {document['msg']}"


def _listing(place: str) -> list[str]:
    try:
        return sorted(os.listdir(place))
    except OSError:
        return ["absent"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """One site for all requests of this module."""
    return Site(Built(recorder.make(tmp_path_factory.mktemp("site"))))


def test_there_are_enough() -> None:
    """At least 200 different requests, and each command that reads standard input is among them often."""
    requests = [(each.command, str(each.environ), each.stdin) for group in GROUPS.values() for each in group]
    assert len(set(requests)) >= 200
    for command in ("ADD", "DEL", "CHECK", "STATUS", "GC"):
        assert sum(each[0] == command for each in requests) >= 15


@pytest.mark.parametrize("group", GROUPS)
def test_hostile(site: Site, group: str) -> None:
    """One error object with the right code, status 1, no traceback, and nothing outside dataDir and cache."""
    with ThreadPoolExecutor(WORKERS) as pool:
        troubles = [trouble for found in pool.map(site.troubles, GROUPS[group]) for trouble in found]
    assert troubles == []
    assert site.state() == site.before
    assert {call.command for call in site.built.node.next.calls()} <= {"DEL"}


@pytest.mark.parametrize("hostile", HALF_A_PAIR, ids=lambda hostile: f"{hostile.command} {hostile.what}")
def test_half_a_pair(site: Site, hostile: Hostile) -> None:
    """A path that no file can have is an error of configuration, not an unforeseen one."""
    assert site.troubles(hostile) == []


def closing(site: Site, call: Call, closed: str) -> Answer:
    """The outcome of a process that is started with these descriptors closed."""
    script = f'exec "$0" {" ".join(f"{number}>&-" for number in closed.split())}'
    return site.run(call._replace(argv=("/bin/sh", "-c", script, *call.argv)))


@pytest.mark.parametrize("closed", ["1", "2", "1 2"])
@pytest.mark.parametrize("command", ["ADD", "DEL", "VERSION"])
def test_closed_descriptors(site: Site, closed: str, command: str) -> None:
    """With closed descriptors there is still one document, if there is a stdout, and the status that belongs to it."""
    answer = closing(site, site.call(Hostile("", (), command, {}, FINE), "kube-node"), closed)

    assert answer.stderr == ""
    if "1" not in closed:
        assert answer.status == int(command == "ADD")
        assert command == "DEL" or isinstance(answer.document(), dict)


@pytest.mark.parametrize("closed", ["0", "0 2"])
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_closed_stdin(site: Site, closed: str, command: str) -> None:
    """A closed standard input is an empty one."""
    answer = closing(site, site.call(Hostile("", (), command, {}, FINE), "kube-node"), closed)

    assert (answer.status, answer.document()["code"], answer.stderr) == (1, 6, "")


def test_nobody_reads_the_answer(site: Site) -> None:
    """A runtime that went away costs no traceback and no wrong status."""
    call = site.call(Hostile("", (), "ADD", {}, b"garbage"), "kube-node")
    source, sink = os.pipe()
    os.close(source)
    done = subprocess.run(call.argv, env=call.environ, input=b"", stdout=sink, stderr=subprocess.PIPE, check=False)
    os.close(sink)
    assert (done.returncode, done.stderr) == (1, b"")


def test_odd_working_directory(site: Site, tmp_path: Path) -> None:
    """A working directory that is gone does not matter."""
    call = site.call(Hostile("", (), "VERSION"), "kube-node")
    gone = tmp_path / "gone"
    gone.mkdir()
    argv = ["/bin/sh", "-c", f'rmdir "{gone}"; exec "$0"', *call.argv]
    done = subprocess.run(argv, env=call.environ, cwd=gone, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
