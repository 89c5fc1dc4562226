"""Containers of podman, on its CNI back end, with addresses of the Node's ranges.

podman runs on a node of its own: network, processes, and mounts in /run and /var/lib, where it keeps all it has.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import busybox, cgroups
from tests.support.apiserver import ApiServer
from tests.support.netns import Machine, require
from tests.support.runtime import Config
from tests.support.world import World

SECOND = "example.com/second"
CONTAINERS = """[network]
network_backend = "cni"
cni_plugin_dirs = {plugins}
network_config_dir = "{networks}"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
[containers]
log_driver = "k8s-file"
"""
STORAGE = """[storage]
driver = "vfs"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
"""
# Neither the limits of a login nor the rules of a distribution for system calls are the subject here.
LIMITS = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]
LIMITS += ["--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined"]


class Podman:
    """podman on a machine; its configuration is in the directory of a world."""

    def __init__(self, machine: Machine, world: World) -> None:
        self.machine = machine
        self.world = world
        plugins = json.dumps(world.runtime.directories)
        containers = CONTAINERS.format(plugins=plugins, networks=world.path("networks"))
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": world.directory,
            "TMPDIR": world.directory,
            "CONTAINERS_CONF": world.write("containers.conf", containers),
            "CONTAINERS_STORAGE_CONF": world.write("storage.conf", STORAGE),
        }

    def start(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run podman; it may fail."""
        command = [*self.machine.enter, "podman", "--runtime=runc", *arguments]
        return subprocess.run(command, env=self.environ, input=stdin, capture_output=True, check=False)

    def run(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run podman; return what it prints. Raises OSError with its output if it fails."""
        done = self.start(*arguments, stdin=stdin)
        if done.returncode:
            raise OSError(f"podman {' '.join(arguments)}: status {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode().strip()

    def network(self, config: Config) -> None:
        """Configure a network, with a bridge of its own."""
        name = config["name"]
        main = {"type": "bridge", "bridge": f"br-{name}", "isGateway": True, "ipam": config["ipam"]}
        main["capabilities"] = {"ips": True}
        text = json.dumps({"cniVersion": config["cniVersion"], "name": name, "plugins": [main]})
        self.world.write(f"networks/{name}.conflist", text)

    def sleeper(self, name: str, *networks: str) -> subprocess.CompletedProcess[bytes]:
        """Start a container that does nothing."""
        options = [f"--name={name}", f"--cgroup-parent=/{cgroups.NAME}", *LIMITS]
        options += [f"--network={network}" for network in networks]
        return self.start("run", "--detach", *options, "busybox", "busybox", "sleep", "99")

    def addresses(self, name: str) -> dict[str, list[str]]:
        """The addresses of a container, as podman shows them, by network."""
        (container,) = json.loads(self.run("inspect", name))
        attached: dict[str, dict[str, Any]] = container["NetworkSettings"]["Networks"]
        return {key: [value["IPAddress"], value["GlobalIPv6Address"]] for key, value in attached.items()}

    def ping(self, name: str, address: str) -> None:
        """Let a container get an answer to one ICMP echo request. Raises OSError."""
        self.run("exec", name, "busybox", "ping", "-c", "1", "-W", "5", address)


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Podman]:
    """podman with an image, on a node whose API server listens on the node's own loopback."""
    require("podman", "runc", "conmon", "busybox")
    server = ApiServer()
    with contextlib.ExitStack() as stack:
        stack.callback(cgroups.remove)
        machine = Machine()
        stack.enter_context(machine)
        machine.call(server.start)
        stack.callback(server.stop)
        podman = Podman(machine, World(str(tmp_path), server))
        if b"cni support is not" in podman.start("info").stderr:
            pytest.skip("this podman is built without CNI")
        podman.run("import", "-", "busybox", stdin=busybox.root())
        yield podman


def test_containers(podman: Podman) -> None:
    """Two containers have an address of each podCIDR, reach each other and the gateway, and free all when removed.

    That needs no API server.
    """
    podman.network(podman.world.config(cacheDir=podman.world.cache))
    for name in ("one", "two"):
        assert podman.sleeper(name, "k8snet").returncode == 0

    assert podman.addresses("two") == {"k8snet": ["11.0.1.3", "1100:0:0:1::3"]}
    for address in ("11.0.1.3", "1100:0:0:1::3", "11.0.1.1", "1100:0:0:1::1"):
        podman.ping("one", address)
    podman.ping("two", "11.0.1.2")
    podman.world.server.stop()
    podman.run("rm", "--force", "--time=0", "one")
    assert podman.world.leases() == ["11.0.1.3", "1100:0:0:1::3"]
    podman.run("rm", "--force", "--time=0", "two")
    assert podman.world.leases() == []
    assert podman.machine.links() <= {"br-k8snet"}


def test_container_on_two_networks(podman: Podman) -> None:
    """A container on the main network and on an annotated one has the addresses of both."""
    podman.world.annotate(SECOND, "172.20.2.0/24,fd00::2:0:0/96")
    podman.network(podman.world.config(cacheDir=podman.world.cache))
    podman.network(podman.world.config("net1", annotation=SECOND, cacheDir=podman.world.cache))
    assert podman.sleeper("both", "k8snet", "net1").returncode == 0

    assert podman.addresses("both") == {
        "k8snet": ["11.0.1.2", "1100:0:0:1::2"],
        "net1": ["172.20.2.2", "fd00::2:0:2"],
    }
    podman.run("rm", "--force", "--time=0", "both")
    assert podman.world.leases() == podman.world.leases("net1") == []


def test_chosen_addresses(podman: Podman) -> None:
    """A container has the addresses that its user chooses: podman passes them by the capability ips."""
    podman.network(podman.world.config(cacheDir=podman.world.cache))
    assert podman.sleeper("chosen", "k8snet:ip=11.0.1.77,ip=1100:0:0:1::4d").returncode == 0

    assert podman.addresses("chosen") == {"k8snet": ["11.0.1.77", "1100:0:0:1::4d"]}
    taken = podman.sleeper("late", "k8snet:ip=11.0.1.77,ip=1100:0:0:1::4e")
    assert "11.0.1.77 is not available" in taken.stderr.decode()
    assert podman.world.leases() == ["11.0.1.77", "1100:0:0:1::4d"]
    podman.run("rm", "--force", "--time=0", "chosen")
    assert podman.world.leases() == []


def test_what_is_wrong_is_shown(podman: Podman) -> None:
    """A container that gets no address does not start, and podman says what is wrong and what to do."""
    podman.network(podman.world.config(annotation=SECOND, cacheDir=podman.world.cache))
    refused = podman.sleeper("none", "k8snet")

    assert refused.returncode != 0
    assert f"Annotation not found: {SECOND} on node vm-002" in refused.stderr.decode()
    assert f"kubectl annotate node vm-002 {SECOND}" in refused.stderr.decode()
