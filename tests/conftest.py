"""What holds for every test: nothing of the machine's own set-up gets in, no alarm is left behind."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin import deadline, stdout
from plugin.kube import redaction
from tests.support import ownmachine

_NAMES = ("KUBECONFIG", "NODE_NAME", "NODE_ANNOTATION_CFG", "NO_COLOR")
_ENDS = ("_PROXY", "_CA_BUNDLE")
WORKERS = 2
_numbers = itertools.count()
_PATIENCE = 20.0  # seconds until what a test has ended must be gone
_PLACES = pytest.StashKey[ownmachine.EmptyPlaces]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which running cluster tests/e2e/test_api_servers.py may use too."""
    parser.addoption("--kubeconfig", metavar="PATH", help="test against this cluster as well; needs --node and kubectl")
    parser.addoption("--node", metavar="NAME", help="the Node of it: read, and one annotation is set and removed")


def pytest_configure(config: pytest.Config) -> None:
    """Keep what the plugins leave in their default places away from this machine."""
    places = config.stash[_PLACES] = ownmachine.EmptyPlaces()
    places.__enter__()
    config.add_cleanup(lambda: places.__exit__())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many workers `-n auto` starts: none if they would share a machine."""
    return WORKERS if _has_own_machines(config) and (os.cpu_count() or 1) >= WORKERS else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """Each worker gets a machine of its own, without a way to fetch anything: what it needs is fetched now."""
    from tests.support import dist, parts  # noqa: F401 - the first builds the archive, if build.py has not

    with contextlib.suppress(parts.PartMissing):  # the tests that need it say so
        parts.host_local()
    for spec in specs if _has_own_machines(config) else ():
        spec.python = ownmachine.python()
        spec.execmodel = "main_thread_only"  # else xdist makes a new specification, without the above


def _has_own_machines(config: pytest.Config) -> bool:
    return not config.getoption("kubeconfig") and ownmachine.is_possible()  # a cluster is reached by this one's network


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """No process, mount, link, cgroup or name in / of a module's tests is left."""
    before = ownmachine.traces()
    yield
    ends = time.monotonic() + _PATIENCE
    while (left := ownmachine.traces() - before) and time.monotonic() < ends:
        time.sleep(0.02)
    assert not left


@pytest.fixture(autouse=True)
def default_places(pytestconfig: pytest.Config) -> Iterator[None]:
    """Host-local's default store is empty for each test: a DEL that finds no record looks into it, which makes it."""
    yield
    pytestconfig.stash[_PLACES].clear()


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the cache directories of all tests are made, if they are."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, caches: Path) -> None:
    """No variable that the plugins look at, but for CNI_PATH: tests.support.parts finds host-local by it."""
    for name in list(os.environ):
        if name in _NAMES or name.upper().endswith(_ENDS) or (name.startswith("CNI_") and name != "CNI_PATH"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NODE_IPAM_CACHE", str(caches / str(next(_numbers))))


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret of another test is kept out of what this one reads."""
    monkeypatch.setattr(redaction, "_forms", set())
    monkeypatch.setattr(redaction, "_probes", {})


@pytest.fixture(autouse=True)
def delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ADD in this process delivers its result as if to a caller that reads it; nothing is printed."""
    monkeypatch.setattr(stdout, "deliver", lambda _answer: True)


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """No deadline is left when a test ends."""
    yield
    deadline.stop()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
