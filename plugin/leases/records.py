"""What the DEL of an attachment needs, recorded before its ADD allocates: the next plugin, and where its lease is.

A file used-HASH holds a program, a network and its store (host-local) or whole configuration (other plugins); it is
shared by all attachments that were made so. A symbolic link at:CONTAINER:INTERFACE:NETWORK for each attachment has the
text "used-HASH SECONDS NETNS": CLOCK_BOOTTIME and the network namespace of its ADD. A link is all that the warm path
makes. The records are in the cache directory of the environment, because a DEL may come with a configuration that
names no other one.

If the record cannot be stored, the ADD fails, unless DEL finds the lease without one: with host-local, in the store
that the request itself names. Multus releases that strip DEL's request then leave such a lease behind.
"""

from __future__ import annotations

import json
import os

from plugin.cache import Cache
from plugin.entries import attachment, location, name_of, record_text, signature
from plugin.errors import IO_FAILURE, PLUGIN_FAILURE, CniError
from plugin.leases import hostlocal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from plugin.cni import Request
    from plugin.log import Log
    from plugin.plan import Plan

_LINK = "at:"
_CONTENT = "used-"
_GENERATION = "stores"  # lists the contents that are announced
_UNUSED_SECONDS = 2 * 86400.0  # for which an empty store is known
_FRESH_SECONDS = 600.0  # in which an ADD that is under way makes its link


class Record:
    """How an attachment was made. container and interface: empty if only the content is meant."""

    def __init__(self, name: str, program: str, network: str, ipam: dict[str, Any]) -> None:
        self.name = name  # of the content in the cache
        self.program = program
        self.network = network
        self.ipam = ipam
        self.container = self.interface = self.netns = ""
        self.made = 0.0  # seconds of CLOCK_BOOTTIME; 0 if unknown

    @property
    def store(self) -> str:
        """host-local's directory; empty for another plugin."""
        is_host_local = hostlocal.is_host_local(self.program)
        return hostlocal.store(self.ipam.get("dataDir", ""), self.network) if is_host_local else ""


def record(request: Request, plan: Plan, usual_data_dir: str, log: Log) -> str:
    """Record what an ADD is about to do. Raises CniError if its DEL would not find the lease.

    usual_data_dir: the dataDir that a DEL of this request names. Returns the name of the content in the cache; empty if
    it cannot be recorded, but DEL finds the lease all the same.
    """
    cache = _cache(request.environ)
    ipam = plan.config["ipam"]
    kept = {"dataDir": ipam.get("dataDir", "")} if hostlocal.is_host_local(plan.program) else ipam
    body = json.dumps({"program": plan.program, "network": request.name, "ipam": kept}).encode()
    new = Record(_CONTENT + name_of(body), plan.program, request.name, kept)
    _refuse_second_lease(request, new)
    link = attachment(request.environ, request.name)
    if _keep(cache, new.name, body) and cache.link(link, record_text(new.name, request.environ)):
        return new.name
    if new.store != hostlocal.store(usual_data_dir, request.name):
        msg = f"the DEL of this pod would not find its lease: {cache.trouble}"
        raise CniError(IO_FAILURE, msg, f"make {cache.path} usable: a directory of its own, mode 0700, not full")
    log.info(f"where the lease of this pod is cannot be recorded: {cache.trouble}")
    return ""


def find(environ: Mapping[str, str], network: str) -> Record | None:
    """Return the record of an attachment; None if there is none."""
    cache = _cache(environ)
    for name in (attachment(environ, network), attachment(environ, "")):  # the second: version 0.1.0
        found = _content(cache, cache.target(name).partition(" ")[0], network)
        if found:
            return found
    return None


def trouble(environ: Mapping[str, str]) -> str:
    """Return why records cannot be read; empty if they can, and if there are none at all."""
    return _cache(environ).damage()


def forget(environ: Mapping[str, str], container: str, interface: str, network: str) -> None:
    """Remove the record of an attachment whose lease was released, by whatever way."""
    cache, whose = _cache(environ), {"CNI_CONTAINERID": container, "CNI_IFNAME": interface}
    cache.remove(attachment(whose, network))
    cache.remove(attachment(whose, ""))


def everything(environ: Mapping[str, str]) -> Iterator[Record]:
    """Return the records of all attachments."""
    cache = _cache(environ)
    for name in cache.starting_with(_LINK):
        used, _, rest = cache.target(name).partition(" ")
        found = _content(cache, used, "")
        if found:
            _, found.container, found.interface, *_network = [*name.split(":"), ""]
            made, _, found.netns = rest.partition(" ")
            found.made = float(made) if made.isdecimal() else 0.0
            yield found


def data_dirs(environ: Mapping[str, str], network: str = "") -> list[str]:
    """Return every dataDir that an ADD of this network, or of any, is known to have used."""
    found = [each for each in _contents(_cache(environ)) if each.store and network in ("", each.network)]
    return sorted({each.ipam.get("dataDir", "") for each in found})


def other_stores(environ: Mapping[str, str], store: str, network: str) -> list[str]:
    """Return the stores of this machine in which an attachment may have an address that one in this store gets."""
    if not store:
        return []
    known = {each.store for each in _contents(_cache(environ))} | {hostlocal.store("", network)}
    return sorted(known - {store, ""})


def generation(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return a file, with its entries.signature(), that changes with each new store; "" if it cannot be written."""
    path = os.path.join(location(environ), _GENERATION)
    return path, signature(path)


def _cache(environ: Mapping[str, str]) -> Cache:
    return Cache(location(environ))


def _contents(cache: Cache) -> Iterator[Record]:
    for name in cache.starting_with(_CONTENT):
        found = _content(cache, name, "")
        if found:
            yield found


def _content(cache: Cache, name: str, network: str) -> Record | None:
    """Return what is stored under this name. network: what version 0.1.0 did not say."""
    body = cache.read(name) if name.startswith(_CONTENT) else None
    stored = json.loads(body) if body else None
    return Record(name, stored["program"], stored.get("network") or network, stored["ipam"]) if stored else None


def _keep(cache: Cache, name: str, body: bytes) -> bool:
    """Store a content, and announce it to all that know this machine's stores; return False if it cannot be stored."""
    # Written each time: an old one without a link may be removed at any moment.
    if not cache.write(name, body):
        return False
    if cache.read(_GENERATION) != _listed(cache):
        _remove_unused(cache)
        if not cache.write(_GENERATION, _listed(cache)):
            cache.remove(_GENERATION)  # which a full disk allows, and which is a change, too
    return True


def _listed(cache: Cache) -> bytes:
    return "\n".join(sorted(cache.starting_with(_CONTENT))).encode()


def _refuse_second_lease(request: Request, new: Record) -> None:
    """Raise CniError if the attachment has a lease in another store, which its DEL would not find any more."""
    old = find(request.environ, request.name)
    if not old or not old.store or not new.store or old.store == new.store:
        return
    for lease in hostlocal.leases_of(old.store, request.environ):
        who = f"{request.environ['CNI_IFNAME']} of container {request.environ['CNI_CONTAINERID']}"
        msg = f"{who} has {lease.address} in {old.store}: duplicate allocation"
        raise CniError(PLUGIN_FAILURE, msg, f"a DEL comes first: an ADD would now allocate in {new.store}")


def _remove_unused(cache: Cache) -> None:
    """Remove the contents that no attachment was made by for long, unless their store holds leases."""
    linked = {cache.target(name).partition(" ")[0] for name in cache.starting_with(_LINK)}
    for name, age in list(cache.names()):
        if name.startswith(_CONTENT) and name not in linked and age > _FRESH_SECONDS:
            content = _content(cache, name, "")
            store = content and content.store
            if not store or (age > _UNUSED_SECONDS and not any(hostlocal.leases(store))):
                cache.remove(name)
