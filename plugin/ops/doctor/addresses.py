"""The ranges: valid, used by this network and this node only, and not full."""

from __future__ import annotations

import itertools
import shlex

from plugin import deadline, kube_node
from plugin.addresses import node_ranges, spans
from plugin.errors import Forbidden, Unreachable
from plugin.facts import place
from plugin.leases import hostlocal
from plugin.leases.evidence.verdict import EMPTY, STALE
from plugin.node import freshness
from plugin.ops import output
from plugin.ops.doctor.context import Context
from plugin.ops.doctor.finding import Finding, fail, ok, skip, warn
from plugin.ops.leases.usage import Usage
from plugin.ops.networks.configurations import Network
from plugin.ops.ranges import survey, values
from plugin.ops.ranges.cluster import Reader

_NEARLY = 0.9  # of a range
LISTING = 10.0  # seconds for the list of all Nodes
_ADVICE = "node-ipam.pyz ranges, with a credential that may list nodes, compares all of them"


def pinned(context: Context) -> Finding | None:
    """No file replaces the Node's ranges."""
    path = context.pinned_file
    if not path:
        return None
    remedy = f"unless that is wanted: rm {shlex.quote(path)} (the Go kube-node leaves such a file behind)"
    return warn("file", f"the ranges in {path} are used, not those of the Node", remedy)


def ranges(context: Context) -> Finding:
    """host-local can allocate from the ranges."""
    settings = context.settings
    if not context.pinned_file and context.facts is None and not (context.is_away and freshness.last_known(settings)):
        return skip("needs node")
    # From what the checks before have read, or else from the cache: no query is needed.
    settings.is_offline = True
    context.log.warnings.clear()
    plan = context.plan = context.plugin.plan(context.request, settings)
    if not hostlocal.is_host_local(plan.program):
        return ok(f"allocated by {plan.program}")
    ipam = plan.config["ipam"]
    spans.check(spans.sets(ipam), _origin(context))
    context.spans = spans.of_ipam(ipam)
    what = f"{', '.join(map(str, context.spans))} from {_origin(context)}"
    limited = context.network.type == kube_node.NAME and "ipv4-namespaces" in context.network.ipam
    if limited and not any(span.first.version == 6 for span in context.spans):
        what = f"{what}: no IPv6, so pods of namespaces not in ipv4-namespaces get no address"
        return warn("no-ipv6", what, "give the node an IPv6 range, or remove ipv4-namespaces")
    return ok(what)


def overlap(context: Context) -> Finding:
    """No other network on this machine allocates the same addresses."""
    machine, own = context.machine, context.store
    known = dict(machine.ranges)
    unknown = {}
    for at, other in enumerate(machine.others):
        if _is_same(other, context.network) or not other.type:
            continue
        found = context.known_of(at)
        if found.spans:
            known.setdefault(hostlocal.store(found.data_dir, other.name), (other.name, found.spans))
        elif all(other.name != name for name, _spans in known.values()):
            unknown[other.name] = found.trouble
    machine.ranges[own] = (context.network.name, context.spans)
    clashes = (
        f"{span} overlaps {its} of network {name}: two pods can get one address"
        for store, (name, theirs) in known.items()
        for its in theirs
        for span in context.spans
        if store != own and span.overlaps(its)
    )
    for clash in clashes:
        return fail("other-network", clash, "give each network ranges of its own")
    if unknown:
        told = "; ".join(f"{name} ({trouble})" for name, trouble in unknown.items())
        return ok(f"no overlap with a network on this machine whose ranges are known; unknown: {told}")
    return ok("no overlap with another network on this machine")


def other_nodes(context: Context) -> Finding:
    """No other node has the same addresses, as far as they can be listed."""
    if not context.spans or context.facts is None:
        return skip("needs ranges and node")
    key = (context.kubeconfig.path, context.kubeconfig.server)
    if key not in context.machine.nodes:  # do not list them once for each network
        context.machine.nodes[key] = _list_nodes(context)
    nodes = context.machine.nodes[key]
    if isinstance(nodes, Finding):
        return nodes
    others = {name: held for name, held in nodes.items() if name != context.facts.name}
    own = [values.of_span(span) for span in context.spans]
    clashes = (
        f"{ours.text} overlaps {theirs.text}, {place(network, name)}: two pods can get one address"
        for name, held in others.items()
        for network, value in held
        for ours, theirs in itertools.product(own, value.ranges)
        if ours.overlaps(theirs)
    )
    for clash in clashes:
        return fail("overlap", clash, "see node-ipam.pyz ranges, and give each node its own range")
    return ok(f"compared with {output.counted(len(others), 'other node')}: none has one of these addresses")


def _list_nodes(context: Context) -> dict[str, list[tuple[str, values.Value]]] | Finding:
    """Return the ranges of each Node by network, or why they cannot be listed."""
    names = [each.ipam.get("annotation") for each in context.machine.wanted]
    reader = Reader([each for each in names if isinstance(each, str)])
    try:
        with deadline.within(LISTING):
            return {node.name: list(survey.held(node)) for node in map(reader.node, context.client.list_nodes())}
    except Forbidden:
        return skip(f"not compared: this credential is not allowed to list nodes; {_ADVICE}")
    except (Unreachable, deadline.DeadlineExceeded):
        return skip(f"not compared: the nodes could not be listed within {LISTING:.0f} seconds; {_ADVICE}")


def free(context: Context) -> Finding:
    """There are free addresses."""
    if not context.spans:
        return skip("no ranges")
    if context.network.is_unnamed:
        return skip("needs the network's name, which Multus adds")
    usage = context.usage(context.data_dir)
    described = [f"{len(usage.inside(span))} of {output.amount(span.total)} used of {span}" for span in context.spans]
    sets = spans.by_set(context.spans)
    full = [each for each in sets if not any(usage.free(span) for span in each)]
    what = "; ".join(described)
    remedy = _remedy(usage, context.settings.reclaim)
    if full:
        return fail("full", f"no free address: {what}", remedy)
    if any(sum(len(usage.inside(one)) for one in each) >= _NEARLY * sum(one.total for one in each) for each in sets):
        return warn("nearly-full", f"nearly full: {what}", remedy)
    return ok(what)


def _is_same(other: Network, checked: Network) -> bool:
    """Return whether this is the configuration that is checked, which Multus may give its name."""
    name = other.name if checked.is_unnamed else checked.name
    return other.config == {**checked.config, "name": name}


def _remedy(usage: Usage, reclaims: bool) -> str:
    if usage.reclaimable and reclaims:
        what = f"a full range reclaims {output.counted(usage.reclaimable, 'lease')} of containers that are gone"
        return f"{what}; release them now: node-ipam.pyz gc --yes"
    idle = 0 if usage.doubt else usage.count(STALE) + usage.count(EMPTY)
    if idle:
        return f"release the {output.counted(idle, 'unused lease')}: node-ipam.pyz gc --yes"
    return "give the node a larger range, or run fewer pods on it; node-ipam.pyz leases --all lists them"


def _origin(context: Context) -> str:
    """Return where the ranges are from."""
    if context.pinned_file:
        return context.pinned_file
    facts = context.facts or freshness.last_known(context.settings)
    assert facts  # or else there were no ranges
    age = "" if context.facts else ", cached: the server is unreachable"
    return node_ranges.origin(context.network.ipam, facts) + age
