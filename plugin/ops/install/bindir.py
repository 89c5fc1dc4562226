"""The directory where a container runtime looks for plugins: one change at a time, and what in it is ours."""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import filecmp
import itertools
import os
import shlex
import shutil
import stat
from collections.abc import Iterator

from plugin.errors import IO_FAILURE, CniError
from plugin.ops import output
from plugin.ops.install import archive
from plugin.ops.install.root import Root
from plugin.regular import read_file

DEFAULT = "/opt/cni/bin"
_BEGIN = 4096  # bytes of an archive in which its first file has its name: that, or the one of 0.1.0
_FIRST = (b"plugin/start/launch.py", b"plugin/__init__.py")
_STAGE = ".node-ipam.new"
_ELSEWHERE = "name another directory: --bin-dir DIR (containerd calls it bin_dir, CRI-O plugin_dirs)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a command --bin-dir and --root."""
    text = f"where the container runtime looks for plugins (default: {DEFAULT})"
    parser.add_argument("--bin-dir", default=DEFAULT, type=output.not_empty, metavar="DIR", help=text)
    text = "where the root file system of the machine is mounted; --bin-dir and links are inside it (default: /)"
    parser.add_argument("--root", default="/", metavar="DIR", help=text)


def find(root: Root, path: str) -> str:
    """Return the path of the directory that --bin-dir names. Raises CniError if it is not one."""
    folder = root.outside(os.path.abspath(path) if root.is_own() else path)
    if not os.path.isdir(folder):
        raise CniError(
            IO_FAILURE, f"{folder} is not a directory", f"make it, if the runtime looks there, or {_ELSEWHERE}"
        )
    return folder


@contextlib.contextmanager
def changing(folder: str) -> Iterator[str]:
    """Lock the directory against other installs, and return a directory in it to prepare files in.

    What a killed install has left there is removed. Raises CniError when nothing can be written.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    stage = os.path.join(folder, _STAGE)
    try:
        _lock(descriptor, folder)
        shutil.rmtree(stage, ignore_errors=True)
        _make(stage)
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


def is_our_link(root: Root, path: str) -> bool:
    """Return whether it is a symbolic link to the archive beside it, as that machine follows it."""
    folder = root.inside(os.path.dirname(path))
    try:
        target, name = os.path.split(os.path.join(folder, os.readlink(path)))
        return name == archive.FILE and root.outside(target) == root.outside(folder)
    except OSError:
        return False


def is_ours(root: Root, path: str) -> bool:
    """Return whether it is the archive, whole or not, a copy of it, or a link to the one beside it. Raises OSError."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return is_our_link(root, path)
    begin = read_file(path, _BEGIN)
    return not begin or any(name in begin for name in _FIRST)


def kept(path: str) -> list[str]:
    """Return the backups of other programs' files of this name, oldest first."""
    return list(itertools.takewhile(os.path.lexists, (_backup(path, number) for number in itertools.count(1))))


def free_backup(path: str) -> str:
    """Return the path for a backup of this file of another program; empty if there is one already."""
    there = kept(path)
    return "" if any(_is_same(path, each) for each in there) else _backup(path, len(there) + 1)


def _backup(path: str, number: int) -> str:
    return f"{path}.bak" if number == 1 else f"{path}.bak.{number}"


def _is_same(one: str, other: str) -> bool:
    if os.path.islink(one) or os.path.islink(other):
        return os.path.islink(one) and os.path.islink(other) and os.readlink(one) == os.readlink(other)
    return os.path.isfile(one) and os.path.isfile(other) and filecmp.cmp(one, other, shallow=False)


def _make(stage: str) -> None:
    try:
        os.mkdir(stage, 0o700)
    except FileExistsError:
        raise CniError(IO_FAILURE, f"{stage} is in the way", f"remove it: rm -r {shlex.quote(stage)}") from None


def _lock(descriptor: int, folder: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        output.note(f"waiting for another install in {folder}")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
