"""Give each node without an annotation the next free block of each family in --cluster-cidr.

It prints the plan; --yes writes it. It never changes or removes a value, but --grow appends to one. Several processes
can run at the same time: one holds the Lease kube-system/node-ipam-ranges, the others wait. With --watch it also serves
nodes that join later.
"""

from __future__ import annotations

import argparse
import signal

from plugin.ops import output
from plugin.ops.ranges import connection, options
from plugin.ops.ranges.assignment import Assignment
from plugin.ops.ranges.cluster import Reader
from plugin.ops.ranges.events import Events, Probes
from plugin.ops.ranges.lease import Lease
from plugin.ops.ranges.once import Once
from plugin.ops.ranges.watch import Watch

EXAMPLE = """\
node-ipam.pyz ranges assign --annotation kube-node.nordix.org/net1 --cluster-cidr 172.20.0.0/16,fd00:20::/80 \\
  --node-cidr-mask-size-ipv4 24 --node-cidr-mask-size-ipv6 96
node-ipam.pyz ranges assign … --yes
node-ipam.pyz ranges assign … --grow NODE --yes"""
_WAIT = 60  # seconds


class Stopped(BaseException):
    """SIGTERM. Not an Exception, so that no other code handles it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    options.add(parser)
    output.add_format(parser)
    parser.add_argument("--yes", action="store_true", help="write the annotations; without it, only show the plan")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--watch", action="store_true", help="write, and go on for nodes that join later")
    text = "append the next free block of each family to the ranges of this node"
    mode.add_argument("--grow", default="", metavar="NODE", help=text)
    text = "with --watch: the directory for the files ready and healthy"
    parser.add_argument("--probe-dir", default="", metavar="DIR", help=text)
    text = f"with --yes: how long to wait for the Lease (default: {_WAIT})"
    parser.add_argument("--wait", type=int, default=_WAIT, metavar="SECONDS", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Assign and return the exit status. Raises CniError."""
    if arguments.probe_dir and not arguments.watch:
        raise output.UsageError("--probe-dir is for --watch", "add --watch, or leave it out")
    networks, excluded = options.networks(arguments), options.ranges(arguments.exclude, "--exclude")
    reader = Reader(arguments.annotation, arguments.selector)
    with connection.session(arguments) as session:
        assignment = Assignment(networks, excluded, connection.services(session, arguments))
        once = Once(session, reader, assignment, arguments.grow, arguments.output == "json")
        if not arguments.yes and not arguments.watch:
            return once.show()
        lease = Lease(session)
        signal.signal(signal.SIGTERM, _stop)
        try:
            if not arguments.watch:
                return once.write(lease, arguments.wait)
            events = Events(is_json=once.is_json)
            if assignment.services is None:
                events.write("warning", connection.UNKNOWN, what=connection.UNKNOWN)
            Watch(session, reader, assignment, lease, events, Probes(arguments.probe_dir)).run()
        except Stopped:
            return output.FINE if arguments.watch else output.FOUND
        finally:  # let another process have the Lease at once
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            lease.release()


def _stop(_signum: int, _frame: object) -> None:
    raise Stopped
