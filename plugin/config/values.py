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
        raise _wrong(where, key, "a string", f'write "{key}": "…", or remove the key')
    return value


def path(config: Mapping[str, Any], key: str, where: str) -> str:
    """Return the absolute path under this key, "" if it is absent. Raises CniError."""
    value = text(config, key, where)
    if value and not os.path.isabs(value):
        details = "write the whole path: the runtime chooses the directory in which a plugin runs"
        raise _wrong(where, key, f"an absolute path: {value[:80]!r}", details)
    return value


def node_name(config: Mapping[str, Any], key: str, where: str) -> str:
    """Return the name of a Node under this key, "" if it is absent. Raises CniError."""
    value = text(config, key, where)
    if value and not is_node_name(value):
        details = "write lower-case letters, digits, '-' and '.', as in the output of kubectl get nodes"
        raise _wrong(where, key, f"the name of a Node: {value[:80]!r}", details)
    return value


def is_node_name(value: str) -> bool:
    """Return whether a Node can have this name."""
    return _NODE_NAME.fullmatch(value) is not None


def annotation(config: Mapping[str, Any], key: str, where: str) -> str:
    """Return the name of an annotation under this key, "" if it is absent. Raises CniError."""
    value = text(config, key, where)
    if value and not is_annotation_name(value):
        raise _wrong(where, key, "the name of an annotation", f'write "{key}": "example.com/NAME"')
    return value


def is_annotation_name(value: str) -> bool:
    """Return whether an annotation can have this name.

    https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/#syntax-and-character-set
    """
    prefix, slash, name = value.rpartition("/")
    rest = name.replace("-", "").replace("_", "").replace(".", "")
    is_name = rest.isascii() and rest.isalnum() and name[0].isalnum() and name[-1].isalnum() and len(name) <= 63
    return is_name and (not slash or is_node_name(prefix.lower()))


def seconds(config: Mapping[str, Any], key: str, where: str) -> float:
    """Return the number of seconds under this key, CACHE_SECONDS if it is absent. Raises CniError."""
    value = config.get(key)
    value = CACHE_SECONDS if value is None else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= CACHE_SECONDS_LIMIT:
        details = f'write "{key}": {CACHE_SECONDS:.0f}; with 0, each pod queries the API server'
        raise _wrong(where, key, f"a number from 0 to {CACHE_SECONDS_LIMIT:.0f}", details)
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
    if value is not None and not isinstance(value, bool):
        raise _wrong(where, key, "true or false", f'write "{key}": false without quotes, or remove the key')
    return value is not False


def fallback(config: Mapping[str, Any], key: str, where: str) -> str:
    """Return "podCIDRs" or, if the key is absent, "". Raises CniError for any other value."""
    value = text(config, key, where)
    if value not in ("", "podCIDRs"):
        raise _wrong(where, key, f'"podCIDRs": {value[:80]!r}', f'write "{key}": "podCIDRs", or remove the key')
    return value


def anything(config: Mapping[str, Any], key: str, _where: str) -> object:
    """Return the value under this key as it is."""
    return config.get(key)


def _strings(config: Mapping[str, Any], key: str, where: str, example: str) -> list[str] | None:
    value = config.get(key)
    if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise _wrong(where, key, "a list of strings", f'write "{key}": ["{example}"]')
    return value


def _wrong(where: str, key: str, what: str, details: str) -> CniError:
    return CniError(INVALID_CONFIG, f"'{where}{key}' is not {what}", details)
