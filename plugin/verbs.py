"""What ADD, DEL, CHECK, STATUS, GC and VERSION do, for both types."""

from __future__ import annotations

import os

from plugin import TYPES, cni, deadline, process
from plugin.config import values
from plugin.entries import name_of
from plugin.errors import INVALID_CONFIG, NOT_AVAILABLE, CniError
from plugin.leases import delegate, hostlocal, records, release
from plugin.log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugin.cni import Request
    from plugin.config.settings import Settings
    from plugin.plan import Type


def answer(program: str, command: str, environ: Mapping[str, str], raw: bytes | None) -> tuple[int, bytes]:
    """Run one CNI command; return (exit status, what to print). raw: standard input, if it was read before."""
    log, version, chosen = Log(), "", None
    try:
        cni.check_environment(command, environ)
        if command == "VERSION":
            return 0, cni.version_answer()
        request = cni.parse(program, command, environ, process.read_stdin() if raw is None else raw)
        version = request.version
        plugin = type_of(request)
        chosen = plugin.setup(request)
        log = chosen.log
        log.trace("request", request=request.config)
        status, printed = _COMMANDS[command](plugin, request, chosen)
    except CniError as error:
        if command == "STATUS" and version:  # a request that keeps to the contract: an ADD like it would fail now
            error.code = NOT_AVAILABLE
        record = log.error if _is_news(command, chosen, error.msg) else log.debug
        record(error.msg, command=command, code=error.code, details=error.details, **_who(environ))
        return 1, cni.error_answer(error, version)
    except delegate.Refused as refusal:
        log.error(f"next plugin: {refusal}", command=command, **_who(environ))
        return refusal.status, refusal.answer
    record = log.error if status else log.info if _is_news(command, chosen, "ready") else log.debug
    record(command, answer=printed, **_who(environ))
    return status, printed


def type_of(request: Request) -> Type:
    """Return the plugin type by the name of the program; for any other name, by ipam.type. Raises CniError."""
    name = os.path.basename(request.program)
    if name not in TYPES:
        name = str(request.ipam().get("type"))
    if name == "kube-node":
        from plugin import kube_node

        return kube_node
    if name == "node-annotation":
        from plugin import node_annotation

        return node_annotation
    details = f"link it to one of {', '.join(TYPES)}, and write that as the type"
    raise CniError(INVALID_CONFIG, f"ipam.type {name[:80]!r} is not a type of this program", details)


def _add(plugin: Type, request: Request, chosen: Settings) -> tuple[int, bytes]:
    from plugin.leases import allocation
    from plugin.start import ordinary

    plan = plugin.plan(request, chosen)
    config, translated = hostlocal.translate(plan.program, plan.config)
    chosen.log.trace("configuration for the next plugin", program=plan.program, config=config)
    recorded = records.record(request, plan, chosen.keys.get("dataDir", ""), chosen.log)
    attempt = allocation.Attempt(plan.program, request.environ, cni.encode(config), translated)
    status, answer = allocation.add(attempt)
    if status and chosen.reclaim and hostlocal.is_host_local(plan.program) and hostlocal.is_exhausted(answer):
        from plugin.leases import reclaim

        reclaim.make_room(config, chosen)
        status, answer = allocation.add(attempt)  # in any case: another process may have made room at the same time
    if status == 0:  # it is delivered: what is stored and logged for later must not take long
        deadline.shorten(deadline.UNDO)
        ordinary.remember(request, chosen, plan, recorded, attempt, answer)
    return status, answer


def _delete(plugin: Type, request: Request, chosen: Settings) -> tuple[int, bytes]:
    _, failures = release.everywhere(plugin, request, chosen)
    if failures:
        raise failures[0]
    environ = request.environ
    records.forget(environ, environ["CNI_CONTAINERID"], environ["CNI_IFNAME"], request.name)
    return 0, b""


def _check(plugin: Type, request: Request, chosen: Settings) -> tuple[int, bytes]:
    tried, failures = release.everywhere(plugin, request, chosen)
    if len(failures) == tried:
        raise failures[0]
    return 0, b""


def _status(plugin: Type, request: Request, chosen: Settings) -> tuple[int, bytes]:
    """https://www.cni.dev/docs/spec/#status-check-plugin-status; kubelet asks every 5 s."""
    chosen.rate_limited = True
    chosen.cache_seconds = chosen.cache_seconds or values.CACHE_SECONDS
    plan = plugin.plan(request, chosen)
    if not hostlocal.is_host_local(plan.program):  # whose STATUS does nothing, where it knows the command at all
        delegate.run_if_known(plan.program, "STATUS", request.environ, cni.encode(plan.config))
        return 0, b""
    from plugin.leases import fullness

    fullness.warn(plan.config, chosen)
    return 0, b""


def _collect(plugin: Type, request: Request, chosen: Settings) -> tuple[int, bytes]:
    plan = plugin.release(request, chosen)[0]
    if hostlocal.is_host_local(plan.program):  # which does not implement GC
        from plugin.leases import garbage

        data_dirs = {*plugin.data_dirs(request, chosen), *release.recorded_data_dirs(request)}
        garbage.collect(request, plan.program, sorted(data_dirs), chosen.log)
    else:
        delegate.run_if_known(plan.program, "GC", request.environ, cni.encode(plan.config))
    return 0, b""


def _is_news(command: str, chosen: Settings | None, text: str) -> bool:
    """Return whether this is not the answer that the last STATUS of this network had; kubelet asks every 5 s."""
    if command != "STATUS" or chosen is None or not chosen.log.file:
        return True
    name = "status:" + name_of(str(chosen.log.context).encode())
    answer = "".join(letter for letter in text[:1000] if not letter.isdigit())  # an age in it is no change
    if chosen.cache.target(name) == answer:
        return False
    chosen.cache.link(name, answer)
    return True


def _who(environ: Mapping[str, str]) -> dict[str, str]:
    names = {"container": "CNI_CONTAINERID", "interface": "CNI_IFNAME"}
    who = {field: environ.get(name, "") for field, name in names.items()}
    pod = [process.argument(environ, name) for name in ("K8S_POD_NAMESPACE", "K8S_POD_NAME")]
    return {**who, "pod": "/".join(pod)} if any(pod) else who


_COMMANDS = {"ADD": _add, "DEL": _delete, "CHECK": _check, "STATUS": _status, "GC": _collect}
