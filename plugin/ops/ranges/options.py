"""The options of `ranges`, by name as kube-controller-manager and kubectl have them."""

from __future__ import annotations

import argparse
import re

from plugin.addresses import ranges
from plugin.errors import INVALID_CONFIG, CniError
from plugin.ops import output
from plugin.ops.ranges import assignment, pool, values
from plugin.ops.ranges.rbac import DURATION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plugin.ops.ranges.assignment import Network
    from plugin.ops.ranges.values import Range

ACTIONS = ("show", "assign", "rbac")
# https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/#syntax-and-character-set
_ANNOTATION = re.compile(r"(?:[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_ONLY_ASSIGN = ("yes", "watch", "grow", "probe_dir", "wait")


def add(parser: argparse.ArgumentParser) -> None:
    """Give the command its options."""
    text = "show the ranges of all nodes (default), assign ranges to nodes without, or print the rbac rules for that"
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="show", metavar="ACTION", help=text)
    text = "the credential to use (default: $KUBECONFIG, ~/.kube/config, or the service account of this pod)"
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help=text)
    text = "an annotation that holds ranges; may be repeated (default of show: all below kube-node.nordix.org/)"
    parser.add_argument("--annotation", action="append", default=[], type=annotation, metavar="NAME", help=text)
    text = "the nodes that need ranges, as kubectl's --selector (default: all)"
    parser.add_argument("--selector", default="", metavar="LABELS", help=text)
    text = "the option of kube-apiserver (default: the cluster's ServiceCIDR objects, Kubernetes 1.33 or later)"
    parser.add_argument("--service-cluster-ip-range", default="", metavar="CIDR[,CIDR]", help=text)
    add_pool(parser)
    output.add_format(parser, "prometheus")
    group = parser.add_argument_group("options of assign")
    group.add_argument("--yes", action="store_true", help="write the annotations; without it, only show the plan")
    group.add_argument("--watch", action="store_true", help="write, and go on for nodes that join later")
    group.add_argument(
        "--grow",
        default="",
        metavar="NODE",
        help="append the next free block of each family to the ranges of this node",
    )
    text = "with --watch: the directory for the files ready and healthy"
    group.add_argument("--probe-dir", default="", metavar="DIR", help=text)
    text = "with --yes: how long to wait for the Lease (default: 60)"
    group.add_argument("--wait", type=float, default=None, metavar="SECONDS", help=text)
    text = f"after how long another process takes the Lease over (default: {DURATION:.0f})"
    group.add_argument("--leader-elect-lease-duration", type=_duration, default=DURATION, metavar="SECONDS", help=text)


def add_pool(parser: argparse.ArgumentParser) -> None:
    """The options that describe the pools; --cluster-cidr and --annotation are repeated together."""
    text = "the networks from which nodes get blocks; once for each --annotation, in the same order"
    parser.add_argument("--cluster-cidr", action="append", default=[], metavar="CIDR[,CIDR]", help=text)
    add_sizes(parser)


def add_sizes(parser: argparse._ActionsContainer) -> None:
    """The options of a pool that deploy has too."""
    for version, size in pool.SIZES.items():
        name, text = f"--node-cidr-mask-size-ipv{version}", f"the prefix length of a node's IPv{version} range"
        parser.add_argument(name, type=int, default=size, metavar="N", help=f"{text} (default: {size})")
    text = "networks that no node gets; may be repeated"
    parser.add_argument("--exclude", action="append", default=[], metavar="CIDR[,CIDR]", help=text)


def check(arguments: argparse.Namespace) -> None:
    """Raise CniError for options that do not belong together."""
    action = arguments.action
    wrong = [name for name in _ONLY_ASSIGN if getattr(arguments, name) and action != "assign"]
    if wrong:
        option = "--" + wrong[0].replace("_", "-")
        raise CniError(INVALID_CONFIG, f"{option} is an option of assign", f"write: ranges assign {option}")
    if action == "assign" and arguments.output == "prometheus":
        raise CniError(INVALID_CONFIG, "-o prometheus is for show", "ranges show -o prometheus")
    if arguments.watch and arguments.grow:
        raise CniError(INVALID_CONFIG, "--grow and --watch exclude each other", "use --grow NODE --yes")
    if arguments.probe_dir and not arguments.watch:
        raise CniError(INVALID_CONFIG, "--probe-dir is for --watch", "add --watch, or leave it out")


def networks(arguments: argparse.Namespace) -> list[Network]:
    """Return the networks with a pool. Raises CniError."""
    sizes = {version: getattr(arguments, f"node_cidr_mask_size_ipv{version}") for version in pool.SIZES}
    return assignment.parse(arguments.annotation, arguments.cluster_cidr, sizes)


def excluded(texts: Iterable[str]) -> tuple[Range, ...]:
    """Return the ranges of --exclude. Raises CniError."""
    return tuple(values.of_network(each) for text in texts for each in cidrs(text, "--exclude"))


def cidrs(text: str, option: str) -> list[ranges.Network]:
    """Return the networks in a comma-separated list, which may be of any size. Raises CniError."""
    import ipaddress

    try:
        return [ipaddress.ip_network(item.strip()) for item in text.split(",")]
    except ValueError as error:
        raise CniError(INVALID_CONFIG, f"{option}: {error}", "write networks such as 10.0.1.0/24") from None


def services(texts: Sequence[str]) -> tuple[Range, ...]:
    """Return the ranges of Services. Raises CniError."""
    return tuple(values.of_network(each) for text in texts for each in cidrs(text, "--service-cluster-ip-range"))


def annotation(text: str) -> str:
    """The type of an argument that names an annotation."""
    if not _ANNOTATION.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of an annotation, such as example.com/net1")
    return text


def _duration(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to 3600")
    return seconds
