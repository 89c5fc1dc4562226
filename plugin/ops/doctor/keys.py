"""Keys of a configuration that have no effect."""

from __future__ import annotations

from plugin import kube_node, node_annotation
from plugin.config import keys
from plugin.ops.doctor.finding import ok, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugin.ops.doctor.context import Context
    from plugin.ops.doctor.finding import Finding


def without_effect(context: Context) -> Finding:
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
    unknown = [(where, key) for config, place, where in places for key in keys.unknown(config, place)]
    if unknown:
        listed = ", ".join(f"{key} ({where})" for where, key in unknown)
        readers = network.type if network.type != kube_node.NAME else f"{network.type} nor host-local"
        return warn("unknown", f"not read by {readers}: {listed}", "remove them, or begin their names with _")
    return ok("all are known")
