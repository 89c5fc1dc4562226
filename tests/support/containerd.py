"""containerd as on a node: for the sandboxes of pods it calls the plugins through libcni.

It runs on a machine of its own (tests.support.netns.Machine): its root, state and socket, libcni's results, the
plugins' leases and cache are in that machine's /run and /var/lib, and end with it, as its processes do.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from typing import Any

from tests.support import busybox, cgroups
from tests.support.cri import Cri, Failed
from tests.support.dist import ARCHIVE
from tests.support.netns import Machine
from tests.support.parts import host_local
from tests.support.runtime import Config

_SECONDS = 60.0  # until a containerd that does not serve counts as broken
# The limits of a login and the rules of a distribution for system calls are not the subject here. The plugins that
# are left out look for devices and tools of this machine.
_CONFIG = """version = 2
disabled_plugins = [{disabled}]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{plugins}"
  conf_dir = "{networks}"
  ip_pref = "cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
"""
_DISABLED = [f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs", "overlayfs")]
_DISABLED += ["io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
PROGRAMS = ("containerd", "ctr", "runc", "busybox")


class Containerd:
    """containerd; as a context manager it runs.

    plugins: the directory of the plugins, see install(). directory: for its configuration and the networks (net.d).
    cri: the client, as long as it runs. later: seconds by which the clock since boot is ahead in what is started.
    """

    def __init__(self, machine: Machine, plugins: str, directory: str) -> None:
        self.machine = machine
        self.plugins = plugins
        self.networks = os.path.join(directory, "net.d")
        self.later = 0.0
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.cri: Cri

    def __enter__(self) -> Containerd:
        with contextlib.ExitStack() as undo:
            undo.callback(self.kill)
            self._prepare()
            self.restart_empty()
            undo.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.kill()
        self.cri.close()

    def start(self) -> None:
        """Start it and wait until it serves. Raises OSError, with the end of its log."""
        with open(self._path("containerd.log"), "ab") as log:
            command = [*self._enter(), "containerd", f"--config={self._path('config.toml')}"]
            environ = {"PATH": os.environ["PATH"], "HOME": "/root"}
            self._process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.cri = Cri(self.file("/run/containerd/containerd.sock"), f"/{cgroups.NAME}")
        give_up = time.monotonic() + _SECONDS
        while True:
            try:
                self.cri.version()
                return
            except Failed as error:
                if self._process.poll() is not None or time.monotonic() > give_up:
                    raise OSError(f"containerd does not serve: {error}\n{self.log()[-2000:]}") from None
            time.sleep(0.02)

    def restart_empty(self) -> None:
        """Start it after wipe(), as on a new node."""
        self.start()
        self._import_pause()

    def kill(self) -> None:
        """Kill containerd and nothing else, as `kill -9` does: sandboxes live on, and calls in other threads fail."""
        if self._process:
            for pid in _children(self._process.pid) or [self._process.pid]:  # nsenter waits for what it has started
                os.kill(pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def kill_sandboxes(self) -> None:
        """Kill all that runs on the machine, sandboxes and their shims, as a power failure does."""
        self.machine.run("sh", "-c", "kill -KILL -1; true")
        while len(self._commands()) > 1:
            time.sleep(0.01)

    def wipe(self) -> None:
        """Remove its root and state, while it does not run; network namespaces and libcni's results stay."""
        mounted = [line.split()[4] for line in _read(f"/proc/{self.machine.pid}/mountinfo").splitlines()]
        for place in sorted((each for each in mounted if each.startswith("/run/containerd/")), reverse=True):
            self.machine.run("umount", place)
        for place in ("/run/containerd", "/var/lib/containerd"):
            shutil.rmtree(self.file(place))

    def network(self, config: Config) -> None:
        """Configure the network of all new pods, with a bridge, and wait until containerd has loaded it.

        config: a configuration with name, cniVersion and ipam; further keys are the bridge's.
        """
        whole = {"name": config["name"], "cniVersion": config["cniVersion"]}
        plugin = {"type": "bridge", "bridge": "cbr0", "isDefaultGateway": True, **config}
        text = json.dumps({**whole, "plugins": [{key: plugin[key] for key in plugin if key not in whole}]})
        # In place: containerd 1.6 reads a file anew when it is written, not when it gets the name of another.
        with open(os.path.join(self.networks, "10-network.conflist"), "w", encoding="utf-8") as file:
            file.write(text)
        give_up = time.monotonic() + _SECONDS
        while text not in [
            each["Config"]["Source"] for each in json.loads(self.cri.details()["cniconfig"])["Networks"]
        ]:
            if time.monotonic() > give_up:
                raise OSError(f"containerd does not load {text}: {self.cri.details()['lastCNILoadStatus']}")
            time.sleep(0.02)

    def operator(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the operator's tool on the machine; it may fail."""
        command = [*self._enter(), os.path.join(self.plugins, os.path.basename(ARCHIVE)), *arguments]
        environ = {"PATH": os.environ["PATH"], "HOME": "/root", "CNI_PATH": self.plugins}
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    def document(self, *arguments: str) -> Any:
        """Return what a command of the operator's prints with -o json, for the networks that are configured here."""
        done = self.operator(*arguments, "--conf-dir", self.networks, "-o", "json")
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise OSError(f"{arguments}: status {done.returncode}: {done.stdout}{done.stderr}") from None

    def settle(self) -> None:
        """Wait until no plugin runs."""
        give_up = time.monotonic() + _SECONDS
        while running := self.running():
            if time.monotonic() > give_up:
                raise OSError(f"plugins go on and on: {running}")
            time.sleep(0.02)

    def running(self) -> list[str]:
        """Return the command lines of the plugins that run, and of what they have left."""
        return [command for command in self._commands() if f"{self.plugins}/" in command]

    def file(self, path: str) -> str:
        """Return the path by which this process reaches a file of the machine."""
        return f"/proc/{self.machine.pid}/root{path}"

    def names(self, path: str) -> set[str]:
        """Return the names in a directory of the machine; none if it is missing."""
        try:
            return set(os.listdir(self.file(path)))
        except FileNotFoundError:
            return set()

    def log(self) -> str:
        """Return what containerd has logged."""
        return _read(self._path("containerd.log"))

    def _enter(self) -> list[str]:
        clock = ["unshare", "--kill-child", "--time", f"--boottime={self.later:.0f}"] if self.later else []
        return [*self.machine.enter, *clock]

    def wait_for_log(self, pattern: str) -> None:
        """Wait until containerd has logged a line in which this regular expression is found."""
        give_up = time.monotonic() + _SECONDS
        while not re.search(pattern, self.log()):
            if time.monotonic() > give_up:
                raise OSError(f"containerd does not log {pattern}:\n{self.log()[-2000:]}")
            time.sleep(0.02)

    def _prepare(self) -> None:
        os.makedirs(self.networks)
        disabled = ", ".join(json.dumps(name) for name in _DISABLED)
        with open(self._path("config.toml"), "w", encoding="utf-8") as file:
            file.write(
                _CONFIG.format(disabled=disabled, image=busybox.PAUSE, plugins=self.plugins, networks=self.networks)
            )

    def _import_pause(self) -> None:
        with open(self._path("pause.tar"), "wb") as file:
            file.write(busybox.pause())
        self.machine.run(
            *["ctr", "--namespace=k8s.io", "images", "import", "--snapshotter=native"], self._path("pause.tar")
        )

    def _commands(self) -> list[str]:
        """Return the command lines of all processes of the machine, and of the sandboxes on it; that of init first."""
        found = []
        for pid in sorted(int(name) for name in self.names("/proc") if name.isdigit()):
            with contextlib.suppress(OSError):
                found.append(_read(self.file(f"/proc/{pid}/cmdline")).replace("\0", " "))
        return found

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)


def install(directory: str) -> None:
    """Install the built archive into a directory, beside the reference plugins."""
    for name in os.listdir(host_local()):
        os.symlink(os.path.join(host_local(), name), os.path.join(directory, name))
    command = [ARCHIVE, "install", "--bin-dir", directory]
    with tempfile.TemporaryDirectory() as cache:
        subprocess.run(command, env={**os.environ, "NODE_IPAM_CACHE": cache}, check=True, stdout=subprocess.DEVNULL)


def _children(pid: int) -> list[int]:
    return [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()]


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
