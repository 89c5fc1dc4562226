"""Fixtures: the node that doctor examines."""

from __future__ import annotations

import pytest

from tests.support.operator_node import OperatorNode


@pytest.fixture
def node(installed: OperatorNode) -> OperatorNode:
    """A healthy node with one network, whose podCIDRs are 10.244.1.0/24 and fd00:10:244:1::/64."""
    installed.network()
    return installed
