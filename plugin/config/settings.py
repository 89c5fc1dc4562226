"""The settings of both types."""

from __future__ import annotations

import os

from plugin.cache import Cache
from plugin.cni import decode
from plugin.config.values import CACHE_SECONDS, path
from plugin.entries import location
from plugin.errors import INVALID_CONFIG, CniError
from plugin.log import Log, level

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_JSON_LIMIT = 1 << 20  # bytes
# A cache directory becomes private (0700): these are used by other programs, too.
_SHARED = ("/home", "/media", "/mnt", "/opt", "/run", "/srv", "/tmp", "/var", "/var/lib", "/var/log", "/var/run")


class Settings:
    """How to read the Node, how long its facts are fresh, and where to log."""

    def __init__(self, environ: Mapping[str, str], log: Log, label: str) -> None:
        self.environ = environ
        self.log = log
        self.label = label  # the key that names the kubeconfig, for messages
        self.keys: Mapping[str, Any] = {}  # all keys of the configuration
        self.files: list[tuple[str, str]] = []  # that they were read from, each with its entries.signature() of before
        self.kubeconfig = ""
        self.node_name = ""
        self.cache_seconds = CACHE_SECONDS
        self.cache = Cache(location(environ))
        self.reclaim = True  # release stale leases if a range is full
        self.rate_limited = False  # query the server once per period, for a second at most
        self.is_offline = False  # never query it, and write nothing: an operator's command reads what is known

    def warn_once(self, subject: str, text: str) -> None:
        """Log a warning about this subject, unless its last one was the same."""
        name, stored = f"told:{subject}", text[:1000]
        if not (self.rate_limited or self.is_offline) and self.cache.target(name) != stored:
            self.cache.link(name, stored)
            self.log.warning(text)


def read(
    environ: Mapping[str, str], found: Mapping[str, Any], label: str, trusted: bool = False, **context: object
) -> Settings:
    """Return the settings of either type. found: what keys.read() returned. context: for each line of the log.

    trusted: these keys are in a file of root. Otherwise their author may be another user.
    """
    _check_written("cacheDir", found["cacheDir"])
    log = Log(_log_file(found), level(found["loglevel"]) or "info", trusted, **context)
    settings = Settings(environ, log, label)
    settings.keys = found
    settings.kubeconfig = found["kubeconfig"]
    settings.node_name = found["nodeName"]
    settings.cache_seconds = found["cacheSeconds"]
    if found["cacheDir"]:
        settings.cache = Cache(found["cacheDir"], trusted)
    settings.reclaim = found["reclaim"]
    return settings


def _check_written(key: str, value: str) -> None:
    """Raise CniError if the path under this key is not one at which root may write."""
    if not value:
        return
    from plugin.config import directories

    fault = directories.fault(value)
    if not fault and key == "cacheDir" and os.path.normpath(value) in _SHARED:
        fault = "a directory that others use, too"
    if fault:
        details = "write a path below /run, /var/log or a directory of your own"
        raise CniError(INVALID_CONFIG, f"'{key}' {value} is {fault}", details)


def _log_file(found: Mapping[str, Any]) -> str:
    """Return the path of the log file, without links to directories. Raises CniError."""
    key = "logfile" if found.get("logfile") else "log"
    value: str = found.get(key) or ""
    if value:
        directory, name = os.path.split(value)
        value = os.path.join(os.path.realpath(directory), name)
    _check_written(key, value)
    return value


def for_release(environ: Mapping[str, str], config: Mapping[str, Any], label: str) -> Settings:
    """Return settings for DEL, CHECK and GC if a configuration is wrong: its cache directory, or the usual one."""
    settings = Settings(environ, Log(), label)
    settings.keys = config
    try:
        directory = path(config, "cacheDir", "")
        _check_written("cacheDir", directory)
        if directory:
            settings.cache = Cache(directory, trusted=False)
    except CniError:
        pass
    return settings


def read_json(path: str) -> Any:
    """Return the value in a JSON file that root alone can have written.

    Raises FileNotFoundError or NotADirectoryError if there is none, IsADirectoryError; CniError for anything else.
    """
    from plugin.config import trust

    try:
        return decode(trust.read(path, _JSON_LIMIT), path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise
    except OSError as error:
        raise CniError(INVALID_CONFIG, f"{path} cannot be read (errno {error.errno})", "correct or remove it") from None
