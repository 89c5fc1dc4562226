"""The table of checks: one small function for each.

To add a check, write a function that takes a Context, or a Machine for what concerns the whole machine. It returns
ok(…), warn(…), fail(…) or skip(…), or None if there is nothing to report; a CniError that it raises is a failure. Put
it into the table below, with the checks that it needs. The name of a check and the kind of a finding are stable names.
"""

from __future__ import annotations

from collections.abc import Callable

from plugin.ops.doctor import (
    access,
    addresses,
    bridge,
    configuration,
    files,
    plugins,
    state,
)
from plugin.ops.doctor.context import Context, Machine
from plugin.ops.doctor.finding import Finding

# Name, function, names of the checks that must have succeeded; in this order.
MACHINE: tuple[tuple[str, Callable[[Machine], Finding | None], tuple[str, ...]], ...] = (
    ("user", configuration.user, ()),
    ("environment", configuration.variables, ()),
    ("file", files.archive_file, ()),
    ("interpreter", files.interpreter, ("file",)),
    ("links", files.links, ("file",)),
    ("answer", files.answer, ("interpreter", "links")),
    ("host-local", plugins.host_local, ()),
    ("configurations", configuration.directory, ()),
)
NETWORK: tuple[tuple[str, Callable[[Context], Finding | None], tuple[str, ...]], ...] = (
    ("node-annotation.conf", configuration.annotation_file, ()),
    ("configuration", configuration.network, ("node-annotation.conf",)),
    ("keys", configuration.keys_without_effect, ("configuration",)),
    ("plugins", plugins.versions, ()),
    ("next-plugin", plugins.next_plugin, ("configuration",)),
    ("pinned", addresses.pinned, ("configuration",)),
    ("kubeconfig", access.kubeconfig, ("configuration",)),
    ("credential", access.credential, ("kubeconfig",)),
    ("server", access.server, ("credential",)),
    ("permission", access.permission, ("server",)),
    ("node", access.node, ("permission",)),
    ("ranges", addresses.ranges, ("configuration", "next-plugin")),
    ("overlap", addresses.overlap, ("ranges",)),
    ("other-nodes", addresses.other_nodes, ("ranges", "node")),
    ("bridge", bridge.gateway, ("ranges",)),
    ("cache", state.cache, ("configuration",)),
    ("dataDir", state.data_dir, ("next-plugin",)),
    ("store", state.other_stores, ("ranges",)),
    ("addresses", addresses.free, ("ranges",)),
    ("leases", state.leases, ("next-plugin",)),
)
