"""A container runtime: it calls plugins as libcni does, by environment and stdin, and reads exit status and JSON.

https://github.com/containernetworking/cni/blob/main/pkg/invoke/raw_exec.go
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Config = dict[str, Any]

SECONDS = 60.0  # until a plugin counts as hanging; ours give up after 15


class Pod(NamedTuple):
    """The pod and interface that a command is about."""

    name: str
    namespace: str = "default"
    interface: str = "eth0"

    @property
    def container(self) -> str:
        """The id of its sandbox: 64 hex digits, as containerd makes them."""
        return hashlib.sha256(f"{self.namespace}/{self.name}".encode()).hexdigest()

    def arguments(self) -> dict[str, str]:
        """Return the variables of a plugin's environment that are about the pod."""
        args = {
            "IgnoreUnknown": "1",
            "K8S_POD_NAMESPACE": self.namespace,
            "K8S_POD_NAME": self.name,
            "K8S_POD_INFRA_CONTAINER_ID": self.container,
        }
        return {
            "CNI_CONTAINERID": self.container,
            "CNI_NETNS": f"/var/run/netns/cni-{self.container[:36]}",
            "CNI_IFNAME": self.interface,
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in args.items()),
        }


class Call(NamedTuple):
    """A process to start."""

    argv: tuple[str, ...]
    environ: dict[str, str]
    stdin: bytes


class Answer(NamedTuple):
    """How a process ended; a negative status is the signal that killed it."""

    status: int
    stdout: bytes
    stderr: str
    seconds: float

    def document(self) -> Config:
        """Return the one JSON object on stdout. Raises ValueError for anything else, with all output."""
        try:
            found = json.loads(self.stdout)
            if not isinstance(found, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise ValueError(f"{error}: status {self.status}, stdout {self.stdout!r}, stderr {self.stderr!r}") from None
        return found


def run(call: Call, seconds: float = SECONDS) -> Answer:
    """Run a process to its end. Raises subprocess.TimeoutExpired after killing it."""
    started = time.perf_counter()
    done = subprocess.run(
        call.argv, env=call.environ, input=call.stdin, capture_output=True, cwd="/", timeout=seconds, check=False
    )
    taken = time.perf_counter() - started
    return Answer(done.returncode, done.stdout, done.stderr.decode(errors="replace"), taken)


def wait_for_end(directory: str) -> None:
    """Wait until no process runs in whose environment this directory is: a killed plugin leaves its next plugin."""
    while any(directory.encode() in environ for environ in _environments()):
        time.sleep(0.02)


def _environments() -> Iterator[bytes]:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            yield file.read()


class Runtime:
    """Calls plugins by name from these directories, as in CNI_PATH.

    environ: what a plugin's environment holds beside CNI_*. interpreter: what stands before a plugin's path, to run it
    by this instead of by its first line, or elsewhere. The result of each ADD is kept, to be sent with CHECK and DEL,
    until a DEL succeeds.
    """

    def __init__(self, directories: Sequence[str], environ: Mapping[str, str], interpreter: Sequence[str] = ()) -> None:
        self.directories = list(directories)
        self.environ = dict(environ)
        self.interpreter = tuple(interpreter)
        self.main = False
        self.results: dict[tuple[str, Pod], Config] = {}

    def find(self, name: str) -> str:
        """The path of a plugin. Raises FileNotFoundError."""
        for directory in self.directories:
            path = os.path.join(directory, name)
            if os.path.isfile(path):
                return os.path.abspath(path)
        raise FileNotFoundError(f"no {name} in {', '.join(self.directories)}")

    def call(self, command: str, config: Config, pod: Pod | None = None, **environ: str) -> Call:
        """Return the process for a command about a network; environ extends its environment."""
        if command in ("CHECK", "DEL") and pod and (config["name"], pod) in self.results:
            config = {**config, "prevResult": self.results[config["name"], pod]}
        nobody = {"CNI_CONTAINERID": "", "CNI_NETNS": "", "CNI_IFNAME": "", "CNI_ARGS": ""}
        ours = {"CNI_COMMAND": command, "CNI_PATH": os.pathsep.join(self.directories)}
        variables = {**self.environ, **(pod.arguments() if pod else nobody), **ours, **environ}
        argv = (*self.interpreter, self.find(self._named(config)))
        return Call(argv, variables, json.dumps(config, separators=(",", ":")).encode())

    def run(self, command: str, config: Config, pod: Pod | None = None, **environ: str) -> Answer:
        """Run call() to its end."""
        answer = run(self.call(command, config, pod, **environ))
        if pod and command == "ADD" and answer.status == 0:
            self.results[config["name"], pod] = answer.document()
        if pod and command == "DEL" and answer.status == 0:
            self.results.pop((config["name"], pod), None)
        return answer

    def _named(self, config: Config) -> str:
        return str(config["type"] if self.main and "type" in config else config["ipam"]["type"])

    def version(self, name: str) -> Answer:
        """Run VERSION of the plugin of this name."""
        environ = {**self.environ, "CNI_COMMAND": "VERSION"}
        return run(Call((*self.interpreter, self.find(name)), environ, b'{"cniVersion":"1.1.0"}'))
