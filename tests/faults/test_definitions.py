"""What the author of a NetworkAttachmentDefinition, who is not root, can make the built plugins do as root."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.dist import ARCHIVE
from tests.support.parts import host_local
from tests.support.runtime import Pod, run
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


@pytest.mark.parametrize("kind", ["kube-node", "host-local"])
def test_store_in_place_of_a_pinned_file(world: World, kind: str) -> None:
    """A network named kube-node.json whose dataDir is that of another network does not stop that one."""
    if kind == "kube-node":
        world.annotate("example.com/a", "10.2.0.0/24")
        assert world.add(world.config("kube-node.json", annotation="example.com/a"), "other").status == 0
    else:
        ipam = {"type": kind, "dataDir": world.path("data"), "ranges": [[{"subnet": "10.2.0.0/24"}]]}
        other = {"cniVersion": "1.0.0", "name": "kube-node.json", "ipam": ipam}
        assert run(world.runtime.call("ADD", other, Pod("other"))).status == 0
    assert Path(world.path("data/kube-node.json/last_reserved_ip.0")).exists()

    config = world.config(version="1.1.0")
    for command in ("ADD", "CHECK", "STATUS", "DEL"):
        answer = world.runtime.run(command, config, None if command == "STATUS" else Pod("web-0"))
        assert answer.status == 0, (command, answer)
    (found,) = operate(world, "explain", {**config, "type": "bridge"})["networks"]
    assert found["from"]["ipam.ranges"].startswith("spec.podCIDRs of node")
    pinned = [each for each in operate(world, "doctor", config)["checks"] if each["check"] == "pinned"]
    assert [each["status"] for each in pinned] in ([], ["ok"])


def test_directory_in_place_of_the_configuration(world: World) -> None:
    """node-annotation.conf names what runs: a directory in its place is an error, not a missing file."""
    config = world.annotated("n", "example.com/a")
    world.runtime.environ["NODE_ANNOTATION_CFG"] = world.directory
    answer = world.add(config)
    assert (answer.status, answer.document()["msg"]) == (1, f"{world.directory} is a directory, not a file")
