"""What holds for every test: nothing of the machine's own set-up gets in, no alarm is left behind."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugin import deadline, stdout
from plugin.kube import redaction

_NAMES = ("KUBECONFIG", "NODE_NAME", "NODE_ANNOTATION_CFG", "NO_COLOR")
_ENDS = ("_PROXY", "_CA_BUNDLE")
_numbers = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which running cluster tests/e2e/test_api_servers.py may use too."""
    parser.addoption("--kubeconfig", metavar="PATH", help="test against this cluster as well; needs --node and kubectl")
    parser.addoption("--node", metavar="NAME", help="the Node of it: read, and one annotation is set and removed")


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
