"""A lease is stale only if all evidence can be examined and none shows that its container is alive."""

from __future__ import annotations

import errno
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from plugin.errors import CniError
from plugin.leases.evidence import namespaces, verdict
from plugin.leases.evidence.results import Results
from plugin.leases.evidence.verdict import EMPTY, GRACE, NEW, STALE, UNKNOWN, USED, Evidence, Verdict
from plugin.leases.hostlocal import Lease
from plugin.leases.records import Record
from tests.support.fakeproc import FakeProc

OLD = GRACE + 60
DAY = 86400.0
ID = "3487734c933518dfd13d7e2a3629a5045e3fda3b8763441df22b0a35989dacd9"


class Machine:
    """A machine with the results of libcni, processes, and our own records."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proc = FakeProc(directory, monkeypatch)
        self.results = directory / "results"
        self.results.mkdir()
        self.records: list[Record] = []

    def result(self, container: str, network: str = "net", age: float = DAY, **more: Any) -> Path:
        """A result of libcni."""
        path = self.results / f"{network}-{container}-eth0"
        value = {"kind": "cniCacheV1", "containerId": container, "networkName": network, **more}
        path.write_text(json.dumps(value), encoding="ascii")
        os.utime(path, (time.time() - age,) * 2)
        return path

    def record(self, netns: str, made: float) -> None:
        """A record of our own ADD."""
        found = Record("", "host-local", "net", {})
        found.container, found.interface, found.netns, found.made = ID, "eth0", netns, made
        self.records.append(found)

    def judge(self, *leases: Lease, named: bool = False) -> list[Verdict]:
        """The verdicts of now."""
        return Evidence(Results([str(self.results)]), self.records).judge("net", leases, named)

    def state(self, container: str = ID, age: float = OLD, named: bool = False) -> tuple[str, bool]:
        """State and proof for one lease."""
        (found,) = self.judge(lease(container, age), named=named)
        return found.state, found.is_proof


def lease(container: str = ID, age: float = OLD, address: str = "10.0.0.2", interface: str = "eth0") -> Lease:
    """A lease of that age."""
    return Lease(address, container, interface, time.time() - age)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which the network is known."""
    made = Machine(tmp_path, monkeypatch)
    made.result("f" * 64, netns=made.proc.namespace("cni-f"))
    return made


def test_nothing_names_it(machine: Machine) -> None:
    """No result, no process, no namespace, old enough: stale, but that is no proof."""
    assert machine.state() == (STALE, False)
    assert machine.state(age=GRACE - 5) == (NEW, False)
    assert machine.state(age=-3600) == (NEW, False)


@pytest.mark.parametrize(
    "process",
    [
        {"cgroup": f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"},
        {"cgroup": f"/kubepods/besteffort/pod1/{ID}"},
        {"cgroup": f"/machine.slice/libpod-{ID}.scope/container"},
        {"cgroup": f"/../../system.slice/docker-{ID}.scope"},
        {
            "name": "containerd-shim",
            "cmdline": f"/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id {ID} -address x",
        },
        {"name": "conmon", "cmdline": f"/usr/bin/conmon --api-version 1 -c {ID} -u {ID} -r /usr/bin/crun"},
        {"name": "qemu-system-x86", "cmdline": f"/opt/kata/bin/qemu-system-x86_64 -name sandbox-{ID},debug-threads=on"},
        {"name": "bridge", "cmdline": "/opt/cni/bin/bridge", "environ": f"CNI_COMMAND=ADD CNI_CONTAINERID={ID} A=b"},
    ],
)
def test_process_that_names_it(machine: Machine, process: dict[str, str]) -> None:
    """A process of the container is life, whatever libcni's results say; so is a plugin that runs for it."""
    machine.proc.process(4711, **process)  # type: ignore[arg-type]

    assert machine.state() == (USED, False)
    assert machine.judge(lease())[0].evidence == f"process 4711 ({process.get('name', 'pause')}) names the container"
    machine.result(ID, netns=machine.proc.gone("cni-1"))
    assert machine.state() == (USED, False)


@pytest.mark.parametrize("other", ["live-10", "1live-1", "live-", "live", "live1"])
def test_process_that_names_another(machine: Machine, other: str) -> None:
    """Part of a longer id is not the id."""
    machine.proc.process(4711, cmdline=f"vm --id {other}", cgroup=f"/{other}")

    assert machine.state("live-1") == (STALE, False)


@pytest.mark.parametrize("more", [{"netns": "{}"}, {"result": {"interfaces": [{"name": "lo"}, {"sandbox": "{}"}]}}])
@pytest.mark.parametrize("network", ["net", "cni-loopback", "other"])
def test_namespace_of_a_result(machine: Machine, more: dict[str, Any], network: str) -> None:
    """A result proves nothing by itself: while its namespace exists it is life, afterwards it is proof of death."""
    path = machine.proc.namespace("cni-1")
    machine.result(ID, network, **json.loads(json.dumps(more).replace("{}", path)))

    assert machine.state() == (USED, False)
    machine.proc.gone("cni-1")
    assert machine.state() == (STALE, True)
    assert machine.state(age=GRACE - 5) == (NEW, False)


def test_namespace_of_a_record(machine: Machine) -> None:
    """So is that of our own record, when there is no result."""
    long_ago = time.clock_gettime(time.CLOCK_BOOTTIME) - OLD
    machine.record(machine.proc.namespace("cni-1"), long_ago)

    assert machine.state() == (USED, False)
    machine.proc.gone("cni-1")
    assert machine.state() == (STALE, True)


@pytest.mark.parametrize("path", ["netns/cni-1", "none", "cni-1", ""])
def test_record_of_a_relative_path(machine: Machine, path: str) -> None:
    """Where a relative path of a namespace starts is not known: that it leads nowhere here proves nothing."""
    machine.record(path, 1.0)

    assert machine.state() == (STALE, False)


def test_clock_that_was_set_forward(machine: Machine) -> None:
    """A record knows by a clock that nobody can set that the ADD has only begun."""
    machine.record(machine.proc.gone("cni-1"), time.clock_gettime(time.CLOCK_BOOTTIME))

    assert machine.state(age=1200) == (NEW, False)


def test_clock_that_was_set_forward_under_an_old_host_local(machine: Machine) -> None:
    """host-local before 0.8 writes no interface: the record of any interface of the container counts."""
    machine.record(machine.proc.gone("cni-1"), time.clock_gettime(time.CLOCK_BOOTTIME))

    assert machine.judge(lease(age=1200, interface=""))[0].state == NEW


@pytest.mark.parametrize(
    "more",
    [{}, {"netns": ""}, {"netns": 5}, {"result": {"ip4": {}}}, {"result": {"interfaces": [{"sandbox": ""}, None]}}],
)
def test_result_without_namespace(machine: Machine, more: dict[str, Any]) -> None:
    """It speaks neither for life nor for death, unless the machine was started since."""
    machine.result(ID, age=OLD, **more)

    assert machine.state() == (UNKNOWN, False)
    machine.proc.boot(time.time() - OLD / 2)
    assert machine.state() == (STALE, True)


def test_older_than_the_oldest_result(machine: Machine) -> None:
    """Its result may have been removed together with others."""
    assert machine.state(age=DAY + 60) == (UNKNOWN, False)
    machine.result("e" * 64, "other", age=3 * DAY, netns=machine.proc.namespace("cni-e"))
    assert machine.state(age=DAY + 60) == (UNKNOWN, False)
    machine.result("e" * 64, age=3 * DAY, netns=machine.proc.namespace("cni-e"))
    assert machine.state(age=DAY + 60) == (STALE, False)


def test_older_than_the_last_boot(machine: Machine) -> None:
    """No container survives a reboot; results and records do not matter then."""
    machine.proc.boot(time.time() - DAY)
    assert machine.state(age=DAY + 60) == (STALE, True)
    for path in machine.results.iterdir():
        path.unlink()
    machine.proc.gone("cni-f")
    assert machine.state(age=DAY + 60) == (STALE, True)
    assert machine.state(age=DAY - 60) == (UNKNOWN, False)


def test_namespace_of_an_unknown_container(machine: Machine) -> None:
    """A mounted namespace of an unknown container may be that of a lease without other evidence (CRI-O)."""
    machine.proc.boot(time.time() - DAY)
    machine.proc.namespace("6f2c3a")
    assert machine.state() == (UNKNOWN, False)
    assert machine.state(age=2 * DAY) == (UNKNOWN, False)
    machine.result("e" * 64, netns=str(machine.proc.netns / "6f2c3a"))
    assert machine.state() == (STALE, False)


def test_namespace_known_by_its_process(machine: Machine) -> None:
    """A mounted namespace is that of the container that a process inside it names."""
    machine.proc.process(4711, cgroup="/other", namespace=machine.proc.namespace("cni-1"))

    first, second = machine.judge(lease("other", address="10.0.0.3"), lease())

    assert (first.state, second.state) == (USED, STALE)


@pytest.mark.parametrize("address", ["10.0.0.2", "fd00::2"])
def test_address_in_use(machine: Machine, address: str) -> None:
    """An address that a process has in its network namespace is in use; so are the others of that container."""
    machine.proc.process(4711, "nginx", namespace=machine.proc.namespace("cni-f"), addresses=(address,))

    found, other = machine.judge(lease(address=address), lease(address="10.0.0.9", interface="net1"))

    assert (found.state, other.state) == (USED, USED)
    assert found.evidence == "process 4711 (nginx) is in a network namespace that has the address"


@pytest.mark.parametrize(
    ("missing", "states"), [("net/if_inet6", [USED, STALE]), ("net/fib_trie", [STALE, USED]), ("net", [STALE, STALE])]
)
def test_addresses_that_cannot_be_listed(machine: Machine, missing: str, states: list[str]) -> None:
    """A kernel without IPv6, or a process that has ended meanwhile: what is there counts."""
    both = ("10.0.0.2", "fd00::2")
    machine.proc.process(4711, "nginx", namespace=machine.proc.namespace("cni-f"), addresses=both)
    path = machine.proc.directory / "4711" / missing
    path.rename(f"{path}.gone")
    found = [machine.judge(lease(address=address))[0].state for address in both]
    assert found == states


def test_address_of_the_machine_itself(machine: Machine) -> None:
    """What the machine has in its own namespace, such as a gateway, is no pod's."""
    machine.proc.process(4711, addresses=("10.0.0.2",))

    assert machine.state() == (STALE, False)


def test_zombie(machine: Machine) -> None:
    """A process that has ended and was not waited for has no namespace any more: it is no life."""
    machine.proc.process(4711, cgroup=f"/{ID}")
    assert machine.state() == (USED, False)
    (machine.proc.directory / "4711/ns/net").unlink()
    assert machine.state() == (STALE, False)


@pytest.mark.parametrize("path", ["{}/cni-1", "/var/run/netns/cni-1", "/run/netns/cni-1"])
def test_runtime_with_mounts_of_its_own(machine: Machine, path: str) -> None:
    """What is mounted for the runtime alone exists, though this process does not see it."""
    machine.proc.process(50, "containerd")
    folder = machine.proc.directory / "50"
    (folder / "ns/mnt").unlink()
    (folder / "ns/mnt").touch()
    path = path.format(machine.proc.netns)
    machine.result(ID, netns=path)
    assert machine.state() == (STALE, True)

    inside = Path(f"{folder}/root{path.replace('/var/run', '/run')}")
    inside.parent.mkdir(parents=True)
    inside.touch()

    assert machine.state() == (USED, False)


def test_machines_own_namespace(machine: Machine) -> None:
    """The namespace of a process that has ended: its number is used again by one of the machine's."""
    machine.proc.process(4711, "sshd")
    machine.result(ID, netns=str(machine.proc.directory / "4711/ns/net"))

    assert machine.state() == (STALE, True)


def test_file_that_is_no_namespace(machine: Machine) -> None:
    """Where a namespace was unmounted an empty file is left."""
    machine.result(
        ID, netns="/etc/hostname" if os.stat("/etc").st_dev != os.stat(machine.results).st_dev else "/proc/uptime"
    )

    assert machine.state() == (STALE, True)


def test_namespace_that_cannot_be_examined(machine: Machine) -> None:
    """A loop of links, or a directory that this user cannot enter, is no proof of death."""
    os.symlink("loop", machine.proc.netns / "loop")
    machine.result(ID, netns=str(machine.proc.netns / "loop"))

    assert machine.state() == (UNKNOWN, False)


@pytest.mark.parametrize(
    ("runtimes", "inside", "name", "expected"),
    [
        (["containerd"], False, "cni-0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f", STALE),
        (["containerd"], True, "cni-0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f", USED),
        (["containerd", "crio"], False, "cni-0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f", USED),
        ([], False, "cni-0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f", USED),
        (["containerd"], False, "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f", USED),
    ],
)
def test_namespace_left_behind(
    machine: Machine, runtimes: list[str], inside: bool, name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """containerd keeps a process in every namespace it knows: one without is of an earlier life of it."""
    monkeypatch.setattr(os.path, "ismount", os.path.exists)
    monkeypatch.setattr(verdict, "_CONTAINERD", re.compile(f"{machine.proc.netns}/cni-[-0-9a-f]{{36}}"))
    for pid, program in enumerate(runtimes, 50):
        machine.proc.process(pid, program)
    path = machine.proc.namespace(name)
    machine.result(ID, netns=path)
    if inside:
        machine.proc.process(4711, "nginx", namespace=path)

    (found,) = machine.judge(lease())

    assert (found.state, found.is_proof, found.leftover) == (expected, expected == STALE, path * (expected == STALE))
    assert Evidence(Results([str(machine.results)]), []).liveness(lease()) == f"network namespace {path} exists"


@pytest.mark.parametrize("how", ["absent", "other", "hidden", "container"])
def test_processes_that_cannot_be_seen(machine: Machine, how: str) -> None:
    """Without /proc, with hidepid, or in a container with processes of its own, nothing is stale."""
    machine.result(ID, netns=machine.proc.gone("cni-1"))
    assert machine.state() == (STALE, True)
    proc = machine.proc.directory
    if how == "absent":
        namespaces.PROC = str(proc / "nothing")
    elif how == "other":
        (proc / "self").unlink()
    elif how == "hidden":
        (proc / "1").rename(proc / "self-only")
    else:
        (proc / "1/comm").write_text("agent\n")

    (found,) = machine.judge(lease())

    assert (found.state, found.evidence.startswith(f"{namespaces.PROC} ")) == (UNKNOWN, True)


FILES = ("cgroup", "cmdline", "environ", "comm", "net/fib_trie", "net/if_inet6")
SHORT = [*[(call, file) for call in ("open", "read") for file in FILES], ("stat", "ns/net")]


def refuse(monkeypatch: pytest.MonkeyPatch, call: str, file: str, code: int) -> None:
    """Let this system call fail for a file of process 4711."""
    original = getattr(os, call)

    def refused(place: Any, *more: Any, **options: Any) -> Any:
        path = os.readlink(f"/proc/self/fd/{place}") if isinstance(place, int) else str(place)
        if path.endswith(f"4711/{file}"):
            raise OSError(code, os.strerror(code))
        return original(place, *more, **options)

    monkeypatch.setattr(os, call, refused)


@pytest.mark.parametrize(("call", "file"), SHORT)
def test_shortage(machine: Machine, monkeypatch: pytest.MonkeyPatch, call: str, file: str) -> None:
    """A machine that is out of open files or memory hides processes: no lease is judged."""
    machine.result(ID, netns=machine.proc.gone("cni-1"))
    machine.proc.process(4711, cgroup=f"/{ID}", namespace=machine.proc.namespace("cni-2"))
    refuse(monkeypatch, call, file, errno.ENOMEM if call == "read" else errno.ENFILE)
    with pytest.raises(CniError, match=f"4711/{file} cannot be read"):
        machine.state("other")


def test_shortage_and_a_runtime(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is not known whether a runtime has mounts of its own, in which a namespace may exist."""
    machine.result(ID, netns=machine.proc.gone("cni-1"))
    machine.proc.process(4711, "containerd")
    refuse(monkeypatch, "stat", "ns/mnt", errno.ENOMEM)
    with pytest.raises(CniError, match="4711/ns/mnt cannot be read"):
        machine.state()


@pytest.mark.parametrize(
    ("call", "file", "code"),
    [
        ("open", "cgroup", errno.EIO),
        ("open", "cgroup", errno.EPERM),  # hidepid=1
        ("read", "cmdline", errno.EIO),
        ("read", "environ", errno.EIO),
    ],
)
def test_process_that_cannot_be_read(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, call: str, file: str, code: int
) -> None:
    """Only a process that is not there has ended; one that cannot be read may have any container."""
    machine.result(ID, netns=machine.proc.gone("cni-1"))
    machine.proc.process(4711, namespace=machine.proc.namespace("cni-2"))
    assert machine.state() == (STALE, True)
    refuse(monkeypatch, call, file, code)
    (found,) = machine.judge(lease())
    assert (found.state, found.evidence) == (
        UNKNOWN,
        f"{machine.proc.directory}/4711 cannot be read: {os.strerror(code)}",
    )


def test_empty_lease(machine: Machine) -> None:
    """It names no container; under host-local's lock nobody can be about to write it."""
    assert machine.state("") == (EMPTY, True)
    assert machine.state("", age=5) == (NEW, False)
    machine.proc.process(4711, namespace=machine.proc.namespace("cni-f"), addresses=("10.0.0.2",))
    assert machine.state("") == (USED, False)


def test_store_of_another_program(machine: Machine) -> None:
    """If neither the network nor any of its containers is known, the operator has to name it."""
    for path in machine.results.iterdir():
        path.unlink()
    machine.result("e" * 64, "other", netns=machine.proc.namespace("cni-f"))
    assert machine.state() == (UNKNOWN, False)
    assert machine.state(named=True) == (STALE, False)
    machine.proc.process(4711, cgroup="/other")
    found = machine.judge(lease("other", address="10.0.0.3"), lease())
    assert [each.state for each in found] == [USED, UNKNOWN]
