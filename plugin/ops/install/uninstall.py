"""Remove the file, its two links and its cache, and restore what install kept as NAME.bak.

uninstall refuses while containers have addresses of this plugin: without it, the runtime cannot delete their pods.
Drain the node first; README, "Upgrade, roll back, remove", has the steps. With --force, the cache is left as well as
the leases: it has the records of the pods, and a copy of the plugin in another directory may use it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import stat
from collections.abc import Sequence

from plugin import cache
from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.ops import output
from plugin.ops.install import archive, bindir, inuse
from plugin.ops.install.inuse import Held
from plugin.ops.install.root import Root
from plugin.ops.networks import networks
from plugin.ops.networks.configurations import Network

EXAMPLE = "node-ipam.pyz uninstall --bin-dir /opt/cni/bin"
_SHOWN = 5  # names in a message


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    bindir.add_arguments(parser)
    networks.add_conf_dir(parser)
    parser.add_argument("--force", action="store_true", help="uninstall although pods have addresses; the cache stays")


def run(arguments: argparse.Namespace) -> int:
    """Uninstall; other programs' links and files stay. Raises CniError if the plugin is in use."""
    root = Root(arguments.root)
    folder = bindir.find(root, arguments.bin_dir)
    environ = {**os.environ, "CNI_PATH": folder}
    found, _troubles = networks.scan(root.outside(os.path.abspath(arguments.conf_dir)))
    wanted = [each for each in found if each.is_ours]
    used = inuse.held(root, wanted, environ)
    if used and not arguments.force:
        details = "\n".join((*map(str, used), _remedy(root, used)))
        raise CniError(PLUGIN_FAILURE, "containers have addresses of this plugin; nothing was removed", details)
    with bindir.changing(folder):
        names = (*archive.LINKS, archive.FILE)
        done = [line for name in names for line in _remove(root, os.path.join(folder, name))]
    done += [line for path in inuse.caches(root, wanted, environ) for line in _remove_cache(path, bool(used))]
    for line in done or [f"nothing of this program is in {folder}"]:
        output.line(line)
    _remind(wanted, used)
    return output.FINE


def _remedy(root: Root, used: Sequence[Held]) -> str:
    """Return what to do about leases; those of another machine cannot be judged on this one."""
    if not root.is_own():
        return "drain the node, or use --force"
    data_dirs = dict.fromkeys(os.path.dirname(each.store) for each in used)
    options = " ".join(f"--data-dir {shlex.quote(each)}" for each in data_dirs)
    return f"drain the node, or use --force; release stale leases: node-ipam.pyz gc --yes {options}"


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


def _remove_cache(path: str, is_needed: bool) -> list[str]:
    """Remove the cache directory, unless a DEL needs it or it is not ours alone; return what to report."""
    try:
        status = os.lstat(path)
        found = sorted(os.scandir(path), key=lambda each: each.name)
    except OSError:
        return []
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        return [f"left {path}: it is a link, another user's directory, or open to others"]
    strange = [each.name for each in found if not cache.is_entry(each.name) or each.is_dir(follow_symlinks=False)]
    if strange:
        more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
        return [f"left {path}: not this program's: {', '.join(strange[:_SHOWN])}{more}"]
    if is_needed:
        return [f"left {path}: it records where leases are, which DEL needs; on a tmpfs, a reboot removes it"]
    shutil.rmtree(path)
    return [f"removed {path}"]


def _remind(wanted: Sequence[Network], used: Sequence[Held]) -> None:
    """Say what the operator has to remove by hand."""
    for source in dict.fromkeys(each.source for each in wanted):
        output.note(f"{source} still uses this plugin: new pods of that network fail until you change or remove it")
    for each in used:
        output.note(f"not released: {each}")
