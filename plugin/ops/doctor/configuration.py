"""Who runs doctor; CNI configurations, their keys, and node-annotation's file."""

from __future__ import annotations

import os

from plugin import kube_node, node_annotation
from plugin.config import keys
from plugin.ops import output
from plugin.ops.doctor.context import Context, Machine
from plugin.ops.doctor.finding import Finding, fail, ok, skip, warn
from plugin.ops.install import archive

_NONE = """\
write one, see "Three networks" in README; for a network defined only in a NetworkAttachmentDefinition:
kubectl get net-attach-def NAME -o jsonpath={.spec.config} | node-ipam.pyz doctor -"""


def user(machine: Machine) -> Finding | None:
    """doctor runs as the user as whom the runtime runs the plugin."""
    if machine.is_root:
        return None
    what = "this is not root: what the plugin can read and write as root is unknown"
    return fail("not-root", what, "run it as root: sudo node-ipam.pyz doctor")


def variables(machine: Machine) -> Finding | None:
    """The shell has no variables that would change what is looked at."""
    if not machine.ignored:
        return None
    listed = ", ".join(f"{name}={value}" for name, value in machine.ignored.items())
    return ok(f"ignored, as the runtime has its own: {listed} of this shell; to use that: --shell-environment")


def directory(machine: Machine) -> Finding:
    """There are configurations that use a type of ours, and all can be read."""
    if machine.troubles:
        first, *more = machine.troubles
        others = f" (and {output.counted(len(more), 'more such file')})" if more else ""
        return fail("unreadable", first.msg + others, first.details)
    if machine.wanted:
        return ok(", ".join(dict.fromkeys(f"{each.name or '(no name)'} in {each.source}" for each in machine.wanted)))
    if not os.path.lexists(os.path.join(machine.folder(), archive.FILE)):
        return skip("needs file")
    return warn("none", f"no configuration in {machine.source} uses kube-node or node-annotation", _NONE)


def annotation_file(context: Context) -> Finding | None:
    """node-annotation's own configuration file can be read."""
    if context.network.type != node_annotation.NAME:
        return None
    path = node_annotation.config_file(context.environ)
    config = node_annotation.read_config(context.environ)
    variable = node_annotation.CONFIG_VARIABLE
    named = f" (${variable} of this shell names it)" if context.environ.get(variable) else ""
    if not os.path.exists(path):
        return ok(f"{path} does not exist: defaults are used")
    return ok(f"{path} sets {', '.join(config) or 'nothing'}{named}")


def network(context: Context) -> Finding:
    """The plugin accepts the configuration."""
    context.prepare()
    main = context.network.config.get("type") or "no main plugin"
    return ok(f"{context.network.source}: {main} with {context.network.type}, cniVersion {context.request.version}")


def keys_without_effect(context: Context) -> Finding:
    """Every key is one that the plugin or host-local reads, or a comment."""
    network = context.network
    places = [(network.ipam, keys.KUBE_NODE, f"ipam in {network.source}")]
    if network.type == node_annotation.NAME:
        file = node_annotation.config_file(context.environ)
        places = [
            (network.ipam, keys.NODE_ANNOTATION, f"ipam in {network.source}"),
            (node_annotation.read_config(context.environ), keys.CONF, file),
        ]
    for config, place, where in places:
        misplaced = keys.misplaced(config, place)
        if misplaced:
            listed = ", ".join(f"{key} belongs into {right}" for key, right in misplaced.items())
            return warn("misplaced", f"{where}: {', '.join(misplaced)} without effect", f"move them: {listed}")
        fault = keys.level_fault(config)
        if fault:
            return warn("unknown", f"{where}: {fault}", keys.LEVEL_REMEDY)
    unknown = [(where, key) for config, place, where in places for key in keys.unknown(config, place)]
    if unknown:
        listed = ", ".join(f"{key} ({where})" for where, key in unknown)
        readers = network.type if network.type != kube_node.NAME else f"{network.type} nor host-local"
        return warn("unknown", f"not read by {readers}: {listed}", "remove them, or begin their names with _")
    return ok("all are known")
