"""Checkers for one value of a configuration each: they return the value, or a default if the key is absent."""

from __future__ import annotations

import os
import re

from plugin.errors import INVALID_CONFIG, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

CACHE_SECONDS = 30.0
CACHE_SECONDS_LIMIT = 86400.0
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
_NODE_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def text(config: Mapping[str, Any], key: str, where: str) -> str:
    """Return the string under this key, "" if it is absent or null. Raises CniError for any other type."""
    value = config.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value or value.encode(errors="ignore").decode() != value:
        raise CniError(INVALID_CONFIG, f"'{where}{key}' is not a string", f'write "{key}": "…", or remove the key')
    return value


def path(config: Mapping[str, Any], key: str, where: str) -> str:
    """Return the absolute path under this key, "" if it is absent. Raises CniError."""
    value = text(config, key, where)
    if value and not os.path.isabs(value):
        details = "write the whole path: the runtime chooses the directory in which a plugin runs"
        raise CniError(INVALID_CONFIG, f"'{where}{key}' is not an absolute path: {value[:80]!r}", details)
    return value


def node_name(config: Mapping[str, Any], key: str, where: str) -> str:
    """Return the name of a Node under this key, "" if it is absent. Raises CniError."""
    value = text(config, key, where)
    if value and not is_node_name(value):
        details = "write lower-case letters, digits, '-' and '.', as in the output of kubectl get nodes"
        raise CniError(INVALID_CONFIG, f"'{where}{key}' is not the name of a Node: {value[:80]!r}", details)
    return value


def is_node_name(value: str) -> bool:
    """Return whether a Node can have this name."""
    return _NODE_NAME.fullmatch(value) is not None


def seconds(config: Mapping[str, Any], key: str, where: str) -> float:
    """Return the number of seconds under this key, CACHE_SECONDS if it is absent. Raises CniError."""
    value = config.get(key)
    if value is None:
        return CACHE_SECONDS
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= CACHE_SECONDS_LIMIT:
        details = f'write "{key}": {CACHE_SECONDS:.0f}; with 0, each pod queries the API server'
        raise CniError(INVALID_CONFIG, f"'{where}{key}' is not a number from 0 to {CACHE_SECONDS_LIMIT:.0f}", details)
    return float(value)


def names(config: Mapping[str, Any], key: str, where: str) -> list[str] | None:
    """Return the list of namespaces under this key, None if it is absent. Raises CniError."""
    return _strings(config, key, where, "old-application")


def addresses(config: Mapping[str, Any], key: str, where: str) -> list[str]:
    """Return the list of strings under this key, [] if it is absent; ranges.exclude() parses them. Raises CniError."""
    return _strings(config, key, where, "10.0.1.5") or []


def switch(config: Mapping[str, Any], key: str, where: str) -> bool:
    """Return the boolean under this key, True if it is absent. Raises CniError."""
    value = config.get(key)
    if value is None:
        return True
    if not isinstance(value, bool):
        details = f'write "{key}": false without quotes, or remove the key'
        raise CniError(INVALID_CONFIG, f"'{where}{key}' is neither true nor false", details)
    return value


def fallback(config: Mapping[str, Any], key: str, where: str) -> str:
    """Return "podCIDRs" or, if the key is absent, "". Raises CniError for any other value."""
    value = text(config, key, where)
    if value not in ("", "podCIDRs"):
        details = f'write "{key}": "podCIDRs", or remove the key'
        raise CniError(INVALID_CONFIG, f"'{where}{key}' is not \"podCIDRs\": {value[:80]!r}", details)
    return value


def anything(config: Mapping[str, Any], key: str, _where: str) -> object:
    """Return the value under this key as it is."""
    return config.get(key)


def _strings(config: Mapping[str, Any], key: str, where: str, example: str) -> list[str] | None:
    value = config.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        details = f'write "{key}": ["{example}"]'
        raise CniError(INVALID_CONFIG, f"'{where}{key}' is not a list of strings", details)
    return value
