"""The other plugins of a network: that they are installed, answer, and speak the version of the configuration."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence

from plugin import cni, node_annotation
from plugin.errors import CniError
from plugin.leases import delegate, hostlocal
from plugin.ops.doctor.context import Context, Machine
from plugin.ops.doctor.finding import Finding, fail, ok, skip, warn
from plugin.ops.install.root import Root
from plugin.ops.networks import networks
from plugin.ops.networks.configurations import Network
from plugin.regular import read_file

_SECONDS = 10.0  # for a plugin to print its version
_NO_VERSION = "0.1.0"  # what a configuration without cniVersion means
_LIMIT = 1 << 20  # bytes of a result
_INSTALL = "install the CNI plugins again: github.com/containernetworking/plugins"


def host_local(machine: Machine) -> Finding:
    """host-local is where the runtime looks for plugins, and answers."""
    names = [_next_name(each, machine.environ) for each in machine.wanted]
    if names and hostlocal.NAME not in names:
        return ok(f"not needed: every network uses {', '.join(sorted(set(names)))}")
    try:
        path = delegate.find(hostlocal.NAME, machine.folders)
    except CniError as error:
        return _missing(hostlocal.NAME, machine, error)
    found = _describe_host_local(path)
    machine.host_local, machine.host_local_works = path, not found.kind
    return found


def next_plugin(context: Context) -> Finding:
    """The plugin that allocates is installed and answers."""
    request, name = context.request, _next_name(context.network, context.environ)
    try:
        if context.network.type == node_annotation.NAME:
            config = node_annotation.read_config(request.environ)
            path = node_annotation.next_plugin(request.environ, config, request.program)
        else:
            path = delegate.find(name, request.directories())
    except CniError as error:
        if name == hostlocal.NAME:
            return skip("needs host-local")
        return _missing(name, context.machine, error)
    context.next_plugin = path
    if not context.uses_host_local:
        return ok(f"{path}, named by nextipam")
    if path == context.machine.host_local:
        return ok(path) if context.machine.host_local_works else skip("needs host-local")
    return _describe_host_local(path)


def versions(context: Context) -> Finding | None:
    """Every plugin of the list is installed and speaks the list's cniVersion."""
    wanted = str(context.network.config.get("cniVersion") or _NO_VERSION)
    found: dict[str, list[str]] = {}
    for name in context.other_plugins():
        try:
            path = delegate.find(name, context.machine.folders)
        except CniError as error:
            return _missing(name, context.machine, error)
        try:
            found[name] = Root("/").supported_versions(path, _SECONDS)
        except CniError as error:
            return warn("mute", error.msg, error.details or _INSTALL)
    too_old = {name: speaks[-1] for name, speaks in found.items() if wanted not in speaks}
    if too_old:
        what = ", ".join(f"{name} speaks up to {newest}" for name, newest in too_old.items())
        common = [each for each in cni.VERSIONS if all(each in speaks for speaks in found.values())]
        older = f'write "cniVersion": "{common[-1]}" in {context.network.source}, or ' if common else ""
        what = f"{what}, not cniVersion {wanted}: every ADD and DEL fails"
        return fail("version", what, f"{older}update the plugins")
    if not found:
        return None
    limit = _runtime_limit(wanted, context.machine.evidence.results.directories)
    return ok(f"{', '.join(found)}: cniVersion {wanted}{limit}")


def _runtime_limit(wanted: str, directories: Sequence[str]) -> str:
    """Return what the results that libcni keeps say about whether the runtime speaks the newest version."""
    if wanted != cni.NEWEST:
        return ""
    found = set()
    for directory in directories:
        with contextlib.suppress(OSError):
            found |= {_result_version(entry.path) for entry in os.scandir(directory) if entry.is_file()}
    newest = next((each for each in reversed(cni.VERSIONS) if each in found), "")
    if newest == wanted:
        return ""
    seen = f"the newest result on this machine is {newest}" if newest else "there are no results on this machine"
    return f"; whether the runtime speaks it is unknown: {seen}"


def _result_version(path: str) -> str:
    """Return the version of a cached result, https://github.com/containernetworking/cni/blob/main/libcni/api.go."""
    try:
        return str(json.loads(read_file(path, _LIMIT))["result"]["cniVersion"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _describe_host_local(path: str) -> Finding:
    try:
        speaks = Root("/").supported_versions(path, _SECONDS)
        about = Root("/").run([path], {}, seconds=_SECONDS).stderr.decode("utf-8", "replace")
    except CniError as error:
        return fail("broken", error.msg, error.details or _INSTALL)
    converted = "" if cni.NEWEST in speaks else f"; node-ipam converts {cni.NEWEST} requests"
    return ok(f"{path}, {_version(about)}, supports CNI up to {speaks[-1]}{converted}")


def _next_name(network: Network, environ: Mapping[str, str]) -> str:
    """Return the name of the plugin that allocates for this network."""
    if network.type != node_annotation.NAME:
        return hostlocal.NAME
    try:
        named = node_annotation.read_config(environ).get("nextipam")
    except CniError:  # another check reports it
        named = None
    return os.path.basename(str(named or hostlocal.NAME))


def _version(about: str) -> str:
    """Return the version in what the plugin prints on stderr when called without a command; Debian's prints none."""
    first = about.partition("\n")[0]
    _, found, version = first.rpartition(" plugin ")
    return version.strip()[:60] if found and version.strip() else "version unknown"


def _missing(name: str, machine: Machine, error: CniError) -> Finding:
    """Return the finding for a plugin that is not where the runtime looks; it may be in another usual directory."""
    found = [place for place in networks.BIN_DIRS if "/" not in name and os.path.isfile(os.path.join(place, name))]
    if not found:
        return fail("missing", error.msg, error.details)
    link = f"ln -s {shlex.quote(os.path.join(found[0], name))} {shlex.quote(machine.folder())}/"
    return fail("missing", error.msg, f"it is in {found[0]}: {link}, or name {found[0]} in the runtime's configuration")
