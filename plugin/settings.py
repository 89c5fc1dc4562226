"""One key of a configuration at a time, checked; and what both types of plugin are set up with."""

from __future__ import annotations

import errno
import os
import re
import stat

from plugin.cache import Cache, location
from plugin.errors import INVALID_CONFIG, CniError
from plugin.log import Log, level

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

CACHE_SECONDS = 30.0
CACHE_SECONDS_LIMIT = 86400.0
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
_NODE_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class Settings:
    """How to reach the Node object, how fresh it has to be, and where to tell about it."""

    __slots__ = ("cache", "cache_seconds", "environ", "kubeconfig", "label", "log", "node_name", "sparing")

    def __init__(self, environ: Mapping[str, str], log: Log, label: str) -> None:
        self.environ = environ
        self.log = log
        self.label = label  # the key that names the kubeconfig, for messages
        self.kubeconfig = ""
        self.node_name = ""
        self.cache_seconds = CACHE_SECONDS
        self.cache = Cache(location(environ))
        self.sparing = False  # ask the server once per period, for a second at most


def read(
    environ: Mapping[str, str], config: Mapping[str, Any], where: str, log_key: str, **context: object
) -> Settings:
    """What a configuration of either type says. Raises CniError.

    where: what stands before a key in messages. log_key: which key names the log file. context: for each of its lines.
    """
    log = Log(path(config, log_key, where), level(config.get("loglevel")), **context)
    settings = Settings(environ, log, where + "kubeconfig")
    settings.kubeconfig = path(config, "kubeconfig", where)
    settings.node_name = node_name(config, "nodeName", where)
    settings.cache_seconds = seconds(config, "cacheSeconds", where)
    settings.cache = Cache(path(config, "cacheDir", where) or location(environ))
    return settings


def lenient(environ: Mapping[str, str], config: Mapping[str, Any], label: str) -> Settings:
    """For what frees and checks, whatever is wrong with a configuration: where the cache is, if that can be read."""
    settings = Settings(environ, Log(), label)
    try:
        settings.cache = Cache(path(config, "cacheDir", "") or location(environ))
    except CniError:
        pass
    return settings


def read_file(path: str, limit: int) -> bytes:
    """At most so many bytes of a regular file. Raises OSError, also for anything else, which might block."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        mode = os.fstat(file).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, "not a regular file")
        return os.read(file, limit)
    finally:
        os.close(file)


def text(config: Mapping[str, Any], key: str, where: str) -> str:
    """The string under this key; empty when it is absent or null. Raises CniError for anything else."""
    value = config.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value or value.encode(errors="ignore").decode() != value:
        raise CniError(INVALID_CONFIG, f"'{where}{key}' is not a string", f'write "{key}": "…", or leave it out')
    return value


def path(config: Mapping[str, Any], key: str, where: str) -> str:
    """The absolute path under this key; empty when it is absent. Raises CniError."""
    value = text(config, key, where)
    if value and not os.path.isabs(value):
        details = "write the whole path: the directory a plugin runs in is the runtime's"
        raise CniError(INVALID_CONFIG, f"'{where}{key}' is not an absolute path: {value[:80]!r}", details)
    return value


def node_name(config: Mapping[str, Any], key: str, where: str) -> str:
    """The name of a Node under this key; empty when it is absent. Raises CniError."""
    value = text(config, key, where)
    if value and not is_node_name(value):
        details = "lower-case letters, digits, '-' and '.': as kubectl get nodes shows it"
        raise CniError(INVALID_CONFIG, f"'{where}{key}' is not the name of a Node: {value[:80]!r}", details)
    return value


def is_node_name(value: str) -> bool:
    """Whether a Node can have this name."""
    return _NODE_NAME.fullmatch(value) is not None


def seconds(config: Mapping[str, Any], key: str, where: str) -> float:
    """The number of seconds under this key, CACHE_SECONDS when it is absent. Raises CniError."""
    value = config.get(key)
    if value is None:
        return CACHE_SECONDS
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= CACHE_SECONDS_LIMIT:
        details = f'write "{key}": {CACHE_SECONDS:.0f}; 0 asks the API server for each pod'
        raise CniError(INVALID_CONFIG, f"'{where}{key}' is not a number from 0 to {CACHE_SECONDS_LIMIT:.0f}", details)
    return float(value)


def names(config: Mapping[str, Any], key: str, where: str) -> list[str] | None:
    """The list of strings under this key; None when it is absent. Raises CniError."""
    value = config.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        details = f'write "{key}": ["old-application"]'
        raise CniError(INVALID_CONFIG, f"'{where}{key}' is not a list of strings", details)
    return value
