"""The ranges: valid, this network's alone, and not used up."""

from __future__ import annotations

import os

from plugin import hostlocal, spans
from plugin.node import freshness
from plugin.ops import output
from plugin.ops.doctor.finding import fail, ok, skip, warn
from plugin.ops.leases import stores
from plugin.ops.leases.usage import Usage
from plugin.ops.networks import known_ranges
from plugin.ops.networks.known_ranges import Known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugin.ops.doctor.context import Context
    from plugin.ops.doctor.finding import Finding

_NEARLY = 0.9  # of a range


def pinned(context: Context) -> Finding | None:
    """No file stands between the Node and the network."""
    path = context.pinned_file
    if not path:
        return None
    remedy = f"remove it unless that is wanted: rm {path} (the Go kube-node leaves such a file, too)"
    return warn(f"{path} says the ranges, whatever the Node says", remedy)


def ranges(context: Context) -> Finding:
    """host-local can hand addresses out of them."""
    settings = context.settings
    if not context.pinned_file and context.facts is None and not (context.is_away and freshness.last_known(settings)):
        return skip("needs node")
    # By what the checks before have learnt, or else by what was known before: the server has been asked.
    settings.cache_seconds, settings.rate_limited = float("inf"), True
    context.heard.warnings.clear()
    plan = context.plan = context.plugin.plan(context.request, settings)
    if os.path.basename(plan.program) != hostlocal.NAME:
        return ok(f"left to {plan.program}")
    ipam = plan.config["ipam"]
    spans.check(spans.sets(ipam), _origin(context))
    context.spans = spans.of_ipam(ipam)
    what = f"{', '.join(map(str, context.spans))} from {_origin(context)}"
    if "ipv4-namespaces" in context.network.ipam and not any(span.first.version == 6 for span in context.spans):
        remedy = "give the node an IPv6 range, or leave ipv4-namespaces out"
        return warn(f"{what}: no IPv6, so pods of namespaces not in ipv4-namespaces get no address", remedy)
    return ok(what)


def overlap(context: Context) -> Finding:
    """No other network on this machine hands out the same addresses."""
    machine, own = context.machine, context.store
    known = dict(machine.ranges)
    unknown = {}
    for other in machine.others:
        store = hostlocal.store(str(other.ipam.get("dataDir") or ""), other.name)
        if store in (own, *known) or not other.type:
            continue
        found = known_ranges.of_network(other, machine.environ, machine.bin_dirs)
        known[store] = (other.name, found.spans)
        if not found.spans:
            unknown[other.name] = found.trouble
    machine.ranges[own] = (context.network.name, context.spans)
    clashes = [
        (name, span, its)
        for store, (name, theirs) in known.items()
        for its in theirs
        for span in context.spans
        if store != own and span.overlaps(its)
    ]
    if not clashes and unknown:
        told = "; ".join(f"{name} ({trouble})" for name, trouble in unknown.items())
        return ok(f"with no other network on this machine whose ranges are known; not known: {told}")
    if not clashes:
        return ok("with no other network on this machine")
    name, span, its = clashes[0]
    what = (
        f"{span} is also {'a range' if span.subnet == its.subnet else f'part of, or around, {its},'} of network {name}"
    )
    return fail(f"{what}: two pods can get one address", "give each network ranges of its own")


def free(context: Context) -> Finding:
    """There are addresses left."""
    if not context.spans:
        return skip("no ranges to look at")
    if context.network.is_unnamed:
        return skip("needs the name of the network, which Multus fills in")
    directory, network = os.path.split(context.store)
    usage = Usage(stores.Store(directory, network), Known(context.spans, ""), context.machine.attached)
    described = [f"{len(usage.inside(span))} of {output.amount(span.total)} used of {span}" for span in context.spans]
    full = [span for span in context.spans if not usage.free(span)]
    what = "; ".join(described)
    remedy = _remedy(usage)
    if full:
        return fail(f"no address left: {what}", remedy)
    if any(len(usage.inside(span)) >= _NEARLY * span.total for span in context.spans):
        return warn(f"nearly full: {what}", remedy)
    return ok(what)


def _remedy(usage: Usage) -> str:
    idle = 0 if usage.doubt else usage.count(stores.STALE) + usage.count(stores.EMPTY)
    if idle:
        return f"release the {idle} that nobody uses: node-ipam.pyz gc --yes"
    return "give the node a larger range, or run fewer pods on it; node-ipam.pyz leases --all shows who has which"


def _origin(context: Context) -> str:
    """Whose ranges they are."""
    if context.pinned_file:
        return context.pinned_file
    facts = context.facts or freshness.last_known(context.settings)
    annotation = context.network.ipam.get("annotation")
    field = f"annotation {annotation}" if annotation else "spec.podCIDRs"
    age = "" if context.facts or facts is None else " as known before, the server being away"
    return f"{field} of node {facts.name if facts else '?'}{age}"
