"""The processes of this machine and the container that each names, in its cgroup, command line or environment.

The id of a sandbox is in the cgroup of its pause process, and in the command line of its shim (containerd, Docker,
Kata), of conmon (podman, CRI-O) or of a virtual machine. While a CNI plugin runs, it is in the plugin's environment.
"""

from __future__ import annotations

import os
import re

from plugin.leases.evidence import namespaces
from plugin.regular import refuse_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# PROC_PID_INIT_INO in include/linux/proc_ns.h: the process namespace of the machine itself.
_FIRST_NAMESPACE = 0xEFFFFFFC
# Programs of the node itself. If the node is a container (kind, k3d), one of them shows that its processes are visible.
_NODE_PROGRAMS = frozenset((b"containerd", b"crio", b"dockerd", b"kubelet", b"systemd"))
_CRIO = b"crio"
_RUNTIMES = frozenset((b"containerd", _CRIO, b"dockerd"))
_CONTAINER_VARIABLE = b"CNI_CONTAINERID="
_WORD = re.compile(rb"[0-9A-Za-z]+")
_LIMIT = 1 << 17  # bytes of a file of /proc


class Process:
    """One process. text: what can name a container. namespace: inode of its network namespace, 0 if unknown."""

    def __init__(self, pid: int, name: bytes, text: bytes, namespace: int) -> None:
        self.pid = pid
        self.name = name
        self.text = text
        self.namespace = namespace

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name.decode(errors='replace')})"


class Processes:
    """All processes.

    trouble: why some may be hidden; empty if none is. own: inode of the machine's own network namespace, in which no
    pod can be. runtimes: pids of container runtimes in it. has_pauses: the runtimes keep a process in the namespace of
    every pod (CRI-O does not), and this user can see it.
    """

    def __init__(self) -> None:
        self.trouble = ""
        self.own = _own_namespace()
        self.runtimes: list[int] = []
        self._by_word: dict[bytes, list[Process]] = {}
        self._in_namespace: dict[int, Process] = {}  # one for each
        self._addresses: dict[bytes, Process] | None = None
        programs = set()
        count = hidden = 0
        for process in self._scan():
            count += 1
            # A process whose namespace this user cannot see may be in any; process 1 is in the machine's own.
            hidden += process.namespace == 0 and process.pid != 1
            if process.namespace in (0, self.own):
                programs.add(process.name)
                if process.name in _RUNTIMES:
                    self.runtimes.append(process.pid)
            for word in set(_WORD.findall(process.text)):
                self._by_word.setdefault(word, []).append(process)
            self._in_namespace.setdefault(process.namespace, process)
        self.has_pauses = bool(self.runtimes) and _CRIO not in programs and not hidden
        if hidden > count / 2:
            self.trouble = f"{namespaces.PROC} does not show the namespaces of processes to this user; run this as root"
        self.trouble = self.trouble or _blindness(bool(programs & _NODE_PROGRAMS))

    def naming(self, container: str) -> list[Process]:
        """Return the processes that name this container."""
        wanted = container.encode()
        candidates = min((self._by_word.get(word, []) for word in _WORD.findall(wanted)), key=len, default=[])
        whole = re.compile(rb"(?<![0-9A-Za-z])" + re.escape(wanted) + rb"(?![0-9A-Za-z])")
        return [process for process in candidates if whole.search(process.text)]

    def has_process_in(self, namespace: int) -> bool:
        """Return whether a process is in the network namespace of this inode."""
        return namespace in self._in_namespace

    def with_address(self, packed: bytes) -> Process | None:
        """Return a process whose network namespace, other than the machine's own, has this address."""
        if self._addresses is None:
            self._addresses = {}
            for inode, process in self._in_namespace.items():
                if inode not in (0, self.own):
                    self._addresses.update(dict.fromkeys(_local_addresses(process.pid), process))
        return self._addresses.get(packed)

    def _scan(self) -> Iterator[Process]:
        try:
            pids = [int(name) for name in os.listdir(namespaces.PROC) if name.isdigit()]
        except OSError:
            pids = []
        if 1 not in pids:
            self.trouble = f"{namespaces.PROC} does not show all processes"
        for pid in pids:
            try:
                yield _process(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended, or is a zombie: without a network namespace
            except OSError as error:
                self.trouble = f"{namespaces.PROC}/{pid} cannot be read: {error.strerror}"


def _process(pid: int) -> Process:
    """Read a process. Raises OSError."""
    texts = [_read(pid, "cgroup"), _read(pid, "cmdline"), *_running_for(pid)]
    path = f"{namespaces.PROC}/{pid}/ns/net"
    try:
        namespace = os.stat(path).st_ino
    except PermissionError:
        namespace = 0
    except OSError as error:
        refuse_shortage(path, error)
        raise
    return Process(pid, _read(pid, "comm").strip(), b"\0".join(texts), namespace)


def _running_for(pid: int) -> list[bytes]:
    """Return the container for which this process runs, if it is a CNI plugin."""
    try:
        variables = _read(pid, "environ").split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
    return [each[len(_CONTAINER_VARIABLE) :] for each in variables if each.startswith(_CONTAINER_VARIABLE)]


def _own_namespace() -> int:
    """Return the network namespace of process 1 or, if that is hidden, of this process; 0 if both are."""
    found = namespaces.examine("1/ns/net") or namespaces.examine("self/ns/net")
    return found.st_ino if found else 0


def _blindness(is_node: bool) -> str:
    """Return why the processes of other containers are hidden: this process is in a container itself."""
    found = namespaces.examine("self/ns/pid")
    if not found:
        return f"{namespaces.PROC} does not show this process"
    if is_node or found.st_ino == _FIRST_NAMESPACE:
        return ""
    return f"{namespaces.PROC} shows the processes of a container, not those of the machine"


def _local_addresses(pid: int) -> Iterator[bytes]:
    """Return the addresses in the network namespace of this process, packed."""
    lines = _lines(pid, "net/fib_trie")
    for line, following in zip(lines, lines[1:]):
        if following.endswith(b"/32 host LOCAL"):
            yield bytes(map(int, line.split()[-1].split(b".")))
    for line in _lines(pid, "net/if_inet6"):
        yield bytes.fromhex(line.split()[0].decode())


def _lines(pid: int, name: str) -> list[bytes]:
    """Return the lines of a file of this process; none if the process has ended, or the kernel has no such file."""
    try:
        return _read(pid, name).splitlines()
    except OSError:
        return []


def _read(pid: int, name: str) -> bytes:
    """Return a file of this process. Raises OSError; CniError as refuse_shortage()."""
    path = f"{namespaces.PROC}/{pid}/{name}"
    found = b""
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            while len(found) < _LIMIT and (chunk := os.read(file, _LIMIT)):
                found += chunk
        finally:
            os.close(file)
    except OSError as error:
        refuse_shortage(path, error)
        raise
    return found
