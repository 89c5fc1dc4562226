"""The CNI contract: the environment, standard input, versions, errors, and what is printed.

https://www.cni.dev/docs/spec/, with the order of checks and the wording of cni/pkg/skel, which users know.
"""

from __future__ import annotations

import json
import os
import re

from plugin import process
from plugin.errors import (
    DECODE_FAILURE,
    INCOMPATIBLE_VERSION,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    IO_FAILURE,
    CniError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST = VERSIONS[-1]
# The first version that has the command; the others have always been there.
_SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
COMMANDS = ("ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION")

# https://www.cni.dev/docs/spec/#section-1-network-configuration-format; fullmatch, as $ would allow a newline.
_IDENTIFIER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
_IDENTIFIER_WORDS = "letters, digits, '_', '.' and '-', the first a letter or digit"
_INTERFACE_BYTES = 15  # IFNAMSIZ less the final NUL
_NESTING = 512  # levels; what host-local's reader takes is far more, what Python's writes is not


def is_identifier(value: str) -> bool:
    """Return whether a container or a network can have this name."""
    return _IDENTIFIER.fullmatch(value) is not None


def is_interface(value: str) -> bool:
    """Return whether a network interface can have this name."""
    return value.isprintable() and not _bad_interface(value)


def _bad_container(value: str) -> str:
    return "" if is_identifier(value) else f"must be {_IDENTIFIER_WORDS}"


def _bad_interface(value: str) -> str:
    if len(value.encode("utf-8", "surrogateescape")) > _INTERFACE_BYTES:
        return f"is longer than {_INTERFACE_BYTES} bytes"
    if value in (".", "..") or "/" in value or ":" in value or any(map(str.isspace, value)):
        return "is not the name of a network interface"
    return ""


# Variable, the commands that need it, and its check. https://www.cni.dev/docs/spec/#parameters, and CNI_PATH as every
# reference plugin demands it.
_ENVIRONMENT: tuple[tuple[str, Sequence[str], Callable[[str], str] | None], ...] = (
    ("CNI_CONTAINERID", ("ADD", "DEL", "CHECK"), _bad_container),
    ("CNI_NETNS", ("ADD", "CHECK"), None),
    ("CNI_IFNAME", ("ADD", "DEL", "CHECK"), _bad_interface),
    ("CNI_PATH", ("ADD", "DEL", "CHECK", "STATUS", "GC"), None),
)


class Request:
    """A valid request: the command, and the network configuration."""

    def __init__(
        self, program: str, command: str, environ: Mapping[str, str], raw: bytes, config: dict[str, Any]
    ) -> None:
        self.program = program  # the path we were called by
        self.command = command
        self.environ = environ
        self.raw = raw
        self.config = config
        self.name: str = config["name"]
        self.version: str = config.get("cniVersion") or "0.1.0"

    def directories(self) -> list[str]:
        """Return where to look for the next plugin: CNI_PATH, then the directory of this one."""
        return [*self.environ["CNI_PATH"].split(os.pathsep), os.path.dirname(os.path.abspath(self.program))]

    def ipam(self) -> dict[str, Any]:
        """Return the ipam object of the configuration. Raises CniError if there is none."""
        ipam = self.config.get("ipam")
        if not isinstance(ipam, dict):
            what = "has no 'ipam'" if ipam is None else "has an 'ipam' that is not an object"
            details = 'write "ipam": {"type": "kube-node"}'
            if "plugins" in self.config:
                details = 'this is a list; a plugin gets one entry of its "plugins", with "name" and "cniVersion"'
            raise CniError(INVALID_CONFIG, f"network {self.name} {what}", details)
        return ipam

    @property
    def needs_no_ranges(self) -> bool:
        """Whether it releases or checks: then an error in the configuration must not keep an address allocated."""
        return self.command in ("DEL", "CHECK", "GC")


def check_environment(command: str, environ: Mapping[str, str]) -> None:
    """Raise CniError unless every variable that the command needs is there and valid."""
    if command not in COMMANDS:
        raise CniError(INVALID_ENVIRONMENT, f"unknown CNI_COMMAND: {command[:80]}", "one of " + ", ".join(COMMANDS))
    needed = [(name, validate) for name, commands, validate in _ENVIRONMENT if command in commands]
    missing = [name for name, _ in needed if not environ.get(name)]
    if missing:
        raise CniError(
            INVALID_ENVIRONMENT,
            f"required env variables [{','.join(missing)}] missing",
            f"a container runtime sets them for {command}; by hand: env NAME=VALUE … plugin < configuration",
        )
    for name, validate in needed:
        trouble = validate(environ[name]) if validate else ""
        if trouble:
            raise CniError(INVALID_ENVIRONMENT, f"invalid {name} {environ[name][:80]!r}", f"it {trouble}")


def parse(program: str, command: str, environ: Mapping[str, str], raw: bytes) -> Request:
    """Return the Request in these bytes of standard input. Raises CniError."""
    if len(raw) > process.STDIN_LIMIT:
        msg = f"more than {process.STDIN_LIMIT} bytes on standard input"
        raise CniError(IO_FAILURE, msg, "a network configuration is a few hundred bytes long")
    config = decode(raw)
    if config is not None and not isinstance(config, dict):
        details = 'write {"cniVersion": "1.0.0", "name": …, "type": …, "ipam": {"type": "kube-node"}}'
        raise CniError(DECODE_FAILURE, "the network configuration is not a JSON object", details)
    config = config or {}
    refuse_other_case(config, ("cniVersion", "name", "ipam", "args", "runtimeConfig"))
    _check_name(config.get("name"))
    _check_version(config.get("cniVersion"), command)
    return Request(program, command, environ, raw, config)


def decode(raw: bytes, what: str = "standard input") -> Any:
    """Return the value of strict JSON, as Go reads it. Raises CniError with the place; what: the name of the text."""
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=refuse_constant, parse_float=finite)
    except UnicodeDecodeError as error:
        raise CniError(DECODE_FAILURE, f"{what} is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise CniError(DECODE_FAILURE, f"{what} is not JSON: {error.msg}, {place}") from None
    except ValueError:
        raise CniError(DECODE_FAILURE, f"{what} holds a number that JSON does not have") from None
    except RecursionError:
        raise CniError(DECODE_FAILURE, f"{what} is nested deeper than {_NESTING} levels") from None
    if _deeper_than(value, _NESTING):
        raise CniError(DECODE_FAILURE, f"{what} is nested deeper than {_NESTING} levels")
    return value


def refuse_constant(_text: str) -> float:
    """Raise ValueError for NaN and Infinity, which JSON does not have. For json's parse_constant."""
    raise ValueError


def finite(text: str) -> float:
    """Return a number. Raises ValueError if no double can hold it. For json's parse_float."""
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError
    return value


def refuse_other_case(config: dict[str, Any], names: Iterable[str]) -> None:
    """Raise CniError for a key such as 'IPAM': Go takes it for the real one, and may then prefer it."""
    known = {name.casefold(): name for name in names}
    for key in config:
        name = known.get(key.casefold())
        if name and key != name:
            raise CniError(INVALID_CONFIG, f"'{key}' is not a key of this configuration", f"write '{name}'")


def version_answer() -> bytes:
    """Return the answer to VERSION, https://www.cni.dev/docs/spec/#version-probe-plugin-version-support."""
    return encode({"cniVersion": NEWEST, "supportedVersions": VERSIONS})


def error_answer(error: CniError, version: str = "") -> bytes:
    """Return the error object, https://www.cni.dev/docs/spec/#error."""
    answer = {"cniVersion": version or "1.0.0", "code": error.code, "msg": error.msg}
    if error.details:
        answer["details"] = error.details
    return encode(answer)


def encode(value: object) -> bytes:
    """Return JSON in one line, in ASCII."""
    return json.dumps(value).encode() + b"\n"


def _check_name(name: object) -> None:
    if name is not None and not isinstance(name, str):
        raise CniError(DECODE_FAILURE, "the network's 'name' is not a string", 'write "name": "k8snet"')
    if not name:
        raise CniError(INVALID_CONFIG, "missing network name", 'give the configuration a "name"')
    if not is_identifier(name):
        raise CniError(INVALID_CONFIG, f"invalid characters found in network name {name[:80]!r}", _IDENTIFIER_WORDS)


def _check_version(version: object, command: str) -> None:
    if version is not None and not isinstance(version, str):
        raise CniError(DECODE_FAILURE, "'cniVersion' is not a string", 'write "cniVersion": "1.0.0"')
    version = version or "0.1.0"
    if version not in VERSIONS:
        details = f'config is "{version[:80]}", plugin supports {json.dumps(VERSIONS)}'
        raise CniError(INCOMPATIBLE_VERSION, "incompatible CNI versions", details)
    since = _SINCE.get(command, "0.1.0")
    if VERSIONS.index(version) < VERSIONS.index(since):
        details = f"{command} came with version {since}, the configuration says {version}"
        raise CniError(INCOMPATIBLE_VERSION, f"config version does not allow {command}", details)


def _deeper_than(value: object, levels: int) -> bool:
    level: list[Any] = [[value]]
    while level and levels >= 0:
        inside = [item for each in level for item in (each.values() if isinstance(each, dict) else each)]
        level, levels = [item for item in inside if isinstance(item, (dict, list))], levels - 1
    return bool(level)
