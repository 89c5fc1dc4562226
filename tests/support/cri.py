"""The Container Runtime Interface, as kubelet speaks it: sandboxes of pods, over gRPC.

https://github.com/kubernetes/cri-api/blob/master/pkg/apis/runtime/v1/api.proto
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.support import protobuf
from tests.support.runtime import Pod

# Read by gRPC when it is imported: this process starts others by exec only, which needs no handlers.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc  # noqa: E402

Failed: type[Exception] = grpc.RpcError

_SERVICE = "/runtime.v1.RuntimeService/"
_SECONDS = 60.0  # until a call counts as hanging
_UNCONFINED = 1  # SecurityProfile.ProfileType
_READY = 0  # PodSandboxState


class Condition(NamedTuple):
    """A condition of the runtime; message: why its status is false."""

    status: bool
    reason: str
    message: str


class Cri:
    """A client of the runtime that listens on a UNIX socket. Every method raises Failed, with the runtime's message."""

    def __init__(self, socket: str, cgroup: str) -> None:
        self._channel = grpc.insecure_channel(f"unix://{socket}")
        self._cgroup = cgroup

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def version(self) -> str:
        """Return the name and version of the runtime."""
        answer = self._call("Version", {})
        return f"{protobuf.text(answer, 2)} {protobuf.text(answer, 3)}"

    def start(self, pod: Pod) -> str:
        """Run a pod's sandbox; return its id."""
        return protobuf.text(self._call("RunPodSandbox", {1: self._sandbox(pod)}), 1)

    def begin(self, pod: Pod) -> Any:
        """Begin to run a pod's sandbox; return the call, which can be cancelled."""
        call: Any = self._channel.unary_unary(f"{_SERVICE}RunPodSandbox")
        return call.future(protobuf.encode({1: self._sandbox(pod)}))

    def stop(self, sandbox: str) -> None:
        """Stop a sandbox and detach its network."""
        self._call("StopPodSandbox", {1: sandbox})

    def remove(self, sandbox: str) -> None:
        """Remove a sandbox; one that runs is stopped first."""
        self._call("RemovePodSandbox", {1: sandbox})

    def end(self, sandbox: str) -> None:
        """Stop and remove a sandbox, as kubelet does."""
        self.stop(sandbox)
        self.remove(sandbox)

    def sandboxes(self, ready: bool = False) -> list[str]:
        """Return the ids of all sandboxes, or of those that are ready."""
        found = [protobuf.decode(each) for each in protobuf.decode(self._call("ListPodSandbox", {})).get(1, [])]
        chosen = [each for each in found if not ready or protobuf.integer(each.get(3, [b"\0"])[0]) == _READY]
        return [each[1][0].decode() for each in chosen]

    def addresses(self, sandbox: str) -> list[str]:
        """Return the addresses of a sandbox, the primary one first."""
        answer = self._call("PodSandboxStatus", {1: sandbox})
        (status,) = protobuf.decode(answer)[1]
        network = protobuf.decode(protobuf.decode(status).get(5, [b""])[0])
        return [each.decode() for each in network.get(1, [])] + [protobuf.text(each, 1) for each in network.get(2, [])]

    def conditions(self) -> dict[str, Condition]:
        """Return RuntimeReady and NetworkReady."""
        status = protobuf.decode(self._call("Status", {}))[1][0]
        found = [protobuf.decode(each) for each in protobuf.decode(status)[1]]
        texts = [{number: values[0] for number, values in each.items()} for each in found]
        return {
            each[1].decode(): Condition(each.get(2) == b"\1", each.get(3, b"").decode(), each.get(4, b"").decode())
            for each in texts
        }

    def details(self) -> dict[str, str]:
        """Return the details of the runtime's status: JSON by subject."""
        entries = protobuf.decode(self._call("Status", {1: 1})).get(2, [])
        return {protobuf.text(each, 1): protobuf.text(each, 2) for each in entries}

    def _call(self, method: str, message: protobuf.Message) -> bytes:
        call: Any = self._channel.unary_unary(_SERVICE + method)
        answer: bytes = call(protobuf.encode(message), timeout=_SECONDS)
        return answer

    def _sandbox(self, pod: Pod) -> protobuf.Message:
        """PodSandboxConfig: metadata, linux with cgroup_parent and a security context without seccomp."""
        metadata = {1: pod.name, 2: pod.container[:32], 3: pod.namespace}
        linux: protobuf.Message = {1: self._cgroup, 2: {9: {1: _UNCONFINED}}}
        return {1: metadata, 2: re.sub("[^a-z0-9-]", "-", pod.name), 8: linux}


def each_id(lines: Sequence[str]) -> set[str]:
    """Return the ids of containers in a text."""
    return set(re.findall(r"\b[0-9a-f]{64}\b", "\n".join(lines)))
