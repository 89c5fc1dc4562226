"""Fixtures: the built plugins, the real host-local, a real TLS server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.apiserver import ApiServer
from tests.support.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A node with dual-stack podCIDRs and a kubelet's credentials."""
    with ApiServer() as server:
        yield World(str(tmp_path), server)
