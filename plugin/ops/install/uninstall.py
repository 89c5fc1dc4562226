"""Remove the file, its two links and its cache, and restore what install kept as NAME.bak.

uninstall refuses while a configured network uses the plugin and has leases: without the plugin, the runtime cannot
delete these pods. Drain the node first; README, "Upgrade, roll back, remove", has the steps.
"""

from __future__ import annotations

import os
import re
import shutil
import stat

from plugin import entries
from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.ops import output
from plugin.ops.install import archive, bindir, inuse
from plugin.ops.install.root import Root
from plugin.ops.networks import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from plugin.ops.networks.networks import Network

EXAMPLE = "node-ipam.pyz uninstall --bin-dir /opt/cni/bin"
_CACHED = re.compile(r"\.?[a-z]+([-:].+|\.lock)?")  # a name in the cache


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    bindir.add_arguments(parser)
    networks.add_conf_dir(parser)
    parser.add_argument("--force", action="store_true", help="uninstall although networks use the plugin")


def run(arguments: argparse.Namespace) -> int:
    """Uninstall; other programs' links and files stay. Raises CniError if the plugin is in use."""
    root = Root(arguments.root)
    folder = bindir.find(root, arguments.bin_dir)
    wanted = inuse.configured(root, arguments.conf_dir)
    used = inuse.with_leases(root, wanted, os.environ, folder)
    used += inuse.attached(os.environ, used) if root.is_own() else []
    if used and not arguments.force:
        details = "\n".join((*used, "drain the node, or use --force and remove these leases by hand"))
        raise CniError(PLUGIN_FAILURE, "networks use this plugin and have leases; nothing was removed", details)
    with bindir.changing(folder):
        names = (*archive.LINKS, archive.FILE)
        done = [line for name in names for line in _remove(root, os.path.join(folder, name))]
    done += _remove_cache(root.outside(os.environ.get(entries.DIRECTORY_VARIABLE) or entries.DIRECTORY))
    for line in done or [f"nothing of this program is in {folder}"]:
        output.line(line)
    _remind(wanted, used)
    return output.FINE


def _remove(root: Root, path: str) -> list[str]:
    """Remove a file, or restore the one before it; return what to report."""
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


def _remove_cache(path: str) -> list[str]:
    """Remove the cache directory, unless it is not ours alone; return what to report."""
    try:
        status = os.lstat(path)
        entries = list(os.scandir(path))
    except OSError:
        return []
    is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    if not is_ours or not all(_CACHED.fullmatch(each.name) and not each.is_dir() for each in entries):
        return [f"left {path}: it has files that are not this program's"]
    shutil.rmtree(path)
    return [f"removed {path}"]


def _remind(wanted: Sequence[Network], used: Sequence[str]) -> None:
    """Say what the operator has to remove by hand."""
    for source in dict.fromkeys(each.source for each in wanted):
        output.note(f"{source} still uses this plugin: new pods of that network fail until you change or remove it")
    for line in used:
        output.note(f"not released: {line}")
