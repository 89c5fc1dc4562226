"""Type node-annotation: an annotation of the Node holds the configuration of the next IPAM plugin."""

from __future__ import annotations

import os

from plugin.addresses import annotation
from plugin.config import keys, settings, trust, values
from plugin.entries import signature
from plugin.errors import INVALID_CONFIG, CniError
from plugin.facts import place
from plugin.leases import delegate, hostlocal
from plugin.node import freshness
from plugin.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from plugin.cni import Request
    from plugin.facts import Facts

NAME = "node-annotation"
NEEDS_RECORD = True
CONFIG_FILE = "/etc/cni/node-annotation.conf"
CONFIG_VARIABLE = "NODE_ANNOTATION_CFG"


def setup(request: Request) -> settings.Settings:
    """Return the settings in the plugin's configuration file. Raises CniError."""
    file = config_file(request.environ)
    seen, config = signature(file), {}
    try:
        config = read_config(request.environ)
        found = setup_from(request.environ, config, network=request.name)
    except CniError:
        if request.needs_no_ranges:
            return settings.for_release(request.environ, config, file + ": kubeconfig")
        raise
    found.files = [(file, seen)]
    return found


def setup_from(environ: Mapping[str, str], config: dict[str, Any], **context: object) -> settings.Settings:
    """Return the settings in a configuration, for an operator's command. Raises CniError."""
    where = config_file(environ) + ": "
    found = keys.read(config, keys.CONF, where)
    return settings.read(environ, found, where + "kubeconfig", trusted=True, plugin=NAME, **context)


def plan(request: Request, chosen: settings.Settings) -> Plan:
    """Return the next plugin with the annotation as ipam; the rest of the request is passed on. Raises CniError."""
    name = _annotation_name(request)
    keys.warn(request.ipam(), keys.NODE_ANNOTATION, chosen, request.name)
    program = next_plugin(request.environ, chosen.keys, request.program)
    facts, found = freshness.parsed(chosen, name, lambda known: _content(request, program, name, known))
    ipam = {"type": os.path.basename(program), **found}
    from plugin.leases import hostpaths

    config = {**request.config, "ipam": ipam}
    files = [*chosen.files, *hostpaths.check(config), *freshness.rests_on(chosen, facts)]
    return Plan(program, config, facts.asked + chosen.cache_seconds, files)


def _content(request: Request, program: str, name: str, known: Facts) -> dict[str, Any]:
    """Return the content of the annotation, checked if it is for host-local. Raises CniError."""
    text = known.annotations[name]
    if not hostlocal.is_host_local(program):
        return annotation.parse(text, name)
    from plugin.addresses import annotated

    where = place(name, known.name)
    annotated.refuse_cidrs(text, where)
    given = annotation.parse(text, name)
    annotated.check(given, request.config, where)
    return given


def release(request: Request, chosen: settings.Settings) -> list[Plan]:
    """Return the next plugin with the annotation as last known. Raises CniError."""
    program = next_plugin(request.environ, chosen.keys, request.program)
    if hostlocal.is_host_local(program):
        return [Plan(program, hostlocal.release_config(request, each)) for each in data_dirs(request, chosen)]
    ipam = {"type": os.path.basename(program), **_last_known(request, chosen)}
    return [Plan(program, {**request.config, "ipam": ipam})]


def data_dirs(request: Request, chosen: settings.Settings) -> list[str]:
    """Return the dataDir in the annotation as last known, and host-local's default."""
    return sorted({str(_last_known(request, chosen).get("dataDir", "")), ""})


def next_plugin(environ: Mapping[str, str], config: Mapping[str, Any], program: str) -> str:
    """Return the path of the plugin that allocates. Raises CniError.

    'nextipam' with a slash is a path, without one it is looked up in PATH, then in CNI_PATH;
    without 'nextipam' it is host-local beside this program, then in CNI_PATH.
    """
    name = values.text(config, "nextipam", config_file(environ) + ": ")
    plugins = environ.get("CNI_PATH", "").split(os.pathsep)
    if not name:
        return delegate.find(hostlocal.NAME, [os.path.dirname(os.path.abspath(program)), *plugins])
    if "/" in name:
        return _program(name, [os.path.dirname(program), *plugins])
    return delegate.find(name, [*environ.get("PATH", "").split(os.pathsep), *plugins])


def _program(path: str, directories: list[str]) -> str:
    """Return the absolute path of the plugin that 'nextipam' names. Raises CniError.

    One that is not in a directory of plugins, all of which root runs anyway, must be root's.
    """
    directory, _, name = path.rpartition("/")
    try:
        found = delegate.find(name, [os.path.abspath(directory or "/")])
        if os.path.dirname(found) not in map(os.path.normpath, directories):
            trust.check(found)
    except OSError:
        details = "write an absolute path: this one starts at the working directory, which was removed"
        raise CniError(INVALID_CONFIG, f"nextipam {path} is missing", details) from None
    return found


def config_file(environ: Mapping[str, str]) -> str:
    """Return the path of the plugin's own configuration file."""
    return environ.get(CONFIG_VARIABLE) or CONFIG_FILE


def read_config(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of the configuration file. Raises CniError, also if the variable names a missing file."""
    path = config_file(environ)
    try:
        config = settings.read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        if not environ.get(CONFIG_VARIABLE):
            return {}
        details = f"write {{}} into it, or unset {CONFIG_VARIABLE}"
        raise CniError(INVALID_CONFIG, f"there is no file {path}, which ${CONFIG_VARIABLE} names", details) from None
    except IsADirectoryError:
        raise CniError(INVALID_CONFIG, f"{path} is a directory, not a file", "write a file, or remove it") from None
    if not isinstance(config, dict):
        details = 'such as {"kubeconfig": "/etc/kubernetes/kubeconfig"}'
        raise CniError(INVALID_CONFIG, f"{path} is not a JSON object", details)
    return config


def _annotation_name(request: Request) -> str:
    name: str = keys.read(request.ipam(), keys.NODE_ANNOTATION, "ipam.")["annotation"]
    if not name:
        raise CniError(INVALID_CONFIG, "No annotation specified", 'write "annotation": "example.com/NAME" into "ipam"')
    return name


def _last_known(request: Request, chosen: settings.Settings) -> dict[str, Any]:
    """Return the content of the annotation as last known, {} if it is unknown or wrong."""
    try:
        name = _annotation_name(request)
        facts = freshness.last_known(chosen)
        text = facts.annotations.get(name) if facts else None
        return annotation.parse(text, name) if text else {}
    except CniError:
        return {}  # what fails an ADD must not prevent a release
