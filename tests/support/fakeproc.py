"""A /proc and a directory of network namespaces made of plain files, for plugin.leases.evidence."""

from __future__ import annotations

import ipaddress
import time
from pathlib import Path

import pytest

from plugin.leases.evidence import namespaces, verdict

FIRST_PID_NAMESPACE = 0xEFFFFFFC


class FakeProc:
    """Processes of a node on which a container runtime runs. Every file in it counts as a namespace of its own."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.directory = directory / "proc"
        self.netns = directory / "netns"
        self.netns.mkdir(parents=True)
        self.process(1, "systemd")
        (self.directory / "self").symlink_to("1")
        self.boot(time.time() - 30 * 86400)
        monkeypatch.setattr(namespaces, "PROC", str(self.directory))
        monkeypatch.setattr(namespaces, "DIRECTORIES", (str(self.netns),))

    def process(
        self,
        pid: int,
        name: str = "pause",
        cmdline: str = "",
        cgroup: str = "/",
        environ: str = "",
        namespace: str = "",
        addresses: tuple[str, ...] = (),
    ) -> None:
        """Add a process. namespace: path of its network namespace; without one, that of the machine."""
        folder = self.directory / str(pid)
        for sub in ("ns", "net"):
            (folder / sub).mkdir(parents=True)
        (folder / "comm").write_text(name + "\n")
        (folder / "cmdline").write_text("\0".join(cmdline.split()) + "\0")
        (folder / "cgroup").write_text(f"0::{cgroup}\n")
        (folder / "environ").write_text("\0".join(environ.split()))
        for kind in ("pid", "mnt", "net"):
            path = folder / "ns" / kind
            if pid == 1:
                path.touch()
            else:
                path.symlink_to(namespace if kind == "net" and namespace else self.directory / "1/ns" / kind)
        parsed = [ipaddress.ip_address(each) for each in ("127.0.0.1", *addresses)]
        lines = [f"  |-- {each}\n     /32 host LOCAL\n" for each in parsed if each.version == 4]
        (folder / "net" / "fib_trie").write_text("Main:\n" + "".join(lines))
        lines = [f"{each.packed.hex()} 02 40 00 80 eth0\n" for each in parsed if each.version == 6]
        (folder / "net" / "if_inet6").write_text("".join(lines))

    def boot(self, when: float) -> None:
        """Say that the machine was started then (epoch seconds)."""
        self._monkeypatch.setattr(verdict, "_boot_time", lambda: when)

    def namespace(self, name: str) -> str:
        """The path of a network namespace that exists."""
        path = self.netns / name
        path.touch()
        return str(path)

    def gone(self, name: str) -> str:
        """The path of a network namespace that does not exist any more."""
        path = self.netns / name
        path.unlink(missing_ok=True)
        return str(path)
