"""Type node-annotation: an annotation of the Node holds the configuration of the next IPAM plugin."""

from __future__ import annotations

import json
import os

from plugin import annotation, delegate, hostlocal, keys, settings, trust, values
from plugin.cache import attachment, digest, signature
from plugin.cni import decode
from plugin.errors import INVALID_CONFIG, CniError
from plugin.node import freshness
from plugin.plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from plugin.cache import Cache
    from plugin.cni import Request
    from plugin.facts import Facts

NAME = "node-annotation"
CONFIG_FILE = "/etc/cni/node-annotation.conf"
CONFIG_VARIABLE = "NODE_ANNOTATION_CFG"
_CONFIG_LIMIT = 1 << 20  # bytes
_UNUSED_SECONDS = 2 * values.CACHE_SECONDS_LIMIT


def setup(request: Request) -> settings.Settings:
    """How to reach the Node, as the plugin's configuration file says. Raises CniError."""
    config = _config(request)
    try:
        return setup_from(request.environ, config, network=request.name)
    except CniError:
        if request.needs_no_ranges:
            return settings.lenient(request.environ, config, config_file(request.environ) + ": kubeconfig")
        raise


def setup_from(environ: Mapping[str, str], config: dict[str, Any], **context: object) -> settings.Settings:
    """The same without a request, for the commands of an operator. Raises CniError."""
    where = config_file(environ) + ": "
    found = keys.read(config, keys.CONF, where)
    return settings.read(environ, found, where + "kubeconfig", plugin=NAME, **context)


def plan(request: Request, chosen: settings.Settings) -> Plan:
    """The next plugin with what the annotation holds; everything else of the request travels on. Raises CniError."""
    name = _annotation_name(request)
    keys.warn(request.ipam(), keys.NODE_ANNOTATION, chosen, request.name)
    file = config_file(request.environ)
    files = [(file, signature(file))]
    program = next_plugin(request.environ, _config(request), request.program)
    facts, found = freshness.parsed(chosen, name, lambda known: _given(request, program, name, known))
    ipam = {"type": os.path.basename(program), **found}
    used = _remember_use(chosen, program, ipam)
    until = facts.asked + chosen.cache_seconds
    files += freshness.rests_on(chosen, facts)
    return Plan(program, {**request.config, "ipam": ipam}, until, files, used)


def _given(request: Request, program: str, name: str, known: Facts) -> dict[str, Any]:
    """Return what the annotation holds, checked if it is for host-local. Raises CniError."""
    text = known.annotations[name]
    if os.path.basename(program) != hostlocal.NAME:
        return annotation.parse(text, name)
    from plugin import annotated

    where = f"annotation {name} of node {known.name}"
    annotated.refuse_cidrs(text, where)
    given = annotation.parse(text, name)
    annotated.check(given, request.config, where)
    return given


def release(request: Request, chosen: settings.Settings) -> list[Plan]:
    """The next plugin with what it was last given for this attachment. Raises CniError."""
    used = _used(chosen, chosen.cache.target(attachment(request.environ))) or _last_known(request, chosen)
    program = used["program"] if used else next_plugin(request.environ, _config(request), request.program)
    if not os.path.isfile(program):
        program = _moved(request, os.path.basename(program))
    ipam = used["ipam"] if used else {}
    name = os.path.basename(program)
    if name == hostlocal.NAME:
        return [Plan(program, hostlocal.release_config(request, ipam.get("dataDir", "")))]
    return [Plan(program, {**request.config, "ipam": {"type": name, **ipam}})]


def collector(request: Request, chosen: settings.Settings) -> Plan | None:
    """The next plugin with what was last known of the annotation, None where that is host-local. Raises CniError."""
    if not _config(request).get("nextipam"):
        return None
    (plan,) = release(request, chosen)
    return None if os.path.basename(plan.program) == hostlocal.NAME else plan


def _moved(request: Request, name: str) -> str:
    """Where the plugin that an ADD used is now. Raises CniError."""
    try:
        today = next_plugin(request.environ, _config(request), request.program)
    except CniError:
        today = ""
    return today if os.path.basename(today) == name else delegate.find(name, request.directories())


def data_dirs(request: Request, chosen: settings.Settings) -> list[str]:
    """Where the leases of this network may be: in every dataDir that an annotation is known to have named."""
    entries = [_used(chosen, name) for name, _age in chosen.cache.names() if name.startswith("used-")]
    entries.append(_last_known(request, chosen))
    found = {entry["ipam"].get("dataDir", "") for entry in entries if entry}
    return sorted(found | {""})


def next_plugin(environ: Mapping[str, str], config: dict[str, Any], program: str) -> str:
    """The path of the plugin that does the allocation. Raises CniError.

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
    """The plugin's own configuration file."""
    return environ.get(CONFIG_VARIABLE) or CONFIG_FILE


def read_config(environ: Mapping[str, str]) -> dict[str, Any]:
    """What the configuration file says; unknown keys are fine. Raises CniError when a file that is named is missing."""
    path = config_file(environ)
    try:
        config = decode(trust.read(path, _CONFIG_LIMIT), path)
    except (FileNotFoundError, NotADirectoryError):
        if not environ.get(CONFIG_VARIABLE):
            return {}
        details = f"write {{}} into it, or unset {CONFIG_VARIABLE}"
        raise CniError(INVALID_CONFIG, f"there is no file {path}, which ${CONFIG_VARIABLE} names", details) from None
    except OSError as error:
        raise CniError(INVALID_CONFIG, f"{path} cannot be read (errno {error.errno})", "mend or remove it") from None
    if not isinstance(config, dict):
        details = 'such as {"kubeconfig": "/etc/kubernetes/kubeconfig"}'
        raise CniError(INVALID_CONFIG, f"{path} is not a JSON object", details)
    return config


def _config(request: Request) -> dict[str, Any]:
    try:
        return read_config(request.environ)
    except CniError:
        if request.needs_no_ranges:
            return {}
        raise


def _annotation_name(request: Request) -> str:
    name: str = keys.read(request.ipam(), keys.NODE_ANNOTATION, "ipam.")["annotation"]
    if not name:
        raise CniError(INVALID_CONFIG, "No annotation specified", 'write "annotation": "example.com/NAME" into "ipam"')
    return name


def _remember_use(chosen: settings.Settings, program: str, ipam: dict[str, Any]) -> str:
    """Keep what an ADD is about to use for the DEL that follows, perhaps after the annotation was changed."""
    body = json.dumps({"program": program, "ipam": ipam}).encode()
    name = "used-" + digest(body)
    if not chosen.cache.has(name):
        _forget_unused(chosen.cache)
    chosen.cache.write(name, body)  # each time: one that is old and has no link may be gone at any moment
    return name


def _forget_unused(cache: Cache) -> None:
    """Remove what no attachment has been given, except what one may be about to be given."""
    names = dict(cache.names())
    used = {cache.target(name) for name in names if name.startswith("at:")}
    for name, age in names.items():
        if name.startswith("used-") and name not in used and age > _UNUSED_SECONDS:
            cache.remove(name)


def _used(chosen: settings.Settings, name: str) -> dict[str, Any] | None:
    body = chosen.cache.read(name) if name.startswith("used-") else None
    return json.loads(body) if body else None


def _last_known(request: Request, chosen: settings.Settings) -> dict[str, Any] | None:
    """What an ADD would use now, by what is known without asking anyone."""
    try:
        name = _annotation_name(request)
        facts = freshness.last_known(chosen)
        text = facts.annotations.get(name) if facts else None
        program = next_plugin(request.environ, _config(request), request.program)
        return {"program": program, "ipam": annotation.parse(text, name)} if text else None
    except CniError:
        return None  # what spoils an ADD must not keep an address from being freed
