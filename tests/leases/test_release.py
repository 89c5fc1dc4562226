"""DEL and CHECK by host-local: what is said if it does not end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plugin import deadline, kube_node
from plugin.cni import Request
from plugin.errors import TRY_AGAIN_LATER, CniError
from plugin.leases import release
from tests.leases.conftest import ENVIRON
from tests.support.recorder import Recorder


@pytest.mark.parametrize("command", ["DEL", "CHECK"])
def test_deadline(next_plugin: Recorder, tmp_path: Path, command: str) -> None:
    """A host-local that waits for the lock of its store is named; the API server has no part in it."""
    next_plugin.does(command, "kill -ALRM $PPID; exec sleep 60")
    environ = {**ENVIRON, "CNI_PATH": str(tmp_path), "NODE_IPAM_CACHE": str(tmp_path / "cache")}
    config = {"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "kube-node", "dataDir": str(tmp_path)}}
    request = Request(os.path.join(tmp_path, "kube-node"), command, environ, b"", config)
    chosen = kube_node.setup(request)
    with deadline.within(60), pytest.raises(CniError, match="host-local gave no answer in time") as caught:
        release.everywhere(kube_node, request, chosen)
    assert (caught.value.code, "lock" in caught.value.details) == (TRY_AGAIN_LATER, True)
