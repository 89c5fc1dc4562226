"""The results that libcni keeps of every ADD until its DEL has succeeded.

https://github.com/containernetworking/cni/blob/main/libcni/api.go
"""

from __future__ import annotations

import errno
import json
import os

from plugin.regular import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# libcni's CacheDir with "results" below it (containerd, CRI-O, podman, nerdctl), and what dockershim and cri-dockerd
# set it to.
DIRECTORIES = ("/var/lib/cni/results", "/var/lib/cni/cache/results")
# cachedInfo in libcni/api.go; before CNI 0.8 a file held the bare result, and only its name has the container.
_KIND = "cniCacheV1"
_LIMIT = 1 << 20  # bytes of a result


class Result:
    """One file: an attachment as libcni keeps it.

    namespaces: paths of the network namespace; empty if the result does not name it. made: epoch seconds.
    """

    def __init__(self, path: str, made: float, namespaces: Sequence[str]) -> None:
        self.path = path
        self.made = made
        self.namespaces = namespaces


class Results:
    """All results in some directories. trouble: why they may be incomplete; empty if they are not."""

    def __init__(self, directories: Sequence[str], required: Sequence[str] = ()) -> None:
        """required: directories that must hold results."""
        self.directories = list(directories)
        self.count = 0
        self._of: dict[str, list[Result]] = {}  # by container
        self._unnamed: list[Result] = []  # the name of the file has the container
        self._oldest: dict[str, float] = {}  # by network
        troubles = []
        for directory in self.directories:
            before = self.count
            try:
                self._read(directory)
            except OSError as error:
                # A user who cannot read it must not conclude that no container is attached.
                if directory in required or not isinstance(error, FileNotFoundError):
                    troubles.append(f"{directory} cannot be read: {error.strerror}")
            if directory in required and self.count == before:
                troubles.append(f"{directory} holds no results")
        if not self.count:
            troubles.append(f"there are no results in {' or '.join(self.directories)}")
        self.trouble = next(iter(troubles), "")

    def of(self, container: str) -> list[Result]:
        """Return the results of this container, for all networks and interfaces.

        That is more than those of one interface: thick Multus keeps the results of secondary networks inside its own
        pod, so there may be a result for eth0 alone.
        """
        inner, end = f"-{container}-", f"-{container}"
        names = [each for each in self._unnamed if inner in (name := os.path.basename(each.path)) or name.endswith(end)]
        return self._of.get(container, []) + names

    def containers(self) -> set[str]:
        """Return the containers that results name in their content."""
        return set(self._of)

    def has_network(self, network: str) -> bool:
        """Return whether a result names this network."""
        return network in self._oldest

    def since(self, network: str) -> float:
        """Return when the oldest result was made, of this network if there is one (epoch seconds).

        An older attachment may have lost its result.
        """
        return self._oldest.get(network, min(self._oldest.values(), default=float("inf")))

    def _add(self, path: str, raw: bytes, made: float) -> None:
        """Add one file. A half-written file, or that of an old libcni, counts by its name."""
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and value.get("kind") == _KIND and isinstance(value.get("containerId"), str):
            self._of.setdefault(value["containerId"], []).append(Result(path, made, _namespaces(value)))
            network = str(value.get("networkName"))
            self._oldest[network] = min(made, self._oldest.get(network, made))
        elif "-" in os.path.basename(path):
            self._unnamed.append(Result(path, made, ()))
        else:
            return
        self.count += 1

    def _read(self, directory: str) -> None:
        """Read a directory. Raises OSError if it cannot be listed."""
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            try:
                self._add(path, read_file(path, _LIMIT), os.stat(path).st_mtime)
            except OSError as error:
                # Removed at this moment, or not a file: a directory, a pipe, a loop of links.
                if error.errno not in (errno.ENOENT, errno.EISDIR, errno.EINVAL, errno.ELOOP):
                    self._add(path, b"", float("inf"))


def _namespaces(cached: dict[str, Any]) -> list[str]:
    """Return the network namespace: 'netns' since libcni 1.2; in all versions, 'sandbox' of an interface."""
    found = [cached.get("netns")]
    result = cached.get("result")
    interfaces = result.get("interfaces") if isinstance(result, dict) else None
    for each in interfaces if isinstance(interfaces, list) else []:
        found.append(each.get("sandbox") if isinstance(each, dict) else None)
    return [path for path in found if isinstance(path, str)]
