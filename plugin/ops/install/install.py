"""Put this file and its two links where the container runtime looks for plugins.

The installed file has the bytes of the released one, unless --python needs another first line. It is tested before
and after it replaces the installed one; the test also stores byte code in the cache. If install is interrupted, the
file that is then installed works. A file or link of another program under one of the names is kept as NAME.bak, a
further one as NAME.bak.2 and so on. uninstall restores the first one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import stat
import sys

from plugin import __version__
from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.ops import output
from plugin.ops.install import archive, bindir, interpreter
from plugin.ops.install.root import Root
from plugin.regular import read_file
from plugin.start.importer import Importer

EXAMPLE = """
node-ipam.pyz install
node-ipam.pyz install --root /host --python /usr/bin/python3.11
"""
_NAMES = (archive.FILE, *archive.LINKS)
_MODE = 0o755


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    bindir.add_arguments(parser)
    text = "the interpreter to run the plugin, absolute (default: /usr/bin/python3 or a newer one, 3.9 at least)"
    parser.add_argument("--python", default="", metavar="PATH", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Install and return FINE. Raises CniError."""
    root = Root(arguments.root)
    folder = bindir.find(root, arguments.bin_dir)
    python = interpreter.choose(root, arguments.python)
    data = archive.with_interpreter(own_archive(), python.path)
    with bindir.changing(folder) as stage:
        archive.place(os.path.join(stage, archive.FILE), data, _MODE)
        for name in archive.LINKS:
            os.symlink(archive.FILE, os.path.join(stage, name))
        _prove(root, stage)
        changed = [name for name in _NAMES if not _is_same(root, os.path.join(stage, name), os.path.join(folder, name))]
        kept = _put(root, stage, folder, changed)
    _report(folder, python, changed, kept)
    return output.FINE


def own_archive() -> bytes:
    """Return the bytes of the running archive. Raises CniError if this is not an archive."""
    loader: object = sys.modules[__name__].__loader__
    if not isinstance(loader, Importer):
        raise CniError(PLUGIN_FAILURE, "this runs from its sources", f"run the {archive.FILE} that build.py makes")
    return loader.content()


def _prove(root: Root, folder: str) -> None:
    """Raise CniError unless both plugins there answer VERSION, run as a runtime runs them."""
    for name in archive.LINKS:
        try:
            root.supported_versions(root.inside(os.path.join(folder, name)), prepare=True)
        except CniError as error:
            details = f"everything is as it was; {error.details}".removesuffix("; ")
            raise CniError(error.code, error.msg, details) from None


def _is_same(root: Root, new: str, old: str) -> bool:
    if os.path.islink(new):
        return bindir.is_our_link(root, old)
    try:
        with open(new, "rb") as file:
            wanted = file.read()
        return os.lstat(old).st_mode == stat.S_IFREG | _MODE and read_file(old, len(wanted) + 1) == wanted
    except OSError:
        return False


def _put(root: Root, stage: str, folder: str, changed: list[str]) -> list[str]:
    """Rename what was prepared into its place; if that fails at any point, restore everything.

    Returns the names under which other programs' files were kept.
    """
    former = os.path.join(stage, "former")
    os.mkdir(former)
    kept = []
    with contextlib.ExitStack() as undo:
        for name in changed:
            path, old = os.path.join(folder, name), os.path.join(former, name)
            if os.path.lexists(path):
                _duplicate(path, old, stage)
                undo.callback(os.replace, old, path)
                backup = "" if bindir.is_ours(root, path) else bindir.free_backup(path)
                if backup:
                    _duplicate(path, backup, stage)
                    undo.callback(os.unlink, backup)
                    kept.append(os.path.basename(backup))
            else:
                undo.callback(archive.remove, path)
            os.replace(os.path.join(stage, name), path)
        _prove(root, folder)
        undo.pop_all()
    return kept


def _duplicate(path: str, new: str, stage: str) -> None:
    """Give a file or link a second name, atomically."""
    try:
        os.link(path, new, follow_symlinks=False)
    except OSError:  # a file system without hard links, or the kernel's protected_hardlinks
        copy = os.path.join(stage, "copy")
        shutil.copy2(path, copy, follow_symlinks=False)
        os.replace(copy, new)


def _report(folder: str, python: interpreter.Interpreter, changed: list[str], kept: list[str]) -> None:
    what = f"{__version__} in {folder} for {python}"
    output.line(f"installed {what}: {', '.join(changed)}" if changed else f"already installed: {what}")
    if kept:
        output.line(f"kept what was there as {', '.join(kept)}")
    output.line(f"{' and '.join(archive.LINKS)} answer")
    if not os.path.exists(os.path.join(folder, "host-local")):
        output.note(f"no host-local in {folder}: both plugins call it (github.com/containernetworking/plugins)")
