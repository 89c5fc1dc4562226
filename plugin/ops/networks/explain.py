"""Show the configuration that the next plugin would get for a pod, and where each part of it comes from.

Nothing is allocated, and nothing is kept for the next pod.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any

from plugin import deadline, kube_node, node_annotation, verbs
from plugin.addresses import node_ranges
from plugin.cni import Request
from plugin.config import keys
from plugin.config.settings import Settings
from plugin.deadline import DeadlineExceeded
from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.kube import kubeconfig
from plugin.leases import hostlocal
from plugin.log import Log
from plugin.node import freshness, memory
from plugin.ops import output
from plugin.ops.networks import known_ranges, networks
from plugin.ops.networks.configurations import Network
from plugin.ops.networks.overlay import Overlay

EXAMPLE = """\
node-ipam.pyz explain k8snet
node-ipam.pyz explain --namespace old-application < /etc/cni/net.d/10-k8snet.conf"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    networks.add_conf(parser, "standard input")
    text = "the namespace of the pod, for ipv4-namespaces"
    parser.add_argument("--namespace", default="", metavar="NAME", help=text)
    output.add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the configurations and the errors of networks that have none. Raises CniError if no network is ours."""
    if not arguments.conf and sys.stdin.isatty():
        known = sorted({each.name for each in networks.scan(arguments.conf_dir)[0] if each.is_ours})
        listed = ", ".join(known) or "none"
        details = f"name a network, a file, or - for standard input; networks of {arguments.conf_dir}: {listed}"
        raise output.UsageError("which CONF?", details)
    conf = arguments.conf or "-"
    found, troubles = networks.chosen(conf, arguments.conf_dir)
    explanations = []
    for network in networks.only_ours(found, conf, troubles):
        try:
            explanations.append(_within_time(network, arguments))
        except CniError as error:
            name = network.name or "(no name)"
            troubles.append(CniError(error.code, f"network {name}: {error.msg}", error.details))
    if arguments.output == "json":
        output.document({"networks": explanations, "troubles": output.listed(troubles)})
    else:
        for at, explanation in enumerate(explanations):
            if at:
                output.line()
            _print(explanation)
    return output.conclude(troubles)


def _within_time(network: Network, arguments: argparse.Namespace) -> dict[str, Any]:
    try:
        with deadline.within(deadline.TOTAL):
            return _explained(network, arguments)
    except DeadlineExceeded:
        what = f"no answer within {deadline.TOTAL:.0f} seconds"
        raise CniError(PLUGIN_FAILURE, what, "node-ipam.pyz doctor finds the cause") from None


def _explained(network: Network, arguments: argparse.Namespace) -> dict[str, Any]:
    request, settings = _asked(network, arguments)
    settings.cache = overlay = Overlay(settings.cache)
    settings.log = Log(plugin=network.type)
    plan = verbs.type_of(request).plan(request, settings)
    config, translated = hostlocal.translate(plan.program, plan.config)
    ipam = config["ipam"]
    sources = {key: network.source for key in config if key != "ipam"}
    if network.is_unnamed:
        sources["name"] = "Multus, which adds the name of the NetworkAttachmentDefinition"
    if translated:
        sources["cniVersion"] = f"{network.source} says {request.version}, in which the result is given back"
    sources.update({f"ipam.{key}": _origin(key, ipam[key], network, settings, overlay) for key in ipam})
    unknown = [f"ipam.{key}" for key in keys.unknown(network.ipam, f"ipam of {network.type}")]
    return {
        "network": network.name,
        "program": plan.program,
        "config": config,
        "from": sources,
        "leftOut": [f"ipam.{key}" for key in network.ipam if key not in ipam],
        **({"withoutEffect": unknown} if unknown else {}),
    }


def _asked(network: Network, arguments: argparse.Namespace) -> tuple[Request, Settings]:
    """Return the request for a pod of the namespace."""
    namespace = f";K8S_POD_NAMESPACE={arguments.namespace}" if arguments.namespace else ""
    environ = {**networks.environ(arguments), "CNI_ARGS": f"IgnoreUnknown=1{namespace}"}
    return known_ranges.runtime_request(network, "ADD", environ)


def _origin(key: str, value: object, network: Network, settings: Settings, overlay: Overlay) -> str:
    """Return the file, field or program that a key of ipam comes from."""
    if network.type == node_annotation.NAME:
        return _next_plugin(settings.environ) if key == "type" else _field(network, settings, overlay)
    if key == "type":
        return f"{kube_node.NAME} always hands over to {hostlocal.NAME}"
    pinned = known_ranges.pinned_file(network)
    if pinned and (key == "ranges" or value != network.ipam.get(key)):
        return pinned
    if key != "ranges":
        return network.source
    excluded = ", without the addresses in exclude" if network.ipam.get("exclude") else ""
    limited = ", ordered and limited by ipv4-namespaces" if "ipv4-namespaces" in network.ipam else ""
    return _field(network, settings, overlay) + excluded + limited


def _next_plugin(environ: Mapping[str, str]) -> str:
    if "nextipam" in node_annotation.read_config(environ):
        return f"nextipam in {node_annotation.config_file(environ)}"
    return f"{node_annotation.NAME} hands over to {hostlocal.NAME} unless nextipam is configured"


def _field(network: Network, settings: Settings, overlay: Overlay) -> str:
    """Return the field of the Node, how the Node was identified, and when it was read."""
    known = freshness.last_known(settings)
    assert known  # or else there were no ranges
    if overlay.has_new(memory.PREFIX):
        config = kubeconfig.find(settings.kubeconfig, settings.environ, settings.label)
        since = f"queried just now with {config.path} ({config.why})"
    else:
        names = [each.name for each in known_ranges.cached_nodes(overlay) if each.facts.asked == known.asked]
        since = f"{output.age(known.age())} old in {os.path.join(overlay.path, *names[:1])}"
    return f"{node_ranges.origin(network.ipam, known)} (by {known.identified_by}), {since}"


def _print(explanation: dict[str, Any]) -> None:
    program = output.printable(explanation["program"])
    output.line(f"{program} would get for network {explanation['network']}:")
    output.document(explanation["config"])
    output.line()
    output.table(("KEY", "FROM"), list(explanation["from"].items()))
    if "withoutEffect" in explanation:
        output.line(f"without effect: {output.printable(', '.join(explanation['withoutEffect']))}")
    if explanation["leftOut"]:
        output.line(f"left out: {output.printable(', '.join(explanation['leftOut']))}")
