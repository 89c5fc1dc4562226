"""Undo install: remove the file and its two links, and put back what was kept as NAME.bak."""

from __future__ import annotations

import os

from plugin.ops import output
from plugin.ops.install import archive, bindir
from plugin.ops.install.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

EXAMPLE = "node-ipam.pyz uninstall --bin-dir /opt/cni/bin"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    bindir.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Uninstall; a link that leads elsewhere, or another program's file, is left alone. Raises CniError."""
    root = Root(arguments.root)
    folder = bindir.find(root, arguments.bin_dir)
    with bindir.changing(folder):
        names = (*archive.LINKS, archive.FILE)
        done = [line for name in names for line in _remove(root, os.path.join(folder, name))]
    for line in done or [f"nothing of this program is in {folder}"]:
        output.line(line)
    return output.FINE


def _remove(root: Root, path: str) -> list[str]:
    """Remove a file, or put back what was there before; what there is to say of it."""
    if not os.path.lexists(path):
        return []
    if not bindir.is_ours(root, path):
        return [f"left {path} alone: it is another program's"]
    kept = bindir.kept(path)
    if not kept:
        os.unlink(path)
        return [f"removed {path}"]
    os.replace(kept[0], path)
    return [f"restored {path} from {kept[0]}", *(f"left {each}, which came later" for each in kept[1:])]
