"""Check the types of a kubeconfig's keys as strictly as client-go's decoder."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    Spec = Union[str, list["Spec"], dict[str, "Spec"]]

# A spec is the name of a scalar type, [spec of the items], {key: spec}, or {"*": spec of every value}.
# path: text, made absolute. command: the same if it has a slash. data: base64, decoded. any: as it is.
_EXTENSIONS: Spec = [{"name": "string", "extension": "any"}]
_EXEC: Spec = {
    "apiVersion": "string",
    "command": "command",
    "args": ["string"],
    "env": [{"name": "string", "value": "string"}],
    "installHint": "string",
    "interactiveMode": "string",
    "provideClusterInfo": "bool",
}
_USER: Spec = {
    "client-certificate": "path",
    "client-certificate-data": "data",
    "client-key": "path",
    "client-key-data": "data",
    "token": "string",
    "tokenFile": "path",
    "username": "string",
    "password": "string",
    "as": "string",
    "as-uid": "string",
    "as-groups": ["string"],
    "as-user-extra": {"*": ["string"]},
    "auth-provider": "any",
    "exec": _EXEC,
}
_CLUSTER: Spec = {
    "server": "string",
    "tls-server-name": "string",
    "insecure-skip-tls-verify": "bool",
    "certificate-authority": "path",
    "certificate-authority-data": "data",
    "proxy-url": "string",
    "disable-compression": "bool",
    "extensions": _EXTENSIONS,
}
# https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/; keys not in here are ignored, as client-go does.
_CONFIG: Spec = {
    "kind": "string",
    "apiVersion": "string",
    "current-context": "string",
    "clusters": [{"name": "string", "cluster": _CLUSTER}],
    "users": [{"name": "string", "user": _USER}],
    "contexts": [{"name": "string", "context": {"cluster": "string", "user": "string"}}],
}
_JSON_NAMES: dict[type, str] = {bool: "bool", str: "string", list: "array", dict: "object", type(None): "null"}
_NAMED = {"clusters": "cluster", "users": "user", "contexts": "context"}


class Invalid(ValueError):
    """A key has a value of the wrong type. The message names the key and the types, never the value."""


class OtherKind(Invalid):
    """The document is not an object, or has another kind or version."""


class Entries:
    """The entries of one kubeconfig.

    sections: "clusters", "users" or "contexts" -> name -> entry. current: its current-context.
    is_empty: it has no key of a kubeconfig.
    """

    def __init__(self, document: object, directory: str) -> None:
        """Make relative paths absolute, from this directory; its symbolic links are not resolved. Raises Invalid."""
        if document is not None and not isinstance(document, dict):
            raise OtherKind(str(_mismatch(document, "", "object")))
        config = {} if document is None else _checked(document, _CONFIG, "", directory)
        assert isinstance(config, dict)
        kind, version = config.get("kind") or "Config", config.get("apiVersion") or "v1"
        if (kind, version) != ("Config", "v1"):
            raise OtherKind(f'no kind "{kind}" is registered for version "{version}"')
        self.is_empty = not config.keys() & {"kind", "clusters", "users", "contexts"}
        self.current: str = config.get("current-context", "")
        self.sections = {kind: _by_name(config, kind) for kind in _NAMED}


def _by_name(config: dict[str, list[dict[str, object]]], key: str) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for item in config.get(key, []):
        name, entry = item.get("name", ""), item.get(_NAMED[key], {})
        assert isinstance(name, str) and isinstance(entry, dict)
        if name in found:
            raise Invalid(f'{key}: duplicate name "{name}" in list')
        found[name] = entry
    return found


def _checked(value: object, spec: Spec, where: str, directory: str) -> object:
    """Return the value without nulls and unknown keys, with absolute paths and decoded base64."""
    if isinstance(spec, str):
        return _scalar(value, spec, where, directory)
    if isinstance(spec, list):
        if not isinstance(value, list):
            raise _mismatch(value, where, "array")
        # A null item is Go's zero value.
        return [_zero(spec[0]) if item is None else _checked(item, spec[0], where, directory) for item in value]
    if not isinstance(value, dict):
        raise _mismatch(value, where, "object")
    found = {}
    for key, item in value.items():
        below = spec.get(key, spec.get("*"))
        if below is not None and item is not None:
            found[key] = _checked(item, below, f"{where}.{key}" if where else key, directory)
    return found


def _zero(spec: Spec) -> object:
    return "" if isinstance(spec, str) else type(spec)()


def _scalar(value: object, spec: str, where: str, directory: str) -> object:
    if spec == "any":
        return value
    if spec == "bool":
        if not isinstance(value, bool):
            raise _mismatch(value, where, "bool")
        return value
    if not isinstance(value, str):
        raise _mismatch(value, where, "string")
    if spec == "data":
        return _decoded(value, where)
    # No path, environment variable or header can have these.
    if "\0" in value:
        raise Invalid(f"{where}: a NUL character")
    if value.encode(errors="ignore").decode() != value:
        raise Invalid(f"{where}: half of a surrogate pair")
    if value and (spec == "path" or (spec == "command" and "/" in value)):
        return os.path.normpath(os.path.join(directory, value))
    return value


def _decoded(text: str, where: str) -> bytes:
    import base64

    text = text.replace("\r", "").replace("\n", "")
    try:
        if len(text) % 4 == 0:  # Python 3.9 takes too much padding
            return base64.b64decode(text, validate=True)
    except ValueError:
        pass
    raise Invalid(f"illegal base64 data in {where}")


def _mismatch(value: object, where: str, wanted: str) -> Invalid:
    found = _JSON_NAMES.get(type(value), "number")
    return Invalid(f"cannot unmarshal {found} into {where or 'the document'} of type {wanted}")
