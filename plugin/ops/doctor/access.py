"""The steps to the Node object: kubeconfig, credential, server, permission, and which Node this machine is."""

from __future__ import annotations

import os
import shlex
import stat
import time

from plugin import deadline
from plugin.config.values import is_node_name
from plugin.errors import CniError, Forbidden, NodeMissing, Unreachable
from plugin.node import freshness as nodes
from plugin.ops import output
from plugin.ops.doctor.context import Context
from plugin.ops.doctor.finding import Finding, fail, ok, skip, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugin.kube.kubeconfig import Kubeconfig

_SOON = 7 * 86400  # seconds before the end of a credential that nothing renews
_OTHER_MACHINE = "check that the name is this machine's: with another node's ranges, pods get addresses of other pods"
_OTHER_RANGES = "new pods get addresses of the new ranges, running pods keep theirs: node-ipam.pyz leases shows them"
PATIENCE = 5.0  # seconds for the first answer


def kubeconfig(context: Context) -> Finding:
    """There is a kubeconfig; it can be read, selects a server, and keeps its secrets."""
    from plugin.kube import kubeconfig as files

    if context.pinned_file:
        return skip(f"not needed: the ranges are in {context.pinned_file}")
    settings = context.settings
    config = context.kubeconfig = files.find(
        settings.kubeconfig, settings.environ, settings.label, cache=settings.cache
    )
    what = f"{config.path} ({config.why}), user {config.user_name!r}, server {config.server}"
    if config.passed_over and not settings.kubeconfig:
        what += f"; passed over: {', '.join(config.passed_over)}"
    if config.server.startswith("http://"):
        return warn("http", f"{what}: plain HTTP, so no credential is sent", "write https:// and the server's TLS port")
    if config.insecure:
        remedy = "remove insecure-skip-tls-verify, and give the cluster its certificate-authority"
        return warn("insecure", f"{what}: its certificate is not verified, any server is trusted", remedy)
    readable = [path for path in _secret_files(config) if os.path.exists(path) and os.stat(path).st_mode & stat.S_IROTH]
    if readable:
        what = f"{readable[0]} holds a secret, and every user of this machine can read it"
        return warn("readable-by-all", what, f"chmod 600 {shlex.quote(readable[0])}")
    return ok(what)


def credential(context: Context) -> Finding:
    """There is a credential, and it has not expired."""
    from plugin.kube import client, credentials

    context.client = client.Client(lambda: context.kubeconfig, context.environ)
    shown = context.client.credentials
    if shown.kind == "anonymous":
        what = f"user {context.kubeconfig.user_name!r} has no credential"
        return warn("none", what, f"see users in {context.kubeconfig.path}")
    ends = credentials.expiry(shown)
    what = shown.kind if shown.source == context.kubeconfig.path else f"{shown.kind} in {shown.source}"
    if ends is None:
        return ok(f"{what}, whose expiry is unknown")
    left = ends - time.time()
    if left <= 0:
        remedy = f"renew it in {shown.source}, or remove the key kubeconfig, to use the kubelet's own, which is renewed"
        if "kubelet's" in context.kubeconfig.why:
            remedy = "restart the kubelet, which renews it"
        return fail("expired", f"{what} expired {output.age(-left)} ago", remedy)
    if left < _SOON and shown.source == context.kubeconfig.path and not shown.kind.startswith("exec"):
        remedy = "renew it, or use a tokenFile that is renewed"
        return warn("expires-soon", f"{what} expires in {output.age(left)}", remedy)
    return ok(f"{what}, valid until {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(ends))}")


def server(context: Context) -> Finding:
    """The API server is reachable, and has the certificate that the kubeconfig asks for."""
    known, key = context.machine.unreachable, (context.kubeconfig.path, context.kubeconfig.server)
    try:
        if key in known:  # do not wait once for each network
            raise known[key]
        with deadline.within(PATIENCE):
            context.client.get_node(_candidate(context))
    except Unreachable as error:
        known[key] = error
        context.is_away = True
        return fail("unreachable", error.msg, _advice(context, error) or output.UNREACHABLE)
    except CniError as error:
        context.refusal = error
    return ok(f"{context.kubeconfig.server} answers")


def permission(context: Context) -> Finding:
    """The API server accepts the credential, and lets its user get the Node."""
    refusal = context.refusal
    if refusal is not None and not isinstance(refusal, NodeMissing):
        kind, said = ("forbidden", "not allowed") if isinstance(refusal, Forbidden) else ("refused", "not accepted")
        return fail(kind, f"{said}: {refusal.msg}", _advice(context, refusal))
    return ok(f"user {context.kubeconfig.user_name!r} may get Nodes")


def node(context: Context) -> Finding:
    """There is one Node that is this machine's."""
    context.settings.cache_seconds = 0.0
    context.log.warnings.clear()
    started = time.time()
    facts = nodes.facts(context.settings)
    warning = " ".join(context.log.warnings)
    if facts.asked < started:  # the server has become unreachable
        context.is_away = True
        return fail("unreachable", warning, output.UNREACHABLE)
    context.facts = facts
    if warning:
        if "machineID" in warning:
            return warn("other-machine", warning, _OTHER_MACHINE)
        return warn("other-ranges", warning, _OTHER_RANGES)
    if facts.identified_by == "machine-id":
        remedy = f'write "nodeName": "{facts.name}" into the configuration: no search is needed then'
        return warn("searched", f"{facts.name}, found by a search of all Nodes for this machine-id", remedy)
    return ok(f"{facts.name}, by {facts.identified_by}")


def _candidate(context: Context) -> str:
    """Return a name to query; another check finds out whether that Node is this machine's."""
    named = context.settings.node_name or context.environ.get("NODE_NAME")
    name = named or (context.client.node_name() or ("", os.uname().nodename.lower()))[1]
    return name if is_node_name(name) else "node"  # the server's answer to any name shows what it allows


def _advice(context: Context, error: CniError) -> str:
    """Return what an error says to do, without the kubeconfig, which a line above names."""
    return error.details.replace(context.client.describe(), "").strip()


def _secret_files(config: Kubeconfig) -> list[str]:
    """Return the files with a key, token or password in them; a service account's is the pod's own."""
    from plugin.kube import places

    if config.why == places.IN_CLUSTER:
        return []
    inline = any(config.user.get(key) for key in ("token", "password", "client-key-data"))
    named = [str(config.user[key]) for key in ("client-key", "tokenFile") if config.user.get(key)]
    return [config.path, *named] if inline else named
