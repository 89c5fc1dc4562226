"""What a worker of the tests does not share with the machine that it runs on, and what a module must not leave."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support import netns, ownmachine
from tests.support.recorder import ROOT

MARK = "left-by-a-test"


def run(code: str) -> list[str]:
    """Run statements by a Python with a machine of its own; return the lines that it prints."""
    netns.require()
    imports = f"import os, sys; sys.path.insert(0, {ROOT!r}); from tests.support import ownmachine\n"
    command = [*shlex.split(ownmachine.python()), "-c", imports + code]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


def test_namespaces() -> None:
    """It has its own processes, network and mounts."""
    printed = run("for kind in ('pid', 'net', 'mnt'): print(os.stat(f'/proc/self/ns/{kind}').st_ino)")
    own = [os.stat(f"/proc/self/ns/{kind}").st_ino for kind in ("pid", "net", "mnt")]
    assert [int(one) != other for one, other in zip(printed, own, strict=True)] == [True] * 3


def test_processes_are_those_of_a_node() -> None:
    """gc sees all of its processes: it does not count as the inside of a container."""
    code = "from plugin.leases.evidence.processes import Processes; found = Processes(); print(repr(found.trouble))"
    assert run(code) == ["''"]


def test_empty_places() -> None:
    """In host-local's default store it sees nothing of this machine's, and this machine nothing of its own."""
    store = Path(ownmachine.PLACES[0], MARK)
    code = (
        f"with ownmachine.EmptyPlaces() as places: print(os.listdir({str(store.parent)!r})); os.mkdir({str(store)!r})\n"
    )
    assert run(code) == ["[]"]
    assert not store.exists()


def test_cleared_places() -> None:
    """What a test leaves there is not there for the next one."""
    code = "with ownmachine.EmptyPlaces() as places:\n os.makedirs('/var/lib/cni/networks/a'); os.mkdir('/dev/shm/b')\n"
    assert run(f"{code} places.clear(); print([os.listdir(path) for path in ownmachine.PLACES])") == ["[[], []]"]


@pytest.mark.parametrize(
    ("leave", "expected"),
    [
        ("subprocess.Popen(['sh', '-c', 'echo; sleep 60'], stdout=subprocess.PIPE).stdout.readline()", "process "),
        ("subprocess.run(['ip', 'link', 'add', 'left', 'type', 'bridge'], check=True)", "link left"),
        ("subprocess.run(['mount', '-t', 'tmpfs', 'left', '/mnt'], check=True)", "mount /mnt"),
        ("os.listdir = lambda path: ['left']", "file /left"),
    ],
    ids=["process", "link", "mount", "file"],
)
def test_traces(leave: str, expected: str) -> None:
    """A process, a link, a mount and a name in / are seen."""
    code = f"import subprocess; before = ownmachine.traces(); {leave}\n"
    found = run(f"{code}for trace in ownmachine.traces() - before: print(trace)")
    assert found and all(trace.startswith(expected) for trace in found)
