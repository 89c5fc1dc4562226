"""The options of `ranges`, by name as kube-controller-manager and kubectl have them."""

from __future__ import annotations

import argparse
import ipaddress

from plugin.config.values import is_annotation_name
from plugin.errors import CniError
from plugin.ops import output
from plugin.ops.ranges import assignment, pool, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from plugin.ops.ranges.assignment import Network
    from plugin.ops.ranges.values import Range

annotation = output.checked(is_annotation_name, "the name of an annotation, such as example.com/net1")
_SERVICES = "--service-cluster-ip-range"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options that show and assign have in common."""
    text = "the credential to use (default: $KUBECONFIG, ~/.kube/config, or the service account of this pod)"
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help=text)
    text = 'an annotation that holds ranges; may be repeated (default of "show": all below kube-node.nordix.org/)'
    parser.add_argument("--annotation", action="append", default=[], type=annotation, metavar="NAME", help=text)
    text = "the nodes that need ranges, as kubectl's --selector (default: all)"
    parser.add_argument("--selector", default="", metavar="LABELS", help=text)
    text = "the option of kube-apiserver (default: the cluster's ServiceCIDR objects, Kubernetes 1.33 or later)"
    parser.add_argument(_SERVICES, default="", metavar="CIDR[,CIDR]", help=text)
    text = "the networks from which nodes get blocks; once for each --annotation, in the same order"
    parser.add_argument("--cluster-cidr", action="append", default=[], metavar="CIDR[,CIDR]", help=text)
    add_sizes(parser)


def add_sizes(parser: argparse._ActionsContainer) -> None:
    """Add the options of a pool that deploy has too."""
    for version, size in pool.SIZES.items():
        name, text = f"--node-cidr-mask-size-ipv{version}", f"the prefix length of a node's IPv{version} range"
        parser.add_argument(name, type=int, default=size, metavar="N", help=f"{text} (default: {size})")
    text = "networks that no node gets; may be repeated"
    parser.add_argument("--exclude", action="append", default=[], metavar="CIDR[,CIDR]", help=text)


def networks(arguments: argparse.Namespace) -> list[Network]:
    """Return the networks with a pool. Raises UsageError."""
    sizes = {version: getattr(arguments, f"node_cidr_mask_size_ipv{version}") for version in pool.SIZES}
    try:
        return assignment.parse(arguments.annotation, arguments.cluster_cidr, sizes)
    except CniError as error:
        raise output.UsageError(error.msg, error.details) from None


def services(arguments: argparse.Namespace) -> tuple[Range, ...]:
    """Return the ranges of Services that the arguments name. Raises UsageError."""
    named = arguments.service_cluster_ip_range
    return ranges([named] if named else [], _SERVICES)


def ranges(texts: Iterable[str], option: str) -> tuple[Range, ...]:
    """Return the networks in comma-separated lists, which may be of any size. Raises UsageError."""
    try:
        found = [ipaddress.ip_network(item.strip()) for text in texts for item in text.split(",")]
    except ValueError as error:
        raise output.UsageError(f"{option}: {error}", "write networks such as 10.0.1.0/24") from None
    return tuple(map(values.of_network, found))
