"""Where the lease of an attachment is, for its DEL and CHECK: on record, or in one of the places that are known."""

from __future__ import annotations

import os

from plugin import cni, deadline
from plugin.errors import IO_FAILURE, CniError
from plugin.leases import delegate, hostlocal, records
from plugin.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from plugin.cni import Request
    from plugin.config.settings import Settings
    from plugin.leases.records import Record
    from plugin.log import Log
    from plugin.plan import Type


def everywhere(plugin: Type, request: Request, chosen: Settings) -> tuple[int, list[Exception]]:
    """Run a DEL or CHECK where the lease is or may be. Return how many were run, and why some failed.

    Raises CniError if the lease may be where nothing looks.
    """
    tried = plans(plugin, request, chosen)
    failures: list[Exception] = []
    for plan in tried:
        try:
            run(plan.program, request.command, request.environ, plan.config, chosen.log)
        except (CniError, delegate.Refused) as failure:
            failures.append(failure)
        except deadline.DeadlineExceeded:
            raise delegate.no_answer(plan.program) from None
    return len(tried), failures


def plans(plugin: Type, request: Request, chosen: Settings) -> list[Plan]:
    """Return what frees or checks the lease. Raises CniError if it may be where nothing looks."""
    record = records.find(request.environ, request.name)
    if record is None:
        return _without_record(plugin, request, chosen)
    program = record.program if os.path.isfile(record.program) else _moved(plugin, request, chosen, record)
    if record.store:
        return [Plan(program, hostlocal.release_config(request, record.ipam.get("dataDir", "")))]
    ipam = {"type": os.path.basename(program), **record.ipam}
    return [Plan(program, {**request.config, "ipam": ipam})]


def recorded_data_dirs(request: Request) -> list[str]:
    """Return the dataDirs of earlier ADDs of this network that are still there."""
    found = records.data_dirs(request.environ, request.name)
    return [each for each in found if os.path.isdir(hostlocal.store(each, request.name))]


def run(program: str, command: str, environ: Mapping[str, str], config: dict[str, Any], log: Log) -> None:
    """Run a DEL or CHECK. Raises Refused or CniError, also for a lease that is still there: host-local says 0 then."""
    config, _ = hostlocal.translate(program, config)
    if hostlocal.is_host_local(program):
        if not os.path.isdir(hostlocal.store_of(config)):
            from plugin.leases import hostpaths

            try:
                hostpaths.check(config)
            except CniError:
                if command == "DEL":  # no ADD has made this store, as host-local would now
                    return
                raise
        environ = {**environ, "CNI_ARGS": "IgnoreUnknown=1"}  # so that bad ones of the caller cannot keep a lease
    log.trace("configuration for the next plugin", program=program, config=config)
    delegate.run_silent(program, command, environ, cni.encode(config))
    if command != "DEL" or not hostlocal.is_host_local(program):
        return
    store = hostlocal.store_of(config)
    if not os.access(store, os.W_OK) and hostlocal.leases_of(store, environ):
        details = "is the file system read-only? Make it writable: the runtime repeats the DEL, or see node-ipam.pyz gc"
        raise CniError(IO_FAILURE, f"the lease of this pod is still in {store}, which cannot be written", details)


def _moved(plugin: Type, request: Request, chosen: Settings, record: Record) -> str:
    """Return where the plugin of the ADD is now. Raises CniError."""
    name = os.path.basename(record.program)
    try:
        today = plugin.release(request, chosen)[0].program
    except CniError:
        today = ""
    return today if os.path.basename(today) == name else delegate.find(name, request.directories())


def _without_record(plugin: Type, request: Request, chosen: Settings) -> list[Plan]:
    found = plugin.release(request, chosen)
    program = found[0].program
    if not hostlocal.is_host_local(program):
        return found
    known = {each.config["ipam"].get("dataDir", "") for each in found}
    more = [each for each in recorded_data_dirs(request) if each not in known]
    trouble = records.trouble(request.environ) if plugin.NEEDS_RECORD else ""
    stores = [hostlocal.store(each, request.name) for each in known]
    if trouble and not any(hostlocal.leases_of(store, request.environ) for store in stores):
        msg = f"where the lease of this pod is cannot be read: {trouble}"
        raise CniError(IO_FAILURE, msg, "make it a directory of its own, mode 0700, or remove it")
    return found + [Plan(program, hostlocal.release_config(request, each)) for each in more]
