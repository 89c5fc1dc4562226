"""Fixtures: nodes for the operator's commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.apiserver import ApiServer
from tests.support.operator_node import OperatorNode


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OperatorNode]:
    """A node whose host-local is never run."""
    with ApiServer() as server:
        made = OperatorNode(tmp_path, server, monkeypatch)
        (made.bin / "host-local").touch()
        yield made


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OperatorNode]:
    """A node with all plugins, without a network."""
    with ApiServer() as server:
        made = OperatorNode(tmp_path, server, monkeypatch)
        made.install()
        yield made
