"""The API server, for the commands on ranges: as kubectl finds it, and what to do if it refuses or is unreachable."""

from __future__ import annotations

import contextlib
import gc
import os

from plugin.errors import Forbidden, Unreachable
from plugin.kube import session as sessions
from plugin.ops import output
from plugin.ops.ranges import cluster, options, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from plugin.kube.session import Session
    from plugin.ops.ranges.values import Range

UNKNOWN = "service range: not known; name it with --service-cluster-ip-range"


@contextlib.contextmanager
def session(arguments: argparse.Namespace) -> Iterator[Session]:
    """Return a session with the API server. Raises CniError."""
    gc.enable()  # switched off at the start, for commands that end soon
    try:
        yield sessions.connect(arguments.kubeconfig, os.environ)
    except Forbidden as error:
        error.details = "node-ipam.pyz ranges rbac prints the rules that the account needs"
        raise
    except Unreachable as error:
        error.details = error.details or output.UNREACHABLE
        raise


def services(session: Session, arguments: argparse.Namespace) -> tuple[Range, ...] | None:
    """Return the ranges of Services; None if they are not known."""
    if arguments.service_cluster_ip_range:
        return options.services(arguments)
    found = cluster.service_cidrs(session)
    return None if found is None else values.readable(",".join(found))


def listed(services: tuple[Range, ...] | None) -> list[str] | None:
    """Return the ranges of Services for a JSON document."""
    return None if services is None else [each.text for each in services]
