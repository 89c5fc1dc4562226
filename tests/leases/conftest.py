"""An ADD or DEL of one attachment by a plugin that records its calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.recorder import Recorder

ENVIRON = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_ARGS": "K8S_POD_NAME=x"}
CONFIG = b'{"name": "net", "ipam": {}}'
ERROR = '{"code": 999, "msg": "no IP addresses available in range set: 10.9.0.1-10.9.0.254"}'
# What containerd takes for a DEL that is done.
DONE_WORDS = ("not found", "no such file")


@pytest.fixture
def next_plugin(tmp_path: Path) -> Recorder:
    """A plugin that records."""
    return Recorder(tmp_path)
