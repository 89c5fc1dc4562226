"""The short way gives host-local what the ordinary way gives it, or nothing."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from plugin import entries, process, verbs
from plugin.cache import Cache
from plugin.config.settings import Settings
from plugin.entries import digest
from plugin.facts import Facts
from plugin.log import Log
from plugin.node.memory import Memory, host_name
from plugin.start import ordinary, warm
from plugin.start.warm import Request
from tests.support import recorder, timeup
from tests.support.recorder import DUPLICATE, RESULT, Called
from tests.support.runtime import Answer, Call, Config, Pod, run

POD = Pod("web-0")
OTHER_POD = Pod("web-1")
ANNOTATION = "example.com/ranges"
NO_VERBS = """
class Replaced:
    def find_spec(self, name, path=None, target=None):
        if name == "plugin.verbs":
            raise ImportError
sys.meta_path.insert(0, Replaced())
"""


class Way(NamedTuple):
    """What came of one ADD: our answer, and how the next plugin was called."""

    status: int
    answer: bytes
    calls: list[Called]


def requested(call: Call) -> Request:
    """The request that a process gets by this call."""
    request = Request(call.argv[-1:])
    request.environ, request.raw = call.environ, call.stdin
    return request


class Stage:
    """A node, and the two ways an ADD can go on it."""

    def __init__(self, directory: Path) -> None:
        self.node = recorder.make(directory)
        self.seen = 0

    def call(self, config: Config, pod: Pod = POD, **environ: str) -> Call:
        """An ADD as a runtime calls it."""
        return self.node.runtime().call("ADD", config, pod, **environ)

    def new_calls(self) -> list[Called]:
        """How the next plugin was called since the last question."""
        calls = self.node.next.calls()[self.seen :]
        self.seen += len(calls)
        return calls

    def ordinary(self, call: Call) -> Way:
        """The ADD by the ordinary way."""
        return Way(*verbs.answer(call.argv[-1], "ADD", call.environ, call.stdin), self.new_calls())

    def short(self, call: Call) -> Way | None:
        """The ADD by the short way; None when that has nothing to say, and then nothing was called."""
        request = requested(call)
        alike = warm.add(request)
        calls = self.new_calls()
        if not request.entry:
            assert calls == []
            return None
        return Way(0, request.answer, calls) if alike else Way(*ordinary.conclude(request), calls)

    def entry(self) -> Path:
        """The file of the only request that is remembered."""
        (found,) = Path(self.node.cache).glob("warm-*")
        return found

    def annotated(self, text: str, **environ: str) -> dict[str, str]:
        """The environment in which the Node is known to have this annotation."""
        config = self.node.directory / "node-annotation.conf"
        config.write_text(json.dumps({"nextipam": self.node.next.path}), encoding="utf-8")
        environ = {**self.node.runtime().environ, "NODE_ANNOTATION_CFG": str(config), **environ}
        chosen = Settings(environ, Log(), "")
        facts = Facts("a", "u", "hostname", [], {ANNOTATION: text}, time.time(), host_name=host_name())
        Memory(chosen).keep(facts)
        return environ


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A node with a recording host-local."""
    return Stage(tmp_path)


CONFIGS: list[dict[str, Any]] = [
    {},
    {"cniVersion": "0.3.1"},
    {"cniVersion": "1.1.0"},
    {"dns": {"nameservers": ["10.0.0.10"]}, "isDefaultGateway": True, "unknown": [None, 1.5, "ä€😀\u0000"]},
    {"runtimeConfig": {"ips": ["10.9.0.9"]}, "args": {"cni": {"ips": ["10.9.0.8/24"]}}},
    {"prevResult": {"cniVersion": "1.0.0", "ips": []}},
    {"big": "x" * 200_000},
]


@pytest.mark.parametrize("more", CONFIGS)
def test_same_bytes(stage: Stage, more: dict[str, Any]) -> None:
    """For the same request, both ways give host-local the same bytes and environment, and the caller its answer."""
    call = stage.call({**stage.node.config(routes=[{"dst": "0.0.0.0/0"}]), **more})
    first = stage.ordinary(call)
    short = stage.short(call)
    again = stage.ordinary(call)

    assert short is not None
    assert short.calls == first.calls == again.calls
    assert (short.status, json.loads(short.answer)) == (0, json.loads(first.answer))
    (called,) = short.calls
    given = {key: value for key, value in called.environ.items() if key not in ("PWD", "OLDPWD", "_", "SHLVL")}
    assert given == call.environ
    assert json.loads(called.stdin)["ipam"]["ranges"] == [[{"subnet": "10.9.0.0/24"}]]


def test_same_bytes_for_node_annotation(stage: Stage) -> None:
    """The same for the other type, and the attachment is recorded with what it was given."""
    environ = stage.annotated('ranges: [[{"subnet": "10.8.0.0/24"}]], dataDir: "/run/x"')
    config = {"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "node-annotation", "annotation": ANNOTATION}}
    first, other = (stage.call(config, pod, **environ) for pod in (POD, OTHER_POD))
    ordinary = stage.ordinary(first)
    short = stage.short(other)

    assert short is not None
    assert (short.answer, short.calls[0].stdin) == (ordinary.answer, ordinary.calls[0].stdin)
    store = Cache(stage.node.cache)
    texts = [store.target(entries.attachment(call.environ, "net")).split() for call in (first, other)]
    assert [text[2] for text in texts] == [call.environ["CNI_NETNS"] for call in (first, other)]
    used = [text[0] for text in texts]
    assert used[0] == used[1]
    assert json.loads(store.read(used[0]) or b"")["ipam"]["dataDir"] == "/run/x"


def test_another_pod_of_the_same_network(stage: Stage) -> None:
    """The pod is in the environment, not in the bytes: every pod of a network takes the short way."""
    config = stage.node.config()
    stage.ordinary(stage.call(config))
    short = stage.short(stage.call(config, OTHER_POD))

    assert short is not None
    assert short.calls[0].environ["CNI_CONTAINERID"] == OTHER_POD.container


def test_two_networks(stage: Stage) -> None:
    """Each network's request is remembered by itself. (A new store is looked at by all: see records.)"""
    calls = [stage.call({**stage.node.config(), "name": name}) for name in ("one", "two")]
    for call in calls:
        stage.ordinary(call)
    ordinary = [stage.ordinary(call) for call in calls]
    assert [stage.short(call) for call in calls] == ordinary


def test_nothing_is_known_at_first(stage: Stage) -> None:
    """A request that was never seen takes the ordinary way, and looking leaves nothing behind."""
    assert stage.short(stage.call(stage.node.config())) is None
    assert not os.path.exists(stage.node.cache)


def move_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the clock show another time."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + seconds)


@pytest.mark.parametrize(
    "seconds",
    [
        31,
        86400,
        10**9,
        -60,
        -3600,
        -86000,
        -2 * 86400,
        -(10**9),
    ],
)
def test_clock(stage: Stage, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """After cacheSeconds, and after a clock was set back by any amount, the ordinary way asks anew."""
    call = stage.call(stage.node.config())
    stage.ordinary(call)
    move_clock(monkeypatch, seconds)
    assert stage.short(call) is None


def test_within_cache_seconds(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then the short way is taken."""
    call = stage.call(stage.node.config(cacheSeconds=100))
    stage.ordinary(call)
    move_clock(monkeypatch, 90)
    assert stage.short(call) is not None


def replace_pinned(stage: Stage) -> None:
    """Put another kube-node.json in place, of the same size and time."""
    path = stage.node.directory / "data" / "kube-node.json"
    before = path.stat()
    new = path.with_suffix(".new")
    new.write_text(path.read_text().replace("10.9.0.0", "10.7.0.0"))
    os.utime(new, ns=(before.st_mtime_ns, before.st_mtime_ns))
    new.rename(path)


def rewrite_pinned(stage: Stage) -> None:
    """Write into the kube-node.json that is there."""
    path = stage.node.directory / "data" / "kube-node.json"
    path.write_text('{"ranges": [[{"subnet": "10.99.0.0/24"}]]}')


def remove_pinned(stage: Stage) -> None:
    """Remove kube-node.json."""
    (stage.node.directory / "data" / "kube-node.json").unlink()


def remove_host_local(stage: Stage) -> None:
    """Take host-local away."""
    os.unlink(stage.node.next.path)


def open_directory(stage: Stage) -> None:
    """Let others look into the cache."""
    os.chmod(stage.node.cache, 0o755)


def link_directory(stage: Stage) -> None:
    """Put a link in place of the cache directory."""
    os.rename(stage.node.cache, stage.node.cache + "-moved")
    os.symlink(stage.node.cache + "-moved", stage.node.cache)


def link_entry(stage: Stage) -> None:
    """Put a link in place of the entry."""
    entry = stage.entry()
    entry.rename(entry.with_name("elsewhere"))
    entry.symlink_to("elsewhere")


def remove_directory(stage: Stage) -> None:
    """Remove the cache."""
    shutil.rmtree(stage.node.cache)


GUARDS = [
    replace_pinned,
    rewrite_pinned,
    remove_pinned,
    remove_host_local,
    open_directory,
    link_directory,
    link_entry,
    remove_directory,
]


@pytest.mark.parametrize("change", GUARDS)
def test_guards(stage: Stage, change: Callable[[Stage], None]) -> None:
    """Whatever the answer rests on: once it has changed, or cannot be trusted, the ordinary way is taken."""
    call = stage.call(stage.node.config())
    stage.ordinary(call)
    change(stage)
    assert stage.short(call) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_directory_of_somebody_else(stage: Stage) -> None:
    """A cache that another user could have written is not read."""
    call = stage.call(stage.node.config())
    stage.ordinary(call)
    os.chown(stage.node.cache, 1, -1)
    assert stage.short(call) is None


def test_every_damaged_byte(stage: Stage) -> None:
    """An entry with a wrong byte anywhere, or cut off anywhere, is none."""
    call = stage.call(stage.node.config())
    stage.ordinary(call)
    entry = stage.entry()
    whole = entry.read_bytes()
    wrong = []
    for place in range(len(whole)):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :]):
            entry.write_bytes(damaged)
            if warm.find(requested(call)):
                wrong.append(place)
    assert wrong == []
    assert stage.new_calls() == []


@pytest.mark.parametrize("name", ["CNI_PATH", "PATH", "HOME", "KUBECONFIG", "NODE_NAME", "NODE_ANNOTATION_CFG"])
def test_environment_that_matters(stage: Stage, name: str) -> None:
    """Another value of a variable that decides about the answer is another request."""
    config = stage.node.config()
    call = stage.call(config)
    stage.ordinary(call)
    environ = {**call.environ, name: call.environ.get(name, "") + "/x"}
    assert stage.short(call._replace(environ=environ)) is None
    assert stage.short(call) is not None


@pytest.mark.parametrize("stdin", [b"", b"{}", b" "])
def test_other_bytes(stage: Stage, stdin: bytes) -> None:
    """Other bytes are another request, even if they mean the same."""
    call = stage.call(stage.node.config())
    stage.ordinary(call)
    assert stage.short(call._replace(stdin=stdin + call.stdin if stdin.isspace() else stdin)) is None


def test_other_program(stage: Stage) -> None:
    """The other plugin, or the same in another place, is another request."""
    call = stage.call(stage.node.config())
    stage.ordinary(call)
    for name in ("node-annotation", "elsewhere/kube-node"):
        assert stage.short(call._replace(argv=(str(stage.node.directory / name),))) is None


def test_bytes_are_compared_and_not_their_digest(stage: Stage) -> None:
    """A request that happens to have the digest of another one does not get its answer."""
    call = stage.call(stage.node.config())
    other = call._replace(stdin=call.stdin.replace(b'"net"', b'"ten"'))
    stage.ordinary(call)
    known = warm.key(other.argv[-1], other.environ, other.stdin)
    stage.entry().rename(stage.entry().with_name("warm-" + digest(known)))
    assert stage.short(other) is None


DUAL = '{"ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd00:9::/64"}]]}'


def test_namespaces(stage: Stage) -> None:
    """Where the namespace decides about IPv4, each namespace has its own answer."""
    config = stage.node.config("1.0.0", **{"ipv4-namespaces": ["old"]})
    (stage.node.directory / "data" / "kube-node.json").write_text(DUAL)
    old, default, none = (stage.call(config, Pod("a", namespace)) for namespace in ("old", "default", "other"))
    stage.ordinary(old)
    assert stage.short(default) is None
    stage.ordinary(default)
    counts = []
    for call in (old, default):
        short = stage.short(call)
        assert short is not None
        counts.append(len(json.loads(short.calls[0].stdin)["ipam"]["ranges"]))
    assert counts == [2, 1]
    assert stage.short(none) is None


def test_namespaces_written_with_an_escape(stage: Stage) -> None:
    """A key that the bytes do not show as it is read is not remembered: the namespace would be overlooked."""
    config = stage.node.config("1.0.0", **{"ipv4-namespaces": ["old"]})
    (stage.node.directory / "data" / "kube-node.json").write_text(DUAL)
    call = stage.call(config, Pod("a", "old"))
    call = call._replace(stdin=call.stdin.replace(b"ipv4-namespaces", b"ipv4\\u002dnamespaces"))
    assert stage.ordinary(call).status == 0
    assert stage.short(call) is None


@pytest.mark.parametrize("key", ["cacheSeconds", "logfile", "cacheDir"])
def test_not_remembered(stage: Stage, key: str, tmp_path: Path) -> None:
    """Where every pod asks anew or leaves a log line, and where the cache is elsewhere, nothing is remembered."""
    value: Any = 0 if key == "cacheSeconds" else str(tmp_path / key)
    call = stage.call(stage.node.config("1.0.0", **{key: value}))
    assert stage.ordinary(call).status == 0
    assert list(Path(stage.node.cache).glob("warm-*")) == []
    assert stage.short(call) is None


def test_no_cache_directory(stage: Stage) -> None:
    """Without a place to remember anything each request takes the ordinary way, and works."""
    Path(stage.node.cache).write_text("no directory")
    call = stage.call(stage.node.config())
    assert stage.ordinary(call).status == 0
    assert stage.short(call) is None


def test_attachment_that_cannot_be_remembered(stage: Stage) -> None:
    """Where the cache cannot take down what the DEL will need, the ordinary way is taken."""
    environ = stage.annotated('ranges: [[{"subnet": "10.8.0.0/24"}]]')
    config = {"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "node-annotation", "annotation": ANNOTATION}}
    call = stage.call(config, POD, **environ)
    stage.ordinary(call)
    name = Path(stage.node.cache, entries.attachment(call.environ, "net"))
    name.unlink()
    name.mkdir()
    assert stage.short(call) is None


def test_attachment_that_is_elsewhere(stage: Stage) -> None:
    """An attachment that is on record with another store goes the ordinary way, and stays on record."""
    (stage.node.directory / "other").mkdir()
    (stage.node.directory / "other" / "kube-node.json").write_text(DUAL)
    here, there = stage.node.config(), stage.node.config(dataDir=str(stage.node.directory / "other"))
    stage.ordinary(stage.call(here, POD))
    stage.ordinary(stage.call(there, OTHER_POD))
    call = stage.call(there, POD)
    name = entries.attachment(call.environ, "net")
    before = Cache(stage.node.cache).target(name)

    assert stage.short(call) is None
    assert stage.short(stage.call(there, OTHER_POD)) is not None
    assert Cache(stage.node.cache).target(name) == before


def test_attachment_that_is_not_on_record(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ADD whose attachment could not be recorded is not remembered: the next one would not be recorded, either."""
    monkeypatch.setattr(Cache, "link", lambda *_: False)
    call = stage.call(stage.node.config())
    assert stage.ordinary(call).status == 0
    monkeypatch.undo()
    assert stage.short(call) is None


def test_old_entries_go(stage: Stage) -> None:
    """An entry that nobody needs any more is removed when another one is made."""
    first, second = (stage.call({**stage.node.config(), "name": name}) for name in ("one", "two"))
    stage.ordinary(first)
    old = stage.entry()
    os.utime(old, (time.time() - 4000,) * 2)
    stage.ordinary(second)
    assert stage.entry() != old


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", ""),
        ("K8S_POD_NAMESPACE=a", "a"),
        ("IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b", "a"),
        ("XK8S_POD_NAMESPACE=a", ""),
        ("K8S_POD_NAMESPACE", ""),
        ("K8S_POD_NAMESPACE=", ""),
        ("K8S_POD_NAMESPACE=a=b", "a=b"),
        (";;K8S_POD_NAMESPACE=a;", "a"),
        ("k8s_pod_namespace=a", ""),
    ],
)
def test_argument(arguments: str, expected: str) -> None:
    """One key of CNI_ARGS, wherever it stands."""
    assert process.argument({"CNI_ARGS": arguments}, "K8S_POD_NAMESPACE") == expected


def test_attachment_names() -> None:
    """Each attachment has a name of its own that is a file name, however long its container's id is."""
    pairs = [("c1", "eth0"), ("c1", "net1"), ("c2", "eth0"), ("c" * 250, "eth0"), ("c" * 251, "eth0")]
    names = [entries.attachment({"CNI_CONTAINERID": one, "CNI_IFNAME": other}, "net") for one, other in pairs]
    assert len(set(names)) == len(pairs)
    assert all(len(name) <= 240 and "/" not in name and name.startswith("at:") for name in names)


def test_attachment_name_of_an_odd_interface() -> None:
    """An interface whose name is no UTF-8 has a name in the cache, too."""
    assert entries.attachment({"CNI_CONTAINERID": "c" * 250, "CNI_IFNAME": "\udcff"}, "net")


def test_signature(tmp_path: Path) -> None:
    """A file's signature changes with it, and is empty when it is not there."""
    path = tmp_path / "file"
    signatures = [entries.signature(str(path))]
    for text in ("a", "bb"):
        path.write_text(text)
        signatures.append(entries.signature(str(path)))
    path.rename(tmp_path / "old")
    path.write_text("bb")
    signatures.append(entries.signature(str(path)))
    assert signatures[0] == ""
    assert len(set(signatures)) == 4


ADDRESS = '"address": "10.9.0.2/24",'


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (ADDRESS, True),
        ('"address": "10.9.0.77/24",', True),
        ('"address": "1100:0:0:1::ab/64",', True),
        ('"address": "::ffff:10.9.0.2/120",', True),
        ('"address": "x",', False),
        ('"address": "10.9.0.2/24, ', False),
        ('"address": 10,', False),
        ('"gateway": "10.9.0.9",', False),
        ("", False),
        (ADDRESS + "\n" + ADDRESS, False),
    ],
)
def test_alike(line: str, expected: bool) -> None:
    """Two results are alike when they differ in their addresses only."""
    other = RESULT.replace(ADDRESS, line)
    for answer, last in ((other, RESULT), (RESULT, other)):
        found = warm.new_addresses(answer.encode(), last.encode())
        assert (found is not None) == expected
        assert found is None or b", ".join(found).decode() in answer


@pytest.mark.parametrize(
    "line",
    [
        '"address": "10.9.0.2/24"',
        '"address": "10.9.0.2/24",,',
        '"address": "1","2",',
        '"address": 1, "2": "",',
        '"address',
        '\\"address": "10.9.0.2/24",',
        '"address" "10.9.0.2/24",',
    ],
)
def test_alike_and_broken(line: str) -> None:
    """A line that makes the result no JSON is no address: there is one pair of quotes, and a comma as before."""
    assert warm.new_addresses(RESULT.replace(ADDRESS, line).encode(), RESULT.encode()) is None


# How host-local may end: (what it prints, what it does then, the commands that it gets in all).
ENDS = [
    (RESULT, "exit 0", ["ADD"]),
    (DUPLICATE, "exit 1", ["ADD"]),
    ('{"code": 999, "msg": "no IP addresses available"}', "exit 1", ["ADD"]),
    ('{"code": 11, "msg": "later"}', "exit 3", ["ADD"]),
    ("", "exit 0", ["ADD", "DEL"]),
    ("", "exit 1", ["ADD", "DEL"]),
    ("garbage", "exit 0", ["ADD", "DEL"]),
    ("garbage", "exit 2", ["ADD", "DEL"]),
    ("[1]", "exit 0", ["ADD", "DEL"]),
    (RESULT[:60], "exit 0", ["ADD", "DEL"]),
    (RESULT[:60], "exit 1", ["ADD", "DEL"]),
    (RESULT, "exit 1", ["ADD", "DEL"]),
    (RESULT + '{"code": 8, "msg": "netns"}', "exit 1", ["ADD", "DEL"]),
    ("", "kill -9 $$", ["ADD", "DEL"]),
    (RESULT, "kill -9 $$", ["ADD", "DEL"]),
    ("", "exec sleep 60", ["ADD", "DEL"]),
    (RESULT, "exec sleep 60", ["ADD", "DEL"]),
]
# What begins with { and ends with } and yet is no result.
BRACED = [
    ("{garbage}", "exit 0", ["ADD", "DEL"]),
    (RESULT[: RESULT.index("}") + 1], "exit 0", ["ADD", "DEL"]),
    (RESULT + RESULT, "exit 0", ["ADD", "DEL"]),
    (DUPLICATE, "exit 0", ["ADD"]),
    ('{"code": 7, "msg": "x"}', "exit 0", ["ADD", "DEL"]),
]


def both_ways(stage: Stage, version: str, printed: str, then: str) -> tuple[list[Answer], list[list[Called]]]:
    """The same request by the short way and by the ordinary one, in processes of their own; and the calls of each."""
    hangs = stage.node.directory / "hangs"
    config = stage.node.config(version)
    stage.ordinary(stage.call(config))
    stage.node.next.answers("ADD", printed, then.replace("exec sleep", f"touch '{hangs}'; exec sleep"))
    answers, calls = [], []
    for before in (timeup.statements(hangs) + NO_VERBS, timeup.statements(hangs)):
        hangs.unlink(missing_ok=True)
        answers.append(run(stage.node.runtime(before).call("ADD", config, POD)))
        calls.append(stage.new_calls())
        for entry in Path(stage.node.cache).glob("warm-*"):
            entry.unlink()
    return answers, calls


def told(calls: list[Called]) -> list[tuple[str, bytes, str]]:
    """Command, standard input and container of each call."""
    return [(call.command, call.stdin, call.environ["CNI_CONTAINERID"]) for call in calls]


@pytest.mark.parametrize(("printed", "then", "commands"), ENDS)
def test_every_end_of_host_local(stage: Stage, printed: str, then: str, commands: list[str]) -> None:
    """However host-local ends, both ways give the caller the same answer and undo the same."""
    (short, ordinary), (short_calls, ordinary_calls) = both_ways(stage, "1.0.0", printed, then)

    assert (short.status, short.stdout) == (ordinary.status, ordinary.stdout)
    assert told(short_calls) == told(ordinary_calls)
    assert [call.command for call in short_calls] == commands
    assert isinstance(json.loads(short.stdout), dict)
    assert short.stderr == ordinary.stderr == ""


@pytest.mark.parametrize(("printed", "then", "commands"), BRACED)
def test_every_end_in_braces(stage: Stage, printed: str, then: str, commands: list[str]) -> None:
    """The same for what only looks like a result."""
    test_every_end_of_host_local(stage, printed, then, commands)


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.1.0"])
@pytest.mark.parametrize(
    ("printed", "then"),
    [
        (RESULT, "exit 0"),
        (DUPLICATE, "exit 1"),
        ("garbage", "exit 0"),
        ("", "kill -9 $$"),
    ],
)
def test_version_of_the_answer(stage: Stage, version: str, printed: str, then: str) -> None:
    """In every version of the protocol, both ways say the same."""
    (short, ordinary), _ = both_ways(stage, version, printed, then)
    assert (short.status, json.loads(short.stdout)) == (ordinary.status, json.loads(ordinary.stdout))


@pytest.mark.parametrize("answer", [RESULT, RESULT.replace(" ", ""), RESULT.replace("1.0.0", "1.1.0")])
def test_relabelled_answers(stage: Stage, answer: str) -> None:
    """However host-local writes its version, the answer to a 1.1.0 request says 1.1.0, on both ways."""
    answers, _ = both_ways(stage, "1.1.0", answer, "exit 0")
    expected = {**json.loads(RESULT), "cniVersion": "1.1.0"}
    assert [json.loads(each.stdout) for each in answers] == [expected, expected]


def test_host_local_that_cannot_be_run(stage: Stage) -> None:
    """A host-local that is no program any more is the same error on both ways."""
    config = stage.node.config()
    stage.ordinary(stage.call(config))
    os.chmod(stage.node.next.path, 0o644)
    short = run(stage.node.runtime(NO_VERBS).call("ADD", config, POD))
    stage.entry().unlink()
    ordinary = run(stage.node.runtime().call("ADD", config, POD))

    assert (short.status, short.stdout) == (ordinary.status, ordinary.stdout)
    assert "cannot be run" in short.document()["msg"]


def test_short_way_leaves_the_cache_alone(stage: Stage) -> None:
    """An ADD by the short way writes nothing."""
    call = stage.call(stage.node.config())
    stage.ordinary(call)
    before = {path.name: path.lstat().st_mtime_ns for path in Path(stage.node.cache).iterdir()}
    assert stage.short(call) is not None
    assert {path.name: path.lstat().st_mtime_ns for path in Path(stage.node.cache).iterdir()} == before
