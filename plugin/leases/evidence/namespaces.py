"""Network namespaces by their paths: which of them exist."""

from __future__ import annotations

import os

from plugin.regular import refuse_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROC = "/proc"
# Where containerd, CRI-O, podman and ip netns mount the namespaces they make.
DIRECTORIES = ("/run/netns", "/var/run/netns")

GONE, UNCERTAIN = 0, -1


class Namespaces:
    """The namespaces of this machine."""

    def __init__(self, own: int, runtimes: Sequence[int] = ()) -> None:
        """own: inode of the machine's own. runtimes: pids of container runtimes, which may have mounts of their own."""
        ours = examine("self/ns/net")
        self._own = own
        self._device = ours.st_dev if ours else UNCERTAIN
        self._roots = _roots((1, *runtimes))

    def find(self, path: str) -> int:
        """Return the inode of the network namespace at this path; GONE or UNCERTAIN if there is none.

        The machine's own namespace counts as GONE: the number of a process that ended may be used again.
        """
        found = self._look(path)
        if found == GONE and not path.startswith(f"{PROC}/"):
            # /var/run is an absolute link, which would lead out of the other root.
            inside = "/run/" + path[len("/var/run/") :] if path.startswith("/var/run/") else path
            found = max((self._look(root + inside) for root in self._roots), key=abs, default=GONE)
        return GONE if found == self._own else found

    def mounted(self) -> Iterator[tuple[str, int]]:
        """Return path and inode of every network namespace that is mounted in DIRECTORIES."""
        for directory in (root + each for root in ("", *self._roots) for each in DIRECTORIES):
            try:
                names = sorted(os.listdir(directory))
            except OSError as error:
                refuse_shortage(directory, error)
                continue
            for path in (os.path.join(directory, name) for name in names):
                inode = self._look(path)
                if inode not in (GONE, UNCERTAIN, self._own):
                    yield path, inode

    def _look(self, path: str) -> int:
        if self._device == UNCERTAIN:
            return UNCERTAIN
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return GONE
        except OSError:
            return UNCERTAIN
        # Where a namespace is unmounted, an empty file remains.
        return status.st_ino if status.st_dev == self._device else GONE


def _roots(pids: Sequence[int]) -> list[str]:
    """Return the root directories of those processes that have mounts of their own."""
    found: dict[int, str] = {}
    ours = examine("self/ns/mnt")
    for pid in pids:
        theirs = examine(f"{pid}/ns/mnt")
        if ours and theirs and theirs.st_ino != ours.st_ino:
            found.setdefault(theirs.st_ino, f"{PROC}/{pid}/root")
    return list(found.values())


def examine(name: str) -> os.stat_result | None:
    """Return the status of a file in /proc; None if it cannot be examined. Raises CniError as refuse_shortage()."""
    path = f"{PROC}/{name}"
    try:
        return os.stat(path)
    except OSError as error:
        refuse_shortage(path, error)
        return None
