"""The way to the Node object: kubeconfig, credential, server, permission, and which Node it is."""

from __future__ import annotations

import os
import stat
import time

from plugin import deadline
from plugin.errors import CniError, Forbidden, NodeMissing, Unreachable
from plugin.node import freshness as nodes
from plugin.ops import output
from plugin.ops.doctor.finding import fail, ok, skip, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugin.ops.doctor.context import Context
    from plugin.ops.doctor.finding import Finding

_SOON = 7 * 86400  # seconds; what is not renewed by itself should be by then
_UNREACHABLE = "see whether it runs, whether server: in the kubeconfig is its address, and what a firewall lets through"
_OTHER_MACHINE = "see that the name is this machine's; another node's ranges are worse than none"
_OTHER_RANGES = "new pods get addresses of the new ranges; those that run keep theirs, see node-ipam.pyz leases"
PATIENCE = 5.0  # seconds for its first answer


def kubeconfig(context: Context) -> Finding:
    """It is found, readable and selects a server."""
    from plugin.kube import kubeconfig as files

    if context.pinned_file:
        return skip(f"not needed: the ranges are in {context.pinned_file}")
    settings = context.settings
    config = context.kubeconfig = files.find(settings.kubeconfig, settings.environ, settings.label)
    what = f"{config.path} ({config.why}), user {config.user_name!r}, server {config.server}"
    if config.server.startswith("http://"):
        return warn(f"{what}: plain HTTP, so no credential is sent", "write https:// and the server's TLS port")
    if config.insecure:
        remedy = "remove insecure-skip-tls-verify, and give the cluster its certificate-authority"
        return warn(f"{what}: whoever answers there is believed", remedy)
    readable = [path for path in config.files if _is_for_all(path)]
    if readable:
        return warn(f"{readable[0]} can be read by every user of this machine", f"chmod 600 {readable[0]}")
    if config.why == "$KUBECONFIG":
        return ok(f"{what}; that is this shell's variable, the runtime may have another")
    return ok(what)


def credential(context: Context) -> Finding:
    """There is one, and it has not ended."""
    from plugin.kube import client, credentials

    context.client = client.Client(context.kubeconfig, context.environ)
    shown = context.client.credentials
    if shown.kind == "anonymous":
        return warn(f"user {context.kubeconfig.user_name!r} has none", f"see users in {context.kubeconfig.path}")
    ends = credentials.expiry(shown)
    what = shown.kind if shown.source == context.kubeconfig.path else f"{shown.kind} in {shown.source}"
    if ends is None:
        return ok(f"{what}, which does not say when it ends")
    left = ends - time.time()
    if left <= 0:
        remedy = (
            f"renew it in {shown.source}, or leave the key kubeconfig out to use the kubelet's own, which is renewed"
        )
        return fail(f"{what} expired {output.age(-left)} ago", remedy)
    if left < _SOON and shown.source == context.kubeconfig.path and not shown.kind.startswith("exec"):
        return warn(f"{what} expires in {output.age(left)}", "renew it, or use a tokenFile that something keeps fresh")
    return ok(f"{what}, valid for another {output.age(left)}")


def server(context: Context) -> Finding:
    """It can be reached, and is the one that the kubeconfig means."""
    try:
        with deadline.within(PATIENCE):
            context.client.get_node(_candidate(context))
    except Unreachable as error:
        context.is_away = True
        return fail(error.msg, _advice(context, error) or _UNREACHABLE)
    except CniError as error:
        context.refusal = error
    return ok(f"{context.kubeconfig.server} answers")


def permission(context: Context) -> Finding:
    """It accepts the credential, and the user may get Nodes."""
    refusal = context.refusal
    if refusal is not None and not isinstance(refusal, NodeMissing):
        kind = "not allowed" if isinstance(refusal, Forbidden) else "not accepted"
        return fail(f"{kind}: {refusal.msg}", _advice(context, refusal))
    return ok(f"user {context.kubeconfig.user_name!r} may get Nodes")


def node(context: Context) -> Finding:
    """One Node, and it is this machine's."""
    context.settings.cache_seconds = 0.0
    context.heard.warnings.clear()
    started = time.time()
    facts = nodes.facts(context.settings)
    warning = " ".join(context.heard.warnings)
    if facts.asked < started:  # the server has gone away meanwhile
        context.is_away = True
        return fail(warning, _UNREACHABLE)
    context.facts = facts
    if warning:
        return warn(warning, _OTHER_MACHINE if "machineID" in warning else _OTHER_RANGES)
    if facts.identified_by == "machine-id":
        remedy = "write nodeName into the configuration: that saves asking for all Nodes"
        return warn(f"{facts.name}, found among all Nodes by this machine's id", remedy)
    return ok(f"{facts.name}, by {facts.identified_by}")


def _candidate(context: Context) -> str:
    """A name to ask for: whether this is the Node is another check's question."""
    told = context.client.node_name()
    named = context.settings.node_name or context.environ.get("NODE_NAME") or (told[1] if told else "")
    return named or os.uname().nodename.lower()


def _advice(context: Context, error: CniError) -> str:
    """What an error says to do; whose kubeconfig it was, which it says as well, is in a line above."""
    return error.details.replace(context.client.describe(), "").strip()


def _is_for_all(path: str) -> bool:
    try:
        return bool(os.stat(path).st_mode & stat.S_IROTH)
    except OSError:
        return False
