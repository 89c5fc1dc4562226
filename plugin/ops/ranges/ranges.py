"""Show the ranges of all nodes of a cluster; assign ranges to nodes without.

"show" (the default) reads spec.podCIDRs and annotations. It changes nothing. The exit status is 1 if a range is
missing, cannot be read, or overlaps another.

"assign" gives every selected node without the annotation the next free block of each family in --cluster-cidr. It
prints the plan; --yes writes it. It never changes or removes a value. Several processes can run at the same time: one
holds the Lease kube-system/node-ipam-ranges, the others wait. With --watch it also serves nodes that join later.

"rbac" prints the rules that an account needs for "assign".
"""

from __future__ import annotations

import gc
import os
import signal

from plugin.errors import Forbidden
from plugin.kube import session as sessions
from plugin.ops import output
from plugin.ops.deploy import yamltext
from plugin.ops.ranges import cluster, options, rbac
from plugin.ops.ranges.assign import Once
from plugin.ops.ranges.assignment import Assignment
from plugin.ops.ranges.cluster import Reader
from plugin.ops.ranges.events import Events
from plugin.ops.ranges.lease import Lease
from plugin.ops.ranges.probes import Probes
from plugin.ops.ranges.progress import Progress
from plugin.ops.ranges.show import Show
from plugin.ops.ranges.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from plugin.kube.session import Session
    from plugin.ops.ranges.values import Range

EXAMPLE = """\
node-ipam.pyz ranges
node-ipam.pyz ranges assign --annotation kube-node.nordix.org/net1 --cluster-cidr 172.20.0.0/16,fd00:20::/80 \\
  --node-cidr-mask-size-ipv4 24 --node-cidr-mask-size-ipv6 96
node-ipam.pyz ranges assign … --yes
node-ipam.pyz ranges assign … --grow NODE --yes"""
_WAIT = 60.0  # seconds


class Stopped(BaseException):
    """SIGTERM. Not an Exception, so that no other code handles it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    options.add(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the action and return the exit status. Raises CniError."""
    gc.enable()  # switched off at the start, for commands that end soon
    try:
        options.check(arguments)
        if arguments.action == "rbac":
            return _rbac()
        return _show(arguments) if arguments.action == "show" else _assign(arguments)
    except Forbidden as error:
        error.details = "node-ipam.pyz ranges rbac prints the rules that the account needs"
        raise


def _show(arguments: argparse.Namespace) -> int:
    pools = options.networks(arguments) if arguments.cluster_cidr else []
    excluded = options.excluded(arguments.exclude)
    reader = Reader(arguments.annotation, arguments.selector)
    session = sessions.connect(arguments.kubeconfig, os.environ)
    services = _services(session, arguments)
    progress = Progress("reading nodes")
    try:
        nodes, _ = reader.nodes(session, sessions.JSON, progress.show)
    finally:
        progress.clear()
    return Show(nodes, arguments.annotation, services, pools, excluded).show(arguments.output)


def _assign(arguments: argparse.Namespace) -> int:
    networks, excluded = options.networks(arguments), options.excluded(arguments.exclude)
    reader = Reader(arguments.annotation, arguments.selector)
    is_json = arguments.output == "json"
    session = sessions.connect(arguments.kubeconfig, os.environ)
    assignment = Assignment(networks, excluded, _services(session, arguments) or ())
    once = Once(session, reader, assignment, arguments.grow, is_json=is_json)
    if not arguments.yes and not arguments.watch:
        return once.show()
    lease = Lease(session, arguments.leader_elect_lease_duration)
    signal.signal(signal.SIGTERM, _stop)
    try:
        if not arguments.watch:
            return once.write(lease, _WAIT if arguments.wait is None else arguments.wait)
        Watch(session, reader, assignment, lease, Events(is_json=is_json), Probes(arguments.probe_dir)).run()
    except Stopped:
        return output.FINE if arguments.watch else output.FOUND
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        lease.release()


def _stop(_signum: int, _frame: object) -> None:
    raise Stopped


def _services(session: Session, arguments: argparse.Namespace) -> tuple[Range, ...] | None:
    """Return the ranges of Services; None if they are not known."""
    if arguments.service_cluster_ip_range:
        return options.services([arguments.service_cluster_ip_range])
    found = cluster.service_cidrs(session)
    return None if found is None else options.services(found)


def _rbac() -> int:
    for manifest in rbac.roles():
        output.line("---\n" + yamltext.dump(manifest).rstrip("\n"))
    output.line("# The Role does not let the account create the Lease; this creates it:")
    output.line("---\n" + yamltext.dump(rbac.lease()).rstrip("\n"))
    output.line("# kubectl create clusterrolebinding " + f"{rbac.NAME} --clusterrole {rbac.NAME} --user USER")
    output.line(f"# kubectl create rolebinding -n {rbac.LEASE_NAMESPACE} {rbac.NAME} --role {rbac.NAME} --user USER")
    return output.FINE
