"""Read network configurations as libcni and Multus do, and NetworkAttachmentDefinitions as kubectl prints them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from plugin import TYPES, cni
from plugin.errors import DECODE_FAILURE, INVALID_CONFIG, CniError
from plugin.regular import read_file

STDIN = "standard input"
UNNAMED = "unnamed"  # in place of the name that Multus adds
LIMIT = 1 << 20  # bytes of a configuration
_LIST = ".conflist"
_DEFINITION = "NetworkAttachmentDefinition"
_EXAMPLE = '{"name": "k8snet", "type": "bridge", "ipam": {"type": "kube-node"}}'


@dataclass(frozen=True)
class Network:
    """One plugin of one network: its configuration, and the source of that."""

    config: dict[str, Any]
    source: str

    @property
    def name(self) -> str:
        """The network's name; empty if it has none, which Multus adds."""
        name = self.config.get("name")
        return name if isinstance(name, str) else ""

    @property
    def is_unnamed(self) -> bool:
        """Whether its name is unknown, and so its leases."""
        return self.source == STDIN and self.name == UNNAMED

    @property
    def ipam(self) -> dict[str, Any]:
        """Its ipam object; empty if it has none."""
        ipam = self.config.get("ipam")
        return ipam if isinstance(ipam, dict) else {}

    @property
    def type(self) -> str:
        """The name of its IPAM plugin; empty if it has none."""
        return str(self.ipam.get("type") or "")

    @property
    def is_ours(self) -> bool:
        """Whether one of our types allocates its addresses."""
        return self.type in TYPES


def parse(raw: bytes, source: str, troubles: list[CniError]) -> list[Network]:
    """Return the networks in the text of a configuration, one for each plugin. Raises CniError.

    source: the file, which may have a directory of plugins beside it; or a name for messages. troubles: gets the errors
    of NetworkAttachmentDefinitions in a list, as they must not hide the others.
    """
    try:
        value = _decode(raw, source)
        if not isinstance(value, dict) or not isinstance(value.get("items"), list) or "apiVersion" not in value:
            return list(_networks(value, source))
        return [each for item in value["items"] for each in _of_item(item, source, troubles)]
    except CniError as error:
        if not error.details:
            error.details = (
                "correct or remove the file" if source != STDIN else f"write a configuration to it, such as {_EXAMPLE}"
            )
        raise


def unreadable(path: str, error: OSError) -> CniError:
    """Return the error for a file that cannot be read."""
    details = "correct or remove it"
    if isinstance(error, PermissionError):
        details = "run this as root"
    elif isinstance(error, FileNotFoundError):
        details = "name a file that exists"
    return CniError(INVALID_CONFIG, f"{path} cannot be read: {error.strerror}", details)


def _decode(raw: bytes, source: str) -> Any:
    """Return the JSON value. As for Go, a byte that is not UTF-8 is U+FFFD, and no reason to refuse."""
    try:
        return cni.decode(raw.decode("utf-8", "replace").encode(), source)
    except CniError as error:
        if b"apiVersion:" in raw:
            error.details = "this looks like YAML: use kubectl get … -o json"
        raise


def _networks(value: object, source: str) -> Iterator[Network]:
    """Yield the plugins of what kubectl prints, or of a configuration."""
    kind = value.get("kind") if isinstance(value, dict) and "apiVersion" in value else None
    if not isinstance(value, dict):
        raise CniError(DECODE_FAILURE, f"{source} is not a CNI configuration", f"such as {_EXAMPLE}")
    if kind is None:
        yield from _of_configuration(value, source)
    elif kind == _DEFINITION:
        yield from _of_definition(value, source)
    else:
        raise CniError(DECODE_FAILURE, f"{source} is a {kind}, not a CNI configuration", f"such as {_EXAMPLE}")


def _of_item(item: object, source: str, troubles: list[CniError]) -> list[Network]:
    """Return the plugins of an item of a list; none, and an error more, if it cannot be read."""
    if not isinstance(item, dict) or item.get("kind") != _DEFINITION:
        return []
    try:
        return list(_of_definition(item, source))
    except CniError as error:
        error.details = error.details or "correct its spec.config"
        troubles.append(error)
        return []


def _of_definition(value: dict[str, Any], source: str) -> Iterator[Network]:
    """Yield the plugins of a NetworkAttachmentDefinition; if its configuration has no name, Multus gives it its own."""
    metadata, spec = (value[key] if isinstance(value.get(key), dict) else {} for key in ("metadata", "spec"))
    name, text = metadata.get("name"), spec.get("config")
    if not isinstance(text, str) or not text.strip():
        return  # Multus then takes the configuration of that name from the directory
    source = f"{source}: {_DEFINITION} {metadata.get('namespace', 'default')}/{name}"
    config = _decode(text.encode("utf-8", "replace"), source)
    if not isinstance(config, dict):
        raise CniError(DECODE_FAILURE, f"{source}: spec.config is not a CNI configuration", f"such as {_EXAMPLE}")
    yield from _of_configuration({"name": name, **config}, source)


def _of_configuration(value: dict[str, Any], source: str) -> Iterator[Network]:
    """Yield the plugins of a configuration, of a list of plugins, or of what Multus delegates to."""
    if isinstance(value.get("delegates"), list) and "plugins" not in value:
        for each in value["delegates"]:
            yield from _networks(each, source)
        return
    listed = value.get("plugins")
    if not isinstance(listed, list) and not (source.endswith(_LIST) and "type" not in value):
        yield Network(value, source)
        return
    if not isinstance(listed, (list, type(None))):
        raise CniError(DECODE_FAILURE, f"{source}: 'plugins' is not a list")
    common: dict[str, Any] = {key: value[key] for key in ("name", "cniVersion") if key in value}
    common.update(_newest(value))
    for each, where in [*((each, source) for each in listed or ()), *_beside(value, source)]:
        for plugin in _networks(each, where):
            yield Network({**plugin.config, **common}, plugin.source)


def _beside(value: dict[str, Any], source: str) -> Iterator[tuple[Any, str]]:
    """Yield the plugins in the directory with the network's name, beside a list: NetworkPluginConfsFromFiles (1.3)."""
    name = value.get("name")
    if not source.endswith(_LIST) or value.get("loadOnlyInlinedPlugins") is True:
        return
    if not isinstance(name, str) or not cni.is_identifier(name):
        return
    directory = os.path.join(os.path.dirname(source), name)
    try:
        names = sorted(each for each in os.listdir(directory) if each.endswith(".conf"))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise unreadable(directory, error) from None
    for path in (os.path.join(directory, each) for each in names):
        try:
            yield _decode(read_file(path, LIMIT), path), path
        except OSError as error:
            raise unreadable(path, error) from None


def _newest(value: dict[str, Any]) -> dict[str, str]:
    """Return the version that libcni chooses, https://www.cni.dev/docs/spec/#configuration-format."""
    versions = value.get("cniVersions")
    if not isinstance(versions, list):
        return {}
    known = [each for each in cni.VERSIONS if each in (*versions, value.get("cniVersion"))]
    return {"cniVersion": known[-1]} if known else {}
