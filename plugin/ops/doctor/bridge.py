"""The bridge of a network: it must have the gateway's address of today's ranges, or the bridge plugin refuses."""

from __future__ import annotations

import ipaddress
import shlex

from plugin.ops.doctor import links
from plugin.ops.doctor.context import Context
from plugin.ops.doctor.finding import Finding, fail, ok, warn
from plugin.ops.doctor.links import Interface

_DEFAULT = "cni0"  # plugins/main/bridge/bridge.go


def gateway(context: Context) -> Finding | None:
    """The bridge has no address that keeps the bridge plugin from adding the gateway's."""
    config = context.network.config
    if config.get("type") != "bridge" or not (config.get("isGateway") or config.get("isDefaultGateway")):
        return None
    name = str(config.get("bridge") or _DEFAULT)
    wanted = [ipaddress.ip_interface(f"{each.gateway}/{each.subnet.partition('/')[2]}") for each in context.spans]
    several = sorted({str(each) for each in wanted if each.version == 4})
    if len(several) > 1:
        what = f"the IPv4 ranges have the gateways {', '.join(several)}, but {name} can have one: some ADDs fail"
        return warn("several-gateways", what, "give the network one IPv4 range, or a type without a gateway")
    present = links.addresses(name)
    if present is None:
        return ok(f"{name} is not there yet: the first ADD makes it")
    clashes = [each for each in present if _clashes(each, wanted)]
    if not clashes or config.get("forceAddress"):
        return ok(f"{name} has {', '.join(map(str, present)) or 'no address yet'}")
    now = next(each for each in wanted if each.version == clashes[0].version)
    what = f"{name} has {clashes[0]}, of an earlier range; the gateway is now {now}: every ADD fails"
    ports = links.ports(name)
    used = f"pods use it ({', '.join(ports[:5])}): drain the node, then" if ports else "no pod uses it:"
    return fail("address", what, f"{used} ip link del {shlex.quote(name)}")


def _clashes(present: Interface, wanted: list[Interface]) -> bool:
    """Whether the bridge plugin refuses to add an address beside this one: ensureAddr in plugins/main/bridge."""
    same = [each for each in wanted if each.version == present.version]
    if not same or present in same:
        return False
    return present.version == 4 or any(each.network.overlaps(present.network) for each in same)
