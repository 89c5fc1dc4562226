"""DEL and CHECK by host-local: what is said if it does not end."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from plugin import deadline, kube_node, node_annotation
from plugin.cni import Request
from plugin.config import directories
from plugin.config.settings import Settings
from plugin.errors import TRY_AGAIN_LATER, CniError
from plugin.leases import records, release
from plugin.log import Log
from plugin.plan import Plan
from tests.leases.conftest import ENVIRON
from tests.support.recorder import Recorder


def prepared(directory: Path, command: str, data_dir: str) -> tuple[Request, Settings]:
    """A command of a network with this dataDir, and its settings."""
    environ = {**ENVIRON, "CNI_PATH": str(directory), "NODE_IPAM_CACHE": str(directory / "cache")}
    config = {"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "kube-node", "dataDir": data_dir}}
    request = Request(os.path.join(directory, "kube-node"), command, environ, b"", config)
    return request, kube_node.setup(request)


@pytest.mark.parametrize("command", ["DEL", "CHECK"])
def test_deadline(next_plugin: Recorder, tmp_path: Path, command: str) -> None:
    """A host-local that waits for the lock of its store is named; the API server has no part in it."""
    next_plugin.does(command, "kill -ALRM $PPID; exec sleep 60")
    request, chosen = prepared(tmp_path, command, str(tmp_path))
    with deadline.within(60), pytest.raises(CniError, match="host-local gave no answer in time") as caught:
        release.everywhere(kube_node, request, chosen)
    assert (caught.value.code, "lock" in caught.value.details) == (TRY_AGAIN_LATER, True)


@pytest.mark.parametrize(("command", "trouble"), [("DEL", ""), ("CHECK", "dataDir /etc is in the system directory")])
def test_store_that_no_add_makes(next_plugin: Recorder, tmp_path: Path, command: str, trouble: str) -> None:
    """C7: host-local would make its store in a system directory, also for the DEL after an ADD that was refused."""
    request, chosen = prepared(tmp_path, command, "/etc")
    _, failures = release.everywhere(kube_node, request, chosen)
    assert [trouble in str(each) for each in failures] == [True] * bool(trouble)
    assert next_plugin.commands() == []


def test_store_in_a_system_directory(next_plugin: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is there may have leases of version 0.1.0, which allowed it."""
    (tmp_path / "net").mkdir()
    monkeypatch.setattr(directories, "fault", lambda _: "in a system directory")
    request, chosen = prepared(tmp_path, "DEL", str(tmp_path))
    assert release.everywhere(kube_node, request, chosen) == (1, [])
    assert next_plugin.commands() == ["DEL"]


@pytest.mark.parametrize("command", ["DEL", "CHECK"])
def test_other_plugin_without_a_record(tmp_path: Path, command: str) -> None:
    """The plugin that nextipam names gets the command once, whatever stores of host-local the network had."""
    whereabouts = Recorder(tmp_path, "whereabouts")
    conf = tmp_path / "conf"
    conf.write_text(json.dumps({"nextipam": whereabouts.path}))
    request, _ = prepared(tmp_path, command, "")
    request.config["ipam"] = {"type": "node-annotation", "annotation": "e/x"}
    environ = request.environ = {**request.environ, "NODE_ANNOTATION_CFG": str(conf)}
    (tmp_path / "data" / "net").mkdir(parents=True)
    ipam = {"dataDir": str(tmp_path / "data")}
    other = Request("", "ADD", {**environ, "CNI_CONTAINERID": "other"}, b"", request.config)
    records.record(other, Plan("/bin/host-local", {"name": "net", "ipam": ipam}), "", Log())

    assert release.everywhere(node_annotation, request, node_annotation.setup(request)) == (1, [])
    (call,) = whereabouts.calls()
    assert (call.command, json.loads(call.stdin)["ipam"]) == (command, {"type": "whereabouts"})
