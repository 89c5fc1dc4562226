"""Which containers are attached: the results that libcni keeps of every ADD until the DEL has succeeded."""

from __future__ import annotations

import errno
import json
import os

from plugin.settings import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

# libcni's CacheDir with "results" below it (containerd, CRI-O, podman, nerdctl), and what dockershim and cri-dockerd
# tell it instead.
DIRECTORIES = ("/var/lib/cni/results", "/var/lib/cni/cache/results")
# cachedInfo in libcni/api.go; before CNI 0.8 a file held the bare result, and only its name says whose it is.
_KIND = "cniCacheV1"
_LIMIT = 1 << 20  # bytes of a result


class Attachments:
    """What the results say. trouble: why they do not tell which leases are in use; empty when they do."""

    def __init__(self, directories: Sequence[str]) -> None:
        self.directories = list(directories)
        self.trouble = ""
        self.networks: set[str] = set()
        self.count = 0
        self._containers: set[str] = set()
        self._names: list[str] = []

    def has(self, container: str) -> bool:
        """Whether any result names this container, for whatever network and interface.

        That is more than asking for the interface: thick Multus keeps the results of secondary networks inside its
        own pod, so of a pod that runs there may be a result for eth0 alone.
        """
        inner, end = f"-{container}-", f"-{container}"
        return container in self._containers or any(inner in name or name.endswith(end) for name in self._names)

    def add(self, name: str, raw: bytes) -> None:
        """Take in one file. What is no JSON may be half written: its name counts."""
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and value.get("kind") == _KIND and isinstance(value.get("containerId"), str):
            self._containers.add(value["containerId"])
            self.networks.add(str(value.get("networkName")))
        elif "-" in name:
            self._names.append(name)
        else:
            return
        self.count += 1


def add_results_dir(parser: argparse.ArgumentParser) -> None:
    """Give a command --results-dir."""
    parser.add_argument(
        "--results-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="where libcni keeps the results of attachments; may be given more than once. "
        f"Those in {' and '.join(DIRECTORIES)} count in any case",
    )


def read(named: Sequence[str]) -> Attachments:
    """The results in the usual directories and in those that were named, each of which must hold some."""
    found = Attachments([*dict.fromkeys((*named, *DIRECTORIES))])
    for directory in found.directories:
        before = found.count
        trouble = _read(directory, found)
        if directory in named and (trouble or found.count == before):
            found.trouble = found.trouble or f"{directory} {trouble or 'holds no results'}"
    if not found.count:
        found.trouble = found.trouble or f"there are no results in {' or '.join(found.directories)}"
    return found


def _read(directory: str, found: Attachments) -> str:
    """Take in a directory; returns what is wrong with it."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return "is absent"
    except OSError as error:
        # Whoever may not see it must not conclude that nothing is attached.
        found.trouble = found.trouble or f"{directory} cannot be read: {error.strerror}"
        return "cannot be read"
    for name in names:
        try:
            found.add(name, read_file(os.path.join(directory, name), _LIMIT))
        except OSError as error:
            # Removed at this moment, or no file: a directory, a pipe.
            if error.errno not in (errno.ENOENT, errno.EISDIR, errno.EINVAL):
                found.add(name, b"")
    return ""
