"""The networks that are configured on this machine."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence

from plugin import TYPES, cni, verbs
from plugin.cni import Request
from plugin.config import values
from plugin.config.settings import Settings
from plugin.errors import INVALID_CONFIG, CniError
from plugin.leases import hostlocal, records
from plugin.log import Log
from plugin.ops import output
from plugin.ops.networks import configurations
from plugin.ops.networks.configurations import STDIN, UNNAMED, Network
from plugin.regular import read_file

CONF_DIR = "/etc/cni/net.d"
# Where runtimes and distributions keep their plugins; the first is containerd's, CRI-O's and the kubelet's default.
BIN_DIRS = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
# libcni.ConfFiles: what a runtime reads of the directory.
_SUFFIXES = (".conf", ".conflist", ".json")
# They decide which kubeconfig and which Node are read, and are often set in an administrator's shell.
PERSONAL = ("KUBECONFIG", "NODE_NAME", "HOME")
_LIST_LIMIT = 1 << 26  # bytes of all NetworkAttachmentDefinitions of a cluster


def add_conf_dir(parser: argparse.ArgumentParser) -> None:
    """Give a command --conf-dir."""
    text = f"where the CNI configurations are (default: {CONF_DIR})"
    parser.add_argument("--conf-dir", default=CONF_DIR, metavar="DIR", help=text)


def add_conf(parser: argparse.ArgumentParser, otherwise: str) -> None:
    """Give a command the argument CONF, --conf-dir, --bin-dir and --shell-environment."""
    text = f"a CNI configuration: a file, the name of a network, or - for standard input (default: {otherwise})"
    parser.add_argument("conf", nargs="?", default="", metavar="CONF", help=text)
    add_conf_dir(parser)
    text = f"where the runtime looks for plugins (default: $CNI_PATH, or {BIN_DIRS[0]})"
    default = os.environ.get("CNI_PATH") or BIN_DIRS[0]
    parser.add_argument("--bin-dir", default=default, type=output.not_empty, metavar="DIR", help=text)
    text = f"use {', '.join(PERSONAL[:-1])} and {PERSONAL[-1]} of this shell, which must be those of the runtime"
    parser.add_argument("--shell-environment", action="store_true", help=text)


def environ(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the runtime's variables: those of this shell, without PERSONAL unless these are wanted."""
    dropped = () if arguments.shell_environment else PERSONAL
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "CNI_PATH": arguments.bin_dir}


def only_ours(networks: Sequence[Network], conf: str, troubles: Sequence[CniError]) -> list[Network]:
    """Return those of these networks that use a type of ours. Raises CniError if there is neither one nor an error."""
    found = [each for each in networks if each.is_ours]
    if not found and not troubles:
        what = f"{STDIN if conf == '-' else conf} uses neither {' nor '.join(TYPES)}"
        raise CniError(INVALID_CONFIG, what, 'write "ipam": {"type": "kube-node"}')
    return found


def chosen(conf: str, directory: str) -> tuple[list[Network], list[CniError]]:
    """Return the networks that CONF names: a file, a network, or - for standard input. Raises CniError.

    The errors are of items of a list; there may be other networks in it.
    """
    troubles: list[CniError] = []
    if conf == "-":
        found = configurations.parse(output.read_stdin("a CNI configuration", _LIST_LIMIT), STDIN, troubles)
        # The configuration in a NetworkAttachmentDefinition can lack a name.
        named = [Network({**each.config, "name": each.config.get("name", UNNAMED)}, each.source) for each in found]
        return named, troubles
    if "/" in conf or conf.endswith(_SUFFIXES):
        try:
            with open(conf, "rb") as file:  # it may be a pipe
                return configurations.parse(file.read(_LIST_LIMIT), conf, troubles), troubles
        except OSError as error:
            raise configurations.unreadable(conf, error) from None
    found, unread = scan(directory)
    named = [network for network in found if network.name == conf]
    if not named:
        others = ", ".join(sorted({network.name for network in found})) or "none"
        details = [f"known networks: {others}; to name a file, include a slash", *(each.msg for each in unread)]
        raise CniError(INVALID_CONFIG, f"no network {conf!r} in {directory}", "\n".join(details))
    return named, troubles


def scan(directory: str) -> tuple[list[Network], list[CniError]]:
    """Return every network in a directory, in libcni's order of files, and the errors of other files."""
    found: list[Network] = []
    troubles: list[CniError] = []
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except FileNotFoundError:
        entries = []
    except OSError as error:
        return [], [configurations.unreadable(directory, error)]
    for entry in entries:
        if entry.name.endswith(_SUFFIXES) and not entry.is_dir(follow_symlinks=False):
            try:
                found += configurations.parse(read_file(entry.path, configurations.LIMIT), entry.path, troubles)
            except OSError as error:
                troubles.append(configurations.unreadable(entry.path, error))
            except CniError as error:
                troubles.append(error)
    return found, troubles


def setup(network: Network, command: str, environ: Mapping[str, str]) -> tuple[Request, Settings]:
    """Return the request that a runtime would send to the plugin of this network, and its settings. Raises CniError.

    environ: with CNI_PATH. The command decides what the answer is for: STATUS, unlike ADD, takes all ranges, whatever
    the pod's namespace.
    """
    program = os.path.join(environ["CNI_PATH"].partition(os.pathsep)[0], network.type)
    variables = {"CNI_COMMAND": command, "CNI_CONTAINERID": "none", "CNI_IFNAME": "eth0"}
    made = cni.parse(program, "ADD", {**environ, **variables}, cni.encode(network.config))
    made.command = command
    return made, verbs.type_of(made).setup(made)


def data_dirs(network: Network, environ: Mapping[str, str]) -> list[str]:
    """Return where the leases of a network may be, without a query: as configured, then as recorded by earlier ADDs."""
    found = _configured_data_dirs(network, environ)
    if network.is_ours and network.name:
        found += records.data_dirs(environ, network.name)
    return list(dict.fromkeys(each or hostlocal.DATA_DIR for each in found))


def _configured_data_dirs(network: Network, environ: Mapping[str, str]) -> list[str]:
    if network.is_ours:
        try:
            asked, settings = setup(network, "GC", environ)
            settings.log = Log()
            return verbs.type_of(asked).data_dirs(asked, settings)
        except CniError:
            pass  # doctor reports what is wrong; the leases are where they are
    try:
        return [values.text(network.ipam, "dataDir", "ipam.")]
    except CniError:  # no path: host-local fails, too
        return []
