"""Network namespaces for a node and its pods: nothing that happens in one touches the machine's own network."""

from __future__ import annotations

import concurrent.futures
import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from typing import NoReturn, TypeVar

import pytest

T = TypeVar("T")

NEEDS_ROOT = "needs root, to make network namespaces"

_libc = ctypes.CDLL(None, use_errno=True)
# Gives back a line, ends when its input does, and leaves no zombies of the processes that it inherits as process 1.
_HOLD = ("env", "--ignore-signal=CHLD", "cat")


def require(*programs: str) -> None:
    """Skip without root or leave to make namespaces, or without these programs: see need()."""
    if os.geteuid() != 0:
        pytest.skip(NEEDS_ROOT)
    need("ip", "nsenter", "unshare", *programs)
    done = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"may not make network namespaces: {done.stderr.strip()}")


def need(*programs: str) -> None:
    """Skip without these programs; in CI, which installs them, fail."""
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        give_up(f"needs {', '.join(missing)}; .ci/run installs what is missing")


def give_up(why: str) -> NoReturn:
    """Skip; in CI fail: nothing is missing there."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def kernel_has(kind: str) -> bool:
    """Whether this kernel has this kind of network interface, which is put on another; yes where it cannot be tried."""
    attempt = f"ip link add eth0 type veth && ip link add link eth0 name try type {kind}"
    done = subprocess.run(["unshare", "--net", "sh", "-c", attempt], capture_output=True, text=True, check=False)
    return "Unknown device type" not in done.stderr


class Namespace:
    """A network namespace while it is entered, its loopback up.

    A child that waits for the end of its input holds it, so it has no name, no mount and nothing to clean up: it is
    gone when this process is, however that ends.
    """

    options: tuple[str, ...] = ()

    def __enter__(self) -> Namespace:
        command = ["unshare", "--net", *self.options, *_HOLD]
        self._holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert self._holder.stdin and self._holder.stdout
            self._holder.stdin.write(b"\n")
            self._holder.stdin.flush()
            if not self._holder.stdout.readline():
                raise OSError(f"{' '.join(command)} ended with status {self._holder.wait()}")
            self.prepare()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, and all that is inside; as often as one likes."""
        self._holder.communicate()

    def prepare(self) -> None:
        """Bring it into the state that a test finds."""
        self.call(_use_addresses_at_once)
        self.run("ip", "link", "set", "lo", "up")

    @property
    def pid(self) -> int:
        """Of the process that holds it."""
        return self._holder.pid

    @property
    def path(self) -> str:
        """What CNI_NETNS is."""
        return f"/proc/{self.pid}/ns/net"

    @property
    def enter(self) -> tuple[str, ...]:
        """What to put before a command line so that it runs inside."""
        return ("nsenter", f"--net={self.path}", "--")

    def run(self, *command: str) -> str:
        """What a command prints inside. Raises OSError, with what it said, when it fails."""
        done = subprocess.run([*self.enter, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{' '.join(command)}: status {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def call(self, function: Callable[[], T]) -> T:
        """What a function returns in a thread inside; the sockets it opens and the threads it starts stay inside."""

        def inside() -> T:
            with open(self.path, "rb") as namespace:
                if _libc.setns(namespace.fileno(), 0):
                    raise OSError(ctypes.get_errno(), f"setns {self.path}")
            return function()

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(inside).result()

    def links(self) -> set[str]:
        """The names of its network interfaces, without the loopback."""
        return {line.split()[0].partition("@")[0] for line in self.run("ip", "-brief", "link").splitlines()} - {"lo"}

    def ping(self, address: str) -> None:
        """Get an answer to one ICMP echo request. Raises OSError."""
        self.run("busybox", "ping", "-c", "1", "-W", "5", address)


class Machine(Namespace):
    """A network namespace with processes and mounts of its own, /run, /var/lib and /dev/shm empty: all end with it."""

    options = ("--mount", "--pid", "--mount-proc", "--fork", "--kill-child")

    def prepare(self) -> None:
        """Hide what programs keep on this machine."""
        for directory in ("/run", "/var/lib", "/dev/shm"):
            self.run("mount", "-t", "tmpfs", "tmpfs", directory)
        super().prepare()

    @property
    def enter(self) -> tuple[str, ...]:
        """What to put before a command line so that it runs inside."""
        folder = f"/proc/{self.pid}/ns"
        return ("nsenter", f"--net={folder}/net", f"--mount={folder}/mnt", f"--pid={folder}/pid_for_children", "--")


def _use_addresses_at_once() -> None:
    """IPv6 addresses are not first probed for in the network, which takes a second each."""
    for which in ("all", "default"):
        with open(f"/proc/sys/net/ipv6/conf/{which}/accept_dad", "w", encoding="ascii") as file:
            file.write("0")
