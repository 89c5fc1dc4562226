"""What the author of a NetworkAttachmentDefinition, who is not root, can make the built plugins do as root."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.dist import ARCHIVE
from tests.support.parts import host_local
from tests.support.world import World


def operate(world: World, command: str, config: dict[str, Any], bin_dir: str = "") -> Any:
    """Pipe a NetworkAttachmentDefinition with this configuration into an operator's command; what that prints."""
    definition = {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "n", "namespace": "of-a-user"},
        "spec": {"config": json.dumps(config)},
    }
    options = ["--conf-dir", world.directory, "--bin-dir", bin_dir or host_local(), "-o", "json"]
    done = subprocess.run(
        [ARCHIVE, command, "-", *options],
        input=json.dumps(definition).encode(),
        env=world.runtime.environ,
        capture_output=True,
        check=False,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "name", ["{}/evil", "../evil", "../../../../../../../../{}/evil", "sub/../../evil", "./sub/evil"]
)
def test_doctor_runs_plugins_only(world: World, tmp_path: Path, name: str) -> None:
    """A type is a name in the directory of plugins, not a path to a program."""
    (tmp_path / "bin/sub").mkdir(parents=True)
    for place in ("evil", "bin/sub/evil"):
        (tmp_path / place).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (tmp_path / place).chmod(0o755)
    named = name.format(str(tmp_path) if name.startswith("{") else str(tmp_path)[1:])
    plugins = [{"type": named}, {"type": "bridge", "ipam": {"type": "kube-node"}}]
    config = {"cniVersion": "1.0.0", "name": "n", "plugins": plugins}
    checks = operate(world, "doctor", config, str(tmp_path / "bin"))["checks"]
    assert not (tmp_path / "ran").exists()
    (found,) = [each for each in checks if each["check"] == "plugins"]
    assert (found["finding"], found["what"]) == ("plugins-missing", f"{named} is not the name of a plugin")
    assert "ln -s" not in found["remedy"]
