"""What is kept between one pod and the next: the cache, dataDir, and the leases in it."""

from __future__ import annotations

import os
import stat

from plugin import node_annotation
from plugin.node import memory
from plugin.ops import output
from plugin.ops.doctor.finding import ok, skip, warn
from plugin.ops.leases import stores
from plugin.ops.leases.usage import Usage
from plugin.ops.networks import known_ranges, networks
from plugin.ops.networks.known_ranges import Known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugin.ops.doctor.context import Context
    from plugin.ops.doctor.finding import Finding

MOUNTS = "/proc/self/mountinfo"
_IN_MEMORY = ("tmpfs", "ramfs")


def cache(context: Context) -> Finding:
    """The cache directory can be used; what it knows of the Node, and how old that is."""
    path = context.settings.cache.path
    trouble, remedy = _unusable(path)
    if trouble:
        return warn(f"{path} {trouble}: nothing is kept for the next pod", remedy)
    last = known_ranges.learnt_for(context.settings)
    if last is None:
        return ok(f"{path}: nothing of this network's Node yet")
    age = output.age(last.facts.age())
    what = f"{path}: node {last.facts.name}, asked {age} ago"
    then = memory.variables(last.way)
    other = {name: value for name, value in then.items() if value != context.environ.get(name, "")}
    if other.keys() - {"HOME"}:
        listed = ", ".join(f"{name}={value!r}" for name, value in other.items())
        return warn(f"{what}, by a runtime with {listed}", f"to see what it sees, run this with {listed}")
    return ok(what)


def data_dir(context: Context) -> Finding:
    """dataDir is on a file system that a reboot clears, as it ends all pods."""
    places = networks.data_dirs(context.network, context.environ, context.machine.bin_dirs)
    on_disk = [(place, kind) for place in places if (kind := filesystem(place)) not in _IN_MEMORY]
    if not on_disk:
        return ok(f"{', '.join(places)}: emptied by a reboot")
    place, kind = on_disk[0]
    where = "the annotation" if context.network.type == node_annotation.NAME else "ipam"
    remedy = (
        f'drain the node, write "dataDir": "/run/container-ipam-state/{context.network.name}" into {where}, '
        "and reboot: leases in the old place do not count in the new one"
    )
    return warn(f"{place} is on {kind}: after a reboot, leases of pods that are gone are still there", remedy)


def leases(context: Context) -> Finding:
    """No lease is stale or empty."""
    if context.network.is_unnamed:
        return skip("needs the name of the network, which Multus fills in")
    directories = networks.data_dirs(context.network, context.environ, context.machine.bin_dirs)
    attached = context.machine.attached
    usages = [Usage(stores.Store(each, context.network.name), Known([], ""), attached) for each in directories]
    total = sum(len(usage.leases) for usage in usages)
    stale = sum(usage.count(stores.STALE) for usage in usages)
    empty = sum(usage.count(stores.EMPTY) for usage in usages)
    if stale or empty:
        return warn(f"{total} in all, {stale} stale, {empty} empty", "see node-ipam.pyz gc, and gc --yes")
    unread = sum(not lease.is_readable for usage in usages for lease in usage.leases)
    if unread:
        return warn(f"{total} in all, {unread} cannot be read", "run this as root")
    doubt = next((usage.doubt for usage in usages if usage.leases and usage.doubt), "")
    if doubt:
        return ok(f"{total}; whether any is stale cannot be told: {doubt}")
    return ok(f"{total}, none stale")


def filesystem(path: str) -> str:
    """The type of the file system that this path is on, or will be."""
    path = os.path.realpath(path)
    best, kind = "", "an unknown file system"
    try:
        with open(MOUNTS, encoding="utf-8", errors="replace") as file:
            for line in file:
                # https://docs.kernel.org/filesystems/proc.html, mountinfo: (5) mount point … - type
                fields, _, rest = line.partition(" - ")
                point = fields.split()[4].encode().decode("unicode_escape")
                if len(point) >= len(best) and (path + "/").startswith(point.rstrip("/") + "/"):
                    best, kind = point, rest.split()[0]
    except (OSError, IndexError):
        pass
    return kind


def _unusable(path: str) -> tuple[str, str]:
    """Why the plugin cannot keep anything there when it runs as this user, and what to do; ("", "") if it can."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        parent = os.path.dirname(path)
        there = os.access(parent, os.W_OK)
        return (
            ("", "") if there else ("cannot be made", f"run this as root, and see that there is a directory {parent}")
        )
    except OSError as error:
        return f"cannot be looked at ({error.strerror})", "run this as root"
    if not stat.S_ISDIR(status.st_mode):
        return "is no directory", f"rm {path}"
    if status.st_uid != os.geteuid():
        return "belongs to another user", f"run this as that user, who should be root: ls -ld {path}"
    if status.st_mode & 0o077:
        return "can be read or changed by others", f"chmod 700 {path}"
    return "", ""
