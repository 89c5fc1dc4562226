"""Pods as processes with network namespaces of their own: what gc must take for alive."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable


class LivePods:
    """Processes while it is entered; they end with it, and with this process."""

    def __init__(self) -> None:
        self._pods: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> LivePods:
        return self

    def __exit__(self, *_exc: object) -> None:
        for pod in self._pods:
            if pod.stdin:
                pod.stdin.close()
        for pod in self._pods:
            pod.wait()
            if pod.stdout:
                pod.stdout.close()

    def start(self, names: Iterable[str], addresses: Iterable[str] = ()) -> list[str]:
        """Start one for each name, which is in its command line; returns the paths of their network namespaces.

        addresses: what each has in its network namespace.
        """
        wanted = list(addresses)
        started = []
        for number, name in enumerate(names):
            setup = f"ip addr add {wanted[number]} dev lo && " if wanted else ""
            command = ["unshare", "--net", "sh", "-c", f"{setup}echo && read end", name]
            started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        self._pods += started
        for pod in started:
            assert pod.stdout
            if not pod.stdout.readline():
                raise OSError(f"a pod ended with status {pod.wait()}")
        return [f"/proc/{pod.pid}/ns/net" for pod in started]
