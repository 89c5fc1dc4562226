"""The directory where a container runtime looks for plugins: one change at a time, and what in it is ours."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil

from plugin.errors import IO_FAILURE, CniError
from plugin.ops import archive, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from plugin.ops.root import Root

DEFAULT = "/opt/cni/bin"
BACKUP = ".bak"
_STAGE = ".node-ipam.new"
_ELSEWHERE = "name another directory: --bin-dir DIR (containerd calls it bin_dir, CRI-O plugin_dirs)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--bin-dir and --root."""
    text = f"where the container runtime looks for plugins (default: {DEFAULT})"
    parser.add_argument("--bin-dir", default=DEFAULT, metavar="DIR", help=text)
    text = "the root of the machine meant, where it is mounted: --bin-dir and links are taken as inside it (default: /)"
    parser.add_argument("--root", default="/", metavar="DIR", help=text)


def find(root: Root, path: str) -> str:
    """Where the directory that --bin-dir names is. Raises CniError when it is none."""
    folder = root.outside(os.path.abspath(path) if root.is_own() else path)
    if not os.path.isdir(folder):
        raise CniError(IO_FAILURE, f"{folder} is no directory", f"make it, if the runtime looks there, or {_ELSEWHERE}")
    return folder


@contextlib.contextmanager
def changing(folder: str) -> Iterator[str]:
    """Hold the directory against other installs, with a directory in it to prepare files in; its path.

    What a killed install has left there is removed. Raises CniError when nothing can be written.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    stage = os.path.join(folder, _STAGE)
    try:
        _lock(descriptor, folder)
        shutil.rmtree(stage, ignore_errors=True)
        os.mkdir(stage, 0o700)
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT):
            raise
        raise CniError(
            IO_FAILURE, f"{folder} cannot be written: {error.strerror}", f"mend that, or {_ELSEWHERE}"
        ) from None
    finally:
        os.close(descriptor)


def is_our_link(path: str) -> bool:
    """Whether it is a symbolic link to the archive beside it."""
    try:
        target = os.readlink(path)
    except OSError:
        return False
    folder = os.path.dirname(path)
    return os.path.normpath(os.path.join(folder, target)) == os.path.join(folder, archive.FILE)


def _lock(descriptor: int, folder: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        output.note(f"waiting for another install in {folder}")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
