"""Network namespaces for a node and its pods. They leave the machine's own network alone."""

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
    """Return whether this kernel has this kind of network interface; true if that cannot be tested."""
    attempt = f"ip link add eth0 type veth && ip link add link eth0 name try type {kind}"
    done = subprocess.run(["unshare", "--net", "sh", "-c", attempt], capture_output=True, text=True, check=False)
    return "Unknown device type" not in done.stderr


class Namespace:
    """A context manager: a network namespace whose loopback is up.

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
        """End the namespace and everything inside; may be called again."""
        self._holder.communicate()

    def prepare(self) -> None:
        """Set up what every test expects."""
        self.call(_use_addresses_at_once)
        self.run("ip", "link", "set", "lo", "up")

    @property
    def pid(self) -> int:
        """Return the id of the process that holds the namespace."""
        return self._holder.pid

    @property
    def path(self) -> str:
        """Return the path of the namespace, for CNI_NETNS."""
        return f"/proc/{self.pid}/ns/net"

    @property
    def enter(self) -> tuple[str, ...]:
        """Return the command prefix that runs a program inside."""
        return ("nsenter", f"--net={self.path}", "--")

    def run(self, *command: str) -> str:
        """Run a command inside; return what it prints. Raises OSError with its output if it fails."""
        done = subprocess.run([*self.enter, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{' '.join(command)}: status {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in a thread inside and return its result; its sockets and threads stay inside."""

        def inside() -> T:
            with open(self.path, "rb") as namespace:
                if _libc.setns(namespace.fileno(), 0):
                    raise OSError(ctypes.get_errno(), f"setns {self.path}")
            return function()

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(inside).result()

    def links(self) -> set[str]:
        """Return the names of its network interfaces, without the loopback."""
        return {line.split()[0].partition("@")[0] for line in self.run("ip", "-brief", "link").splitlines()} - {"lo"}

    def ping(self, address: str) -> None:
        """Send one ICMP echo request. Raises OSError if no reply comes."""
        self.run("busybox", "ping", "-c", "1", "-W", "5", address)


class Machine(Namespace):
    """A network namespace with its own processes and mounts; /run, /var/lib and /dev/shm are empty. All end with it."""

    options = ("--mount", "--pid", "--mount-proc", "--fork", "--kill-child")

    def prepare(self) -> None:
        """Hide this machine's state of programs."""
        for directory in ("/run", "/var/lib", "/dev/shm"):
            self.run("mount", "-t", "tmpfs", "tmpfs", directory)
        super().prepare()

    @property
    def enter(self) -> tuple[str, ...]:
        """Return the command prefix that runs a program inside."""
        folder = f"/proc/{self.pid}/ns"
        return ("nsenter", f"--net={folder}/net", f"--mount={folder}/mnt", f"--pid={folder}/pid_for_children", "--")


def _use_addresses_at_once() -> None:
    """Turn off duplicate address detection, which takes a second for each IPv6 address."""
    for which in ("all", "default"):
        with open(f"/proc/sys/net/ipv6/conf/{which}/accept_dad", "w", encoding="ascii") as file:
            file.write("0")
