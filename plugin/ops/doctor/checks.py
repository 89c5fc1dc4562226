"""What doctor looks at, one small function for each check.

To add one: write a function that takes a Context (for what is the machine's own: a Machine) and returns ok(…), warn(…)
or fail(…), None when it has nothing to say of this network, or raises CniError, which is a fail; put it into the table
below, with the checks it cannot do without.
"""

from __future__ import annotations

from plugin.ops.doctor import access, addresses, configuration, files, state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from plugin.ops.doctor.context import Context, Machine
    from plugin.ops.doctor.finding import Finding

# Name, function, names of the checks it needs to have succeeded; in this order.
MACHINE: tuple[tuple[str, Callable[[Machine], Finding], tuple[str, ...]], ...] = (
    ("file", files.archive_file, ()),
    ("interpreter", files.interpreter, ("file",)),
    ("links", files.links, ("file",)),
    ("answer", files.answer, ("interpreter", "links")),
    ("configurations", configuration.directory, ()),
)
NETWORK: tuple[tuple[str, Callable[[Context], Finding | None], tuple[str, ...]], ...] = (
    ("node-annotation.conf", configuration.annotation_file, ()),
    ("configuration", configuration.network, ("node-annotation.conf",)),
    ("host-local", configuration.next_plugin, ("configuration",)),
    ("pinned", addresses.pinned, ("configuration",)),
    ("kubeconfig", access.kubeconfig, ("configuration",)),
    ("credential", access.credential, ("kubeconfig",)),
    ("server", access.server, ("credential",)),
    ("permission", access.permission, ("server",)),
    ("node", access.node, ("permission",)),
    ("ranges", addresses.ranges, ("configuration", "host-local")),
    ("overlap", addresses.overlap, ("ranges",)),
    ("cache", state.cache, ("configuration",)),
    ("dataDir", state.data_dir, ("configuration",)),
    ("addresses", addresses.free, ("ranges",)),
    ("leases", state.leases, ("configuration",)),
)
