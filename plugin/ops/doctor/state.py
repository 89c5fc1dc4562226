"""State on disk: the cache, dataDir, and the leases in it."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat

from plugin import node_annotation
from plugin.cache import Cache
from plugin.config.trust import unescaped
from plugin.leases.evidence.verdict import EMPTY, STALE
from plugin.node import memory
from plugin.ops import output
from plugin.ops.doctor.context import Context
from plugin.ops.doctor.finding import Finding, fail, ok, skip, warn
from plugin.ops.leases.usage import Usage
from plugin.ops.networks import known_ranges, networks
from plugin.ops.networks.configurations import Network

MOUNTS = "/proc/self/mountinfo"
_IN_MEMORY = ("tmpfs", "ramfs")


def cache(context: Context) -> Finding:
    """The cache directory can be used."""
    path = context.settings.cache.path
    trouble, remedy = _unusable(path)
    if trouble:
        return warn("unusable", f"{path} {trouble}: nothing is cached for the next pod", remedy)
    last = known_ranges.last_cached(context.settings, Cache(path))
    if last is None:
        return ok(f"{path}: no Node is cached for this network yet")
    what = f"{path}: node {last.facts.name}, queried {output.age(last.facts.age())} ago"
    recorded = memory.variables(last.way)
    other = {name: value for name, value in recorded.items() if value != context.environ.get(name, "")}
    if other.keys() - {"HOME"}:
        listed = ", ".join(f"{name}={value!r}" for name, value in other.items())
        return warn("other-environment", f"{what}, by a runtime with {listed}", f"run doctor with {listed}")
    return ok(what)


def data_dir(context: Context) -> Finding:
    """dataDir is on a file system that a reboot clears, as a reboot ends all pods."""
    if not context.uses_host_local:
        return skip(f"{context.next_plugin} keeps the leases")
    place = context.data_dir
    if not place:
        return skip("needs ranges: the annotation names it")
    kind = filesystem(place)
    if not kind:
        return ok(f"{place}: its file system is unknown, and so is whether a reboot clears it")
    if kind in _IN_MEMORY:
        return ok(f"{place}: cleared by a reboot")
    what = f"{place} is on {kind}: after a reboot, leases of pods that no longer exist are still there"
    return warn("on-disk", what, _move(place, context.network))


def other_stores(context: Context) -> Finding | None:
    """The leases of this network are in one place: dataDir was not changed while pods run."""
    if not context.uses_host_local or context.network.is_unnamed:
        return None
    named = map(os.path.normpath, networks.data_dirs(context.network, context.environ))
    usages = [context.usage(each) for each in dict.fromkeys((*named, *context.machine.data_dirs))]
    used = {each.store.path: _used(each) for each in usages if each.store.path != context.store}
    store, count = next(((path, count) for path, count in used.items() if count), ("", 0))
    if not store:
        return ok(context.store)
    what = f"{store} has {output.counted(count, 'lease')} in use, new pods get theirs in {context.store}"
    remedy = f"write the former dataDir, {os.path.dirname(store)}, until the node is drained"
    return fail("other-store", f"{what}: two pods can get one address", remedy)


def _used(usage: Usage) -> int:
    """Return how many leases are not known to be unused."""
    return len(usage.entries) - usage.count(STALE) - usage.count(EMPTY)


def _move(place: str, network: Network) -> str:
    """Return how to get a dataDir that a reboot clears."""
    name = network.name or "NAME"
    candidates = (f"/run/container-ipam-state/{name}", f"/run/cni/{name}")
    better = next((each for each in candidates if each != place and filesystem(each) in _IN_MEMORY), "")
    if not better:
        return f"drain the node, mount a tmpfs on {place} (also in /etc/fstab), and reboot"
    where = "the annotation" if network.type == node_annotation.NAME else f"ipam in {network.source}"
    return f'drain the node, write "dataDir": "{better}" into {where}, and reboot'


def leases(context: Context) -> Finding:
    """No lease is stale or empty."""
    if not context.uses_host_local:
        return skip(f"{context.next_plugin} keeps the leases")
    if context.network.is_unnamed:
        return skip("needs the network's name, which Multus adds")
    usages = [context.usage(each) for each in networks.data_dirs(context.network, context.environ)]
    total = sum(len(usage.entries) for usage in usages)
    stale = sum(usage.count(STALE) for usage in usages)
    empty = sum(usage.count(EMPTY) for usage in usages)
    if stale or empty:
        what = f"{total} in all, {stale} stale, {empty} empty"
        reclaimable = sum(usage.reclaimable for usage in usages)
        if reclaimable and context.settings.reclaim:
            what += f"; a full range reclaims {reclaimable} of them"
        return warn("stale", what, "list them: node-ipam.pyz gc; release them: node-ipam.pyz gc --yes")
    unread = sum(bool(entry.lease.trouble) for usage in usages for entry in usage.entries)
    if unread:
        return warn("unreadable", f"{total} in all, {unread} cannot be read", "run this as root")
    doubt = next((usage.doubt for usage in usages if usage.doubt), "")
    if doubt:
        return ok(f"{total}; whether any is stale is unknown: {doubt}")
    return ok(f"{total}, none stale")


def filesystem(path: str) -> str:
    """Return the type of the file system that this path is on, or will be; empty if it is unknown."""
    path = os.path.realpath(path)
    best, kind = "", ""
    with contextlib.suppress(OSError), open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            # https://docs.kernel.org/filesystems/proc.html, mountinfo: (5) mount point … - type
            fields, _, rest = line.partition(" - ")
            point = unescaped(fields.split()[4])
            if len(point) >= len(best) and (path + "/").startswith(point.rstrip("/") + "/"):
                best, kind = point, rest.split()[0]
    return kind


def _unusable(path: str) -> tuple[str, str]:
    """Return why the plugin cannot use this cache directory as this user, and what to do; ("", "") if it can."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        parent = os.path.dirname(path)
        there = os.access(parent, os.W_OK)
        return ("", "") if there else ("cannot be created", f"run this as root; mkdir -p {shlex.quote(parent)}")
    except OSError as error:
        return f"cannot be examined ({error.strerror})", "run this as root"
    if not stat.S_ISDIR(status.st_mode):
        return "is not a directory", f"rm {shlex.quote(path)}"
    name = shlex.quote(path)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        return "can be read or changed by others", f"chown root: {name}; chmod 700 {name}"
    return "", ""
