"""GC: exactly the stale leases go, and nothing goes when it is not clear which those are."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from plugin import deadline, process
from plugin.cache import Cache
from plugin.cni import Request
from plugin.errors import INVALID_CONFIG, PLUGIN_FAILURE, CniError
from plugin.leases import garbage
from plugin.leases.evidence import results
from plugin.log import Log
from tests.support.fakeproc import FakeProc
from tests.support.recorder import Recorder

KEY = "cni.dev/valid-attachments"
OLD_KEY = "cni.dev/attachments"
AGO = time.time() - 3600


@pytest.fixture(autouse=True)
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProc:
    """A machine without containers."""
    monkeypatch.setattr(results, "DIRECTORIES", (str(tmp_path / "results"),))
    return FakeProc(tmp_path, monkeypatch)


def pair(container: object, interface: object) -> dict[str, object]:
    """One entry of the list of valid attachments."""
    return {"containerID": container, "ifname": interface}


BOTH = {("c1", "eth0"), ("c2", "eth0")}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, None),
        ({KEY: None}, set()),
        ({KEY: []}, set()),
        ({KEY: [pair("c1", "eth0")]}, {("c1", "eth0")}),
        ({KEY: [pair("c1", "eth0"), pair("c1", "net1"), pair("c1", "eth0")]}, {("c1", "eth0"), ("c1", "net1")}),
        ({KEY: [{**pair("c1", "eth0"), "more": 1}]}, {("c1", "eth0")}),
        ({OLD_KEY: [pair("c1", "eth0")]}, {("c1", "eth0")}),
        ({OLD_KEY: None}, set()),
        ({KEY: [pair("c1", "eth0"), pair("c2", "eth0")], OLD_KEY: [pair("c2", "eth0"), pair("c1", "eth0")]}, BOTH),
        ({KEY: None, OLD_KEY: []}, set()),
        ({"CNI.dev/valid-attachments": []}, None),
    ],
)
def test_valid_attachments(config: dict[str, Any], expected: set[tuple[str, str]] | None) -> None:
    """No key: nobody says. null, Go's empty list, and []: none is valid. Both names of the key are known."""
    assert garbage.valid_attachments(config) == expected


UNCLEAR: list[Any] = [
    "c1",
    0,
    False,
    True,
    {},
    [None],
    [[]],
    ["c1"],
    [{}],
    [{"containerID": "c1"}],
    [{"ifname": "eth0"}],
    [pair("", "eth0")],
    [pair("c1", "")],
    [pair(1, "eth0")],
    [pair("c1", None)],
    [pair(["c1"], {})],
    [pair("c1", "eth0"), None],
    pair("c1", "eth0"),
]


@pytest.mark.parametrize("listed", UNCLEAR)
def test_list_that_is_none(tmp_path: Path, listed: object) -> None:
    """A list in which anything is not as it should be is an error, and not one lease is touched."""
    node = Node(tmp_path)
    node.lease("10.9.0.2", "c1\r\neth0")
    with pytest.raises(CniError) as caught:
        node.collect({KEY: listed})
    assert (caught.value.code, KEY in caught.value.msg) == (INVALID_CONFIG, True)
    assert node.next.calls() == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (None, [pair("c1", "eth0")]),
        ([], [pair("c1", "eth0")]),
        ([pair("c1", "eth0")], None),
        ([pair("c1", "eth0")], [pair("c1", "net1")]),
        ([pair("c1", "eth0")], [pair("c1", "eth0"), pair("c2", "eth0")]),
        ([pair("c1", "eth0")], "c1"),
        (0, [pair("c1", "eth0")]),
    ],
)
def test_lists_that_contradict_each_other(tmp_path: Path, proc: FakeProc, first: object, second: object) -> None:
    """Two keys that do not say the same are an error, and not one lease is touched."""
    node = Node(tmp_path)
    for number, container in ((2, "c1"), (3, "c2"), (4, "c3")):
        node.lease(f"10.9.0.{number}", f"{container}\r\neth0")
    with pytest.raises(CniError) as caught:
        node.collect({KEY: first, OLD_KEY: second})
    assert (caught.value.code, node.next.calls()) == (INVALID_CONFIG, [])


def test_container_that_is_alive(tmp_path: Path, proc: FakeProc) -> None:
    """A runtime that has lost its state lists nothing: what a process names is kept, and the log says why."""
    node = Node(tmp_path)
    for number, container in ((2, "live"), (3, "dead"), (4, "half")):
        node.lease(f"10.9.0.{number}", f"{container}\r\neth0")
    node.lease("10.9.0.5", "half\r\nnet1")
    for pid, container in ((4711, "live"), (4712, "half")):
        proc.process(pid, cgroup=f"/cri-containerd-{container}.scope")

    node.collect({KEY: [pair("half", "eth0")]})

    assert sorted(node.freed()) == [("dead", "eth0"), ("half", "net1")]
    kept = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if "keeps" in line]
    assert [each["container"] for each in kept] == ["live"]
    assert kept[0]["msg"].endswith("process 4711 (pause) names the container")


def test_records(tmp_path: Path, proc: FakeProc) -> None:
    """The record of a released lease is removed; a record whose network namespace exists keeps the lease."""
    node = Node(tmp_path)
    cache = Cache(str(tmp_path / "cache"))
    cache.write("used-1", b'{"program": "/bin/host-local", "network": "net", "ipam": {}}')
    for number, (container, netns) in enumerate({"live": proc.namespace("a"), "dead": proc.gone("b")}.items(), 2):
        node.lease(f"10.9.0.{number}", f"{container}\r\neth0")
        cache.link(f"at:{container}:eth0:net", f"used-1 5 {netns}")
    node.collect({KEY: None})

    assert node.freed() == [("dead", "eth0")]
    assert cache.starting_with("at:") == ["at:live:eth0:net"]


def test_processes_that_cannot_be_seen(tmp_path: Path, proc: FakeProc) -> None:
    """In doubt nothing is freed."""
    node = Node(tmp_path)
    node.lease("10.9.0.2", "c1\r\neth0")
    (proc.directory / "self").unlink()
    node.collect({KEY: []})
    assert node.freed() == []


class Node:
    """A store, and a host-local that records what it is told to free."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self.store = self.data / "net"
        self.store.mkdir(parents=True)
        self.next = Recorder(directory)
        self.log = Log(str(directory / "log"))
        self.environ = {"CNI_COMMAND": "GC", "CNI_PATH": str(directory), "CNI_ARGS": "", "X": "y"}
        self.environ["NODE_IPAM_CACHE"] = str(directory / "cache")

    def lease(self, address: str, content: str, reserved: float = AGO) -> None:
        """A lease as host-local keeps it."""
        (self.store / address).write_bytes(content.encode())
        os.utime(self.store / address, (reserved, reserved))

    def collect(self, config: dict[str, Any], *data_dirs: str) -> None:
        """A GC with this in its configuration."""
        config = {"cniVersion": "1.1.0", "name": "net", "ipam": {"type": "kube-node"}, **config}
        request = Request(os.path.join(os.path.dirname(self.next.path), "kube-node"), "GC", self.environ, b"", config)
        garbage.collect(request, self.next.path, data_dirs or [str(self.data)], self.log)

    def freed(self) -> list[tuple[str, str]]:
        """The attachments for which there was a DEL."""
        return [(call.environ["CNI_CONTAINERID"], call.environ["CNI_IFNAME"]) for call in self.next.calls()]


def test_stale_leases_go(tmp_path: Path) -> None:
    """Each attachment that is not valid is freed once, by a DEL as the runtime would have sent it; valid ones stay."""
    node = Node(tmp_path)
    for address, content in (
        ("10.9.0.2", "valid\r\neth0"),
        ("10.9.0.3", "stale\r\neth0"),
        ("fd00::3", "stale\r\neth0"),
        ("10.9.0.4", "valid\r\nnet1"),
        ("10.9.0.5", "other\r\neth0"),
    ):
        node.lease(address, content)
    node.collect({KEY: [pair("valid", "eth0")]})

    assert sorted(node.freed()) == [("other", "eth0"), ("stale", "eth0"), ("valid", "net1")]
    call = node.next.calls()[0]
    assert call.command == "DEL"
    assert {name: call.environ[name] for name in ("CNI_NETNS", "CNI_ARGS", "X")} == {
        "CNI_NETNS": "",
        "CNI_ARGS": "IgnoreUnknown=1",
        "X": "y",
    }
    assert json.loads(call.stdin) == {
        "cniVersion": "1.0.0",
        "name": "net",
        "ipam": {"type": "host-local", "dataDir": str(node.data), "ranges": [[{"subnet": "192.0.2.0/24"}]]},
    }


@pytest.mark.parametrize("nothing", [None, []])
def test_no_attachment_is_valid(tmp_path: Path, nothing: object) -> None:
    """An empty list means all are stale."""
    node = Node(tmp_path)
    node.lease("10.9.0.2", "c1\r\neth0")
    node.collect({KEY: nothing})
    assert node.freed() == [("c1", "eth0")]


def test_nobody_says(tmp_path: Path) -> None:
    """Without the key nothing is freed."""
    node = Node(tmp_path)
    node.lease("10.9.0.2", "c1\r\neth0")
    node.collect({})
    assert node.freed() == []


def test_leases_of_before_the_interface_was_written(tmp_path: Path) -> None:
    """A lease with a container only is in use as long as any attachment of that container is."""
    node = Node(tmp_path)
    node.lease("10.9.0.2", "valid")
    node.lease("10.9.0.3", "stale")
    node.collect({KEY: [pair("valid", "net7")]})
    assert node.freed() == [("stale", "eth0")]


def test_what_is_no_lease_stays(tmp_path: Path) -> None:
    """host-local's own files, foreign ones, and leases that name nobody are left alone."""
    node = Node(tmp_path)
    for name in ("lock", "last_reserved_ip.0", "kube-node.json", "notes"):
        node.lease(name, "c1\r\neth0")
    node.lease("10.9.0.2", "")
    before = sorted(os.listdir(node.store))
    node.collect({KEY: []})
    assert (node.freed(), sorted(os.listdir(node.store))) == ([], before)


def test_lease_made_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was reserved since this process began cannot be in the list, which takes its time to come in."""
    node = Node(tmp_path)
    monkeypatch.setattr(process, "STARTED", time.time() - 30)
    node.lease("10.9.0.2", "new\r\neth0", time.time() - 20)
    node.lease("10.9.0.3", "old\r\neth0", time.time() - 40)
    node.lease("10.9.0.4", "later\r\neth0", time.time() + 60)
    node.collect({KEY: []})
    assert node.freed() == [("old", "eth0")]


def test_damaged_leases_hinder_no_other(tmp_path: Path) -> None:
    """Of a file full of zeros nobody can tell whose it is; the others are released all the same."""
    node = Node(tmp_path)
    node.lease("10.9.0.2", "\0" * 70)
    node.lease("10.9.0.3", "old\r\neth0")
    node.lease("10.9.0.4", "zeros\r\n\0\0\0\0")
    node.lease("10.9.0.5", "no\0container\r\neth0")
    node.collect({KEY: []})
    assert node.freed() == [("old", "eth0"), ("zeros", "eth0")]


def test_goes_on_past_errors(tmp_path: Path) -> None:
    """Each stale lease is tried; then there is one error that names all that failed."""
    node = Node(tmp_path)
    for number, container in ((2, "a"), (3, "b"), (4, "c")):
        node.lease(f"10.9.0.{number}", f"{container}\r\neth0")
    node.next.does("DEL", """[ $CNI_CONTAINERID = b ] || { echo '{"code": 999, "msg": "no luck"}'; exit 1; }""")
    with pytest.raises(CniError) as caught:
        node.collect({KEY: []})

    assert (caught.value.code, node.freed()) == (PLUGIN_FAILURE, [("a", "eth0"), ("b", "eth0"), ("c", "eth0")])
    assert caught.value.msg == "2 stale leases could not be released"
    assert caught.value.details == "a eth0: no luck; c eth0: no luck"


def test_deadline(tmp_path: Path) -> None:
    """At the deadline the rest is left for the next GC, and the error names the plugin that did not end."""
    node = Node(tmp_path)
    for number in (2, 3):
        node.lease(f"10.9.0.{number}", f"c{number}\r\neth0")
    node.next.does("DEL", "kill -ALRM $PPID; exec sleep 60")
    with deadline.within(60), pytest.raises(CniError, match="host-local gave no answer in time"):
        node.collect({KEY: []})
    assert len(node.freed()) == 1


def test_many_errors_are_one_of_readable_length(tmp_path: Path) -> None:
    """The error does not grow with the number of leases."""
    node = Node(tmp_path)
    for number in range(100):
        node.lease(f"10.9.0.{number}", f"{number}{'x' * 60}\r\neth0")
    os.unlink(node.next.path)
    with pytest.raises(CniError) as caught:
        node.collect({KEY: []})
    assert caught.value.msg.startswith("100 ")
    assert len(caught.value.details) <= 2000


def test_host_local_is_missing_only_when_it_is_needed(tmp_path: Path) -> None:
    """With nothing stale, GC needs no host-local."""
    node = Node(tmp_path)
    os.unlink(node.next.path)
    node.lease("10.9.0.2", "c1\r\neth0")
    node.collect({KEY: [pair("c1", "eth0")]})


def test_several_stores(tmp_path: Path) -> None:
    """Every directory is looked through, and each DEL names its own; one that is not there has no leases."""
    node = Node(tmp_path)
    (tmp_path / "more" / "net").mkdir(parents=True)
    (tmp_path / "more" / "net" / "10.8.0.2").write_bytes(b"c2\r\neth0")
    os.utime(tmp_path / "more" / "net" / "10.8.0.2", (AGO, AGO))
    node.lease("10.9.0.2", "c1\r\neth0")
    node.collect({KEY: []}, str(node.data), str(tmp_path / "more"), str(tmp_path / "none"))

    told = [(call.environ["CNI_CONTAINERID"], json.loads(call.stdin)["ipam"]["dataDir"]) for call in node.next.calls()]
    assert told == [("c1", str(node.data)), ("c2", str(tmp_path / "more"))]


def test_other_networks_stay(tmp_path: Path) -> None:
    """Only the store of the network in question is looked at."""
    node = Node(tmp_path)
    (node.data / "other").mkdir()
    (node.data / "other" / "10.8.0.2").write_bytes(b"c2\r\neth0")
    node.collect({KEY: []})
    assert node.freed() == []


def test_released_leases_are_in_the_log(tmp_path: Path) -> None:
    """What was freed can be read later."""
    node = Node(tmp_path)
    node.lease("10.9.0.2", "c1\r\neth0")
    node.collect({KEY: []})
    line = json.loads((tmp_path / "log").read_text())
    assert (line["msg"], line["container"], line["interface"]) == ("stale lease released", "c1", "eth0")
