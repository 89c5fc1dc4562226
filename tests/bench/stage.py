"""What is measured, put up in one temporary directory: plugins installed and copied, a Node, a place for each row."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence

from plugin.leases import hostlocal
from plugin.ops.install import archive
from tests.bench.measure import Failed, Meter, Sample, Server, checked
from tests.bench.server import ANNOTATION, POD_CIDRS
from tests.support.dist import ARCHIVE
from tests.support.parts import host_local
from tests.support.runtime import Answer, Call, Config, Pod, Runtime

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

INSTALLED, COPIED, OTHER = "installed", "copied", "other"
_LONG = 86400  # seconds: nothing that is known gets old while this runs


class Stage:
    """The scene of all measurements. folder: for programs; state: for configurations and leases; caches: for caches."""

    def __init__(self, folder: str, state: str, caches: str, python: str, other: str, nodes: int) -> None:
        self.folder = folder
        self.state = state
        self.caches = caches
        self.python = python
        self.host_local = host_local()
        self.programs = {INSTALLED: self._path("installed"), COPIED: self._path("copied")}
        self.other = _command(other)
        for place in self.programs.values():
            os.mkdir(place)
        _install(python, self.programs[INSTALLED])
        _copy(python, self.programs[COPIED])
        self.server = Server(folder, nodes, ROOT)
        self.meter = Meter(python)

    def close(self) -> None:
        """End the processes; the folder is someone else's to remove."""
        self.meter.close()
        self.server.close()

    def variants(self) -> list[str]:
        """The ways in which a plugin is there."""
        return [*self.programs, OTHER] if self.other else list(self.programs)

    def place(self, number: int, variant: str, kind: str = "kube-node", large: bool = False) -> Place:
        """A new place for one row."""
        return Place(self, f"row-{number}", variant, kind, self.server.large if large else self.server.small)

    def bare(self, call: Call) -> Call:
        """The interpreter, doing nothing, with the environment and stdin of this call."""
        return call._replace(argv=(self.python, "-IS", "-c", "pass"))

    def time(self, sequences: Sequence[Sequence[Call]], width: int = 1) -> tuple[Sample, list[Answer]]:
        """Measure these processes as one. Raises Failed when one of them does."""
        before = self.server.gets()
        wall, found = self.meter.run(sequences, width)
        processes = [process for sequence in found for process in sequence]
        calls = [call for sequence in sequences for call in sequence]
        answers = [checked(call, answer) for call, (answer, _, _) in zip(calls, processes)]
        if width == 1 and len(sequences) == 1:
            wall = sum(answer.seconds for answer in answers) * 1e3
        cpu, peak = sum(cpu for _, cpu, _ in processes), max(peak for _, _, peak in processes)
        return Sample(wall, cpu, peak, self.server.gets() - before), answers

    def do(self, *calls: Call) -> list[Answer]:
        """Run these one after another, unmeasured. Raises Failed."""
        return [checked(call, answer) for call, (answer, _, _) in zip(calls, self.meter.run([calls])[1][0])]

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)


class Place:
    """A plugin with leases and a cache that are for one row alone, so that none slows down another."""

    def __init__(self, stage: Stage, name: str, variant: str, kind: str, kubeconfig: str) -> None:
        self._stage = stage
        self._folder = folder = os.path.join(stage.state, name)
        self._cache = os.path.join(stage.caches, name)
        self._kubeconfig = kubeconfig
        self.variant = variant
        self.serial = 0  # of requests that must differ
        settings = os.path.join(folder, "node-annotation.conf")
        environ = {"PATH": os.defpath, "HOME": folder, "NODE_IPAM_CACHE": self._cache}
        if kind == "node-annotation":
            environ["NODE_ANNOTATION_CFG"] = settings
        directories = [stage.programs[variant]] if variant in stage.programs else []
        self.runtime = Runtime([*directories, stage.host_local], environ)
        self.data_dir = os.path.join(folder, "leases")
        self.config: Config = {"cniVersion": "1.0.0", "name": "k8snet", "isDefaultGateway": True}
        self.config["ipam"] = self._ipam(kind)
        self.next_plugin: Config = {**self.config, "ipam": self._host_local()}
        self.reset()
        with open(settings, "w", encoding="utf-8") as file:
            json.dump({"kubeconfig": kubeconfig, "cacheSeconds": _LONG}, file)
        if kind == "node-annotation":
            annotated = {key: value for key, value in self._host_local().items() if key != "type"}
            stage.server.annotate(self.config["ipam"]["annotation"], json.dumps(annotated))

    def reset(self) -> None:
        """Forget every lease and all that is known."""
        os.makedirs(self._folder, exist_ok=True)
        for path in (self._cache, self.data_dir):
            shutil.rmtree(path, ignore_errors=True)

    def call(self, command: str, pod: Pod | None, config: Config | None = None) -> Call:
        """A call of the plugin that is measured."""
        config = config or self.config
        if self.variant in self._stage.programs:
            return self.runtime.call(command, config, pod)
        standing_in = self.runtime.call(command, {**config, "ipam": {**config["ipam"], "type": hostlocal.NAME}}, pod)
        return standing_in._replace(argv=tuple(self._stage.other), stdin=json.dumps(config).encode())

    def lend(self, pod: Pod) -> Answer:
        """Reserve addresses for this pod by host-local itself, and remember them for CHECK and DEL."""
        (answer,) = self._stage.do(self.runtime.call("ADD", self.next_plugin, pod))
        self.runtime.results[self.config["name"], pod] = answer.document()
        return answer

    def take_back(self, pod: Pod) -> None:
        """Release what this pod has, by host-local itself."""
        self.runtime.results.pop((self.config["name"], pod), None)
        self._stage.do(self.runtime.call("DEL", self.next_plugin, pod))

    def _ipam(self, kind: str) -> Config:
        if kind == "node-annotation":
            return {"type": kind, "annotation": f"{ANNOTATION}-{os.path.basename(self._folder)}"}
        return {"type": kind, "kubeconfig": self._kubeconfig, "dataDir": self.data_dir, "cacheSeconds": _LONG}

    def _host_local(self) -> Config:
        ranges = [[{"subnet": cidr}] for cidr in POD_CIDRS]
        return {"type": hostlocal.NAME, "dataDir": self.data_dir, "ranges": ranges}


def _command(text: str) -> list[str]:
    """The words of a shell command, the program found. Raises Failed."""
    words = shlex.split(text)
    found = shutil.which(words[0]) if words else ""
    if found is None:
        raise Failed(f"there is no program {words[0]}")
    return [os.path.abspath(found), *words[1:]] if found else []


def _install(python: str, folder: str) -> None:
    """Install the archive as an operator would, with this interpreter. Raises Failed."""
    command = [python, ARCHIVE, "install", "--bin-dir", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stdout}{done.stderr}")


def _copy(python: str, folder: str) -> None:
    """Copy the archive as an operator might; with another interpreter its first line is changed."""
    path = os.path.join(folder, archive.FILE)
    shutil.copy(ARCHIVE, path)
    if python != archive.INTERPRETER:
        with open(path, "wb") as file:
            file.write(archive.pack(archive.unpack(ARCHIVE), python))
    for name in archive.LINKS:
        os.symlink(archive.FILE, os.path.join(folder, name))
