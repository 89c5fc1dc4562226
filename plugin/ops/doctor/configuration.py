"""What was written by hand: CNI configurations, node-annotation's file, and the next plugin they lead to."""

from __future__ import annotations

import os

from plugin import cni, delegate, hostlocal, node_annotation
from plugin.errors import CniError
from plugin.ops.doctor.finding import fail, ok, warn
from plugin.ops.install.root import Root
from plugin.ops.networks import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugin.ops.doctor.context import Context, Machine
    from plugin.ops.doctor.finding import Finding

_SECONDS = 10.0  # for a plugin to say its version


def directory(machine: Machine) -> Finding:
    """There are configurations that use a type of ours, and all can be read."""
    if machine.troubles:
        first, *more = machine.troubles
        others = f" (and {len(more)} more such files)" if more else ""
        return fail(first.msg + others, first.details or "mend or remove the file: the runtime cannot read it either")
    if machine.wanted:
        return ok(", ".join(dict.fromkeys(f"{each.name or '(no name)'} in {each.source}" for each in machine.wanted)))
    remedy = (
        "of a network that Multus attaches, give the configuration on standard input: node-ipam.pyz doctor - < CONF"
    )
    return warn(f"no configuration in {machine.source} uses kube-node or node-annotation", remedy)


def annotation_file(context: Context) -> Finding | None:
    """node-annotation's own configuration file."""
    if context.network.type != node_annotation.NAME:
        return None
    path = node_annotation.config_file(context.environ)
    keys = node_annotation.read_config(context.environ)
    if not os.path.exists(path):
        return ok(f"there is no {path}: defaults are used")
    return ok(f"{path} sets {', '.join(keys) or 'nothing'}")


def network(context: Context) -> Finding:
    """The plugin accepts the configuration."""
    context.prepare()
    main = context.network.config.get("type") or "no main plugin"
    return ok(f"{context.network.source}: {main} with {context.network.type}, cniVersion {context.request.version}")


def next_plugin(context: Context) -> Finding:
    """The plugin that does the allocation is where the runtime looks for it, and answers."""
    request, name = context.request, hostlocal.NAME
    try:
        if context.network.type == node_annotation.NAME:
            name = os.path.basename(str(node_annotation.read_config(request.environ).get("nextipam") or name))
            path = node_annotation.next_plugin(
                request.environ, node_annotation.read_config(request.environ), request.program
            )
        else:
            path = delegate.find(name, request.directories())
    except CniError as error:
        return fail(error.msg, _elsewhere(name, context.machine.folder()) or error.details)
    if os.path.basename(path) != hostlocal.NAME:
        return ok(f"{path}, named by nextipam")
    try:
        versions = Root("/").supported_versions(path, _SECONDS)
        about = Root("/").run([path], {}, seconds=_SECONDS).stderr.decode("utf-8", "replace")
    except CniError as error:
        return fail(error.msg, error.details or "install the CNI plugins anew")
    speaks = "speaks 1.1.0" if cni.NEWEST in versions else f"speaks up to {versions[-1]}, 1.1.0 is translated for it"
    return ok(f"{path}, {_version(about)}, {speaks}")


def _version(about: str) -> str:
    """What it says of itself on stderr when it is called without a command; Debian's does not know its version."""
    first = about.partition("\n")[0]
    _, found, version = first.rpartition(" plugin ")
    return version.strip()[:60] if found and version.strip() else "version unknown"


def _elsewhere(name: str, folder: str) -> str:
    """What to do when it is on this machine, only not where the runtime looks."""
    for place in networks.BIN_DIRS:
        path = os.path.join(place, name)
        if os.path.isfile(path):
            return f"it is in {place}: ln -s {path} {folder}/, or name {place} in the runtime's configuration"
    return ""
