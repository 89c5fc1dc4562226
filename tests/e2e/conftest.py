"""Fixtures of the end-to-end tests: the built plugins, the real host-local, a real TLS server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import containerd, crinode
from tests.support.apiserver import ApiServer
from tests.support.crinode import CriNode
from tests.support.netns import require
from tests.support.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A node with dual-stack podCIDRs and a kubelet's credentials."""
    with ApiServer() as server:
        yield World(str(tmp_path), server)


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A directory of plugins, ours installed in it."""
    directory = str(tmp_path_factory.mktemp("plugins"))
    containerd.install(directory)
    return directory


@pytest.fixture
def cri_node(plugins: str, tmp_path: Path) -> Iterator[CriNode]:
    """A node with containerd."""
    require(*containerd.PROGRAMS)
    with crinode.running(plugins, str(tmp_path)) as node:
        yield node
