"""Undo install: remove the file and its two links, and put back what was kept as NAME.bak."""

from __future__ import annotations

import os

from plugin.ops import archive, bindir, output
from plugin.ops.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

EXAMPLE = "node-ipam.pyz uninstall --bin-dir /opt/cni/bin"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    bindir.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Uninstall; a link that leads elsewhere, or another program's file, is left alone. Raises CniError."""
    folder = bindir.find(Root(arguments.root), arguments.bin_dir)
    with bindir.changing(folder):
        done = [line for name in archive.LINKS for line in _remove_link(os.path.join(folder, name))]
        file = os.path.join(folder, archive.FILE)
        if os.path.lexists(file):
            os.unlink(file)
            done.append(f"removed {file}")
    for line in done or [f"nothing of this program is in {folder}"]:
        output.line(line)
    return output.FINE


def _remove_link(path: str) -> list[str]:
    backup = path + bindir.BACKUP
    if not bindir.is_our_link(path):
        return [f"left {path} alone: it is not a link to {archive.FILE}"] if os.path.lexists(path) else []
    if os.path.lexists(backup):
        os.replace(backup, path)
        return [f"restored {path} from {backup}"]
    os.unlink(path)
    return [f"removed {path}"]
