"""Find out which Node this machine is. In doubt it is an error: another node's ranges are the worst possible answer."""

from __future__ import annotations

import os

from plugin.config.values import is_node_name
from plugin.errors import PLUGIN_FAILURE, CniError, Forbidden, NodeMissing, Refusal
from plugin.facts import machine_id_of, name_of, valid_machine_id
from plugin.regular import refuse_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from plugin.config.settings import Settings
    from plugin.facts import Facts
    from plugin.kube.client import Client

MACHINE_ID_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")
BY_LIST = "machine-id"
_REMEMBERED = "name found before"


def identify(
    settings: Settings,
    known: Facts | None,
    has: Callable[[dict[str, Any]], bool],
    forget: Callable[[], None] = lambda: None,
) -> tuple[dict[str, Any], str, dict[str, str]]:
    """Return this machine's Node from the API server, how it was found, and the files used, with signatures.

    The name comes from the configuration, $NODE_NAME or the credential. Without it the host name and the name in known
    (an earlier answer) are candidates, which the machine-id must confirm; then all Nodes are searched for the
    machine-id. forget() is called before the query if known is another Node than the name says. has: whether a Node
    has what is needed; without it the Node is read again, past the server's own cache. Raises CniError.
    """
    from plugin.kube import client

    server = client.connect(settings.kubeconfig, settings.environ, settings.label, settings.cache)
    named = _given_name(settings, server)
    if named:
        how, name = named
        if known and known.name != name:
            forget()
        node = server.get_node(name, has)
        _check_machine_id(settings, server, node, how)
        return node, how, server.files
    tried: list[str] = []
    machine = machine_id()
    for name, how in _candidate_names(known).items():
        candidate, doubt = _confirmed(server, name, machine, has)
        if candidate is not None:
            return candidate, how, server.files
        tried.append(f"{how} {doubt}")
    return _search(server, machine, tried), BY_LIST, server.files


def machine_id() -> str:
    """Return this machine's id; "" if it has none that is valid. Raises CniError as refuse_shortage()."""
    for path in MACHINE_ID_FILES:
        try:
            with open(path, "rb") as file:
                value = valid_machine_id(file.read(100).decode("ascii", "replace"))
        except OSError as error:
            refuse_shortage(path, error)
            continue
        if value:
            return value
    return ""


def _given_name(settings: Settings, server: Client) -> tuple[str, str] | None:
    """Return the first source that gives the name of the Node, and that name; None if there is none."""
    configured = (("nodeName", settings.node_name), ("$NODE_NAME", settings.environ.get("NODE_NAME", "")))
    found = next(((how, name) for how, name in configured if name), None) or server.node_name()
    if found and not is_node_name(found[1]):
        what = f"{found[0]} says that this is node {found[1][:80]!r}: no Node can have that name"
        raise CniError(PLUGIN_FAILURE, what)
    return found


def _candidate_names(known: Facts | None) -> dict[str, str]:
    """Return the names that this machine's Node may have, in order, each with its origin."""
    host = os.uname().nodename.lower()
    found = {host: "hostname"}
    found.setdefault(host.partition(".")[0], "short host name")
    if known:
        found.setdefault(known.name, BY_LIST if known.identified_by == BY_LIST else _REMEMBERED)
    return found


def _confirmed(
    server: Client, name: str, machine: str, has: Callable[[dict[str, Any]], bool]
) -> tuple[dict[str, Any] | None, str]:
    """Return the Node of this name if it has this machine-id; else None, and the reason."""
    if not is_node_name(name):
        return None, f"{name!r}: no Node can have that name"
    try:
        node = server.get_node(name, has)
    except (NodeMissing, Forbidden) as error:
        return None, f"{name}: {error.msg}"
    theirs = machine_id_of(node)
    if machine and machine == theirs:
        return node, ""
    return None, f"{name}: its machineID is {theirs or 'unknown'}, this machine's is {machine or 'unknown'}"


def _search(server: Client, machine: str, tried: list[str]) -> dict[str, Any]:
    """Return the only Node with this machine-id. Raises CniError if there is none, or more than one."""
    from plugin.kube.answers import trimmed

    if not machine:
        raise _unknown(server, [*tried, f"machine-id: no valid one in {' or '.join(MACHINE_ID_FILES)}"])
    try:
        found = [trimmed(node) for node in server.list_nodes() if machine_id_of(node) == machine]
    except Forbidden as error:
        raise _unknown(server, [*tried, f"machine-id {machine}: {error.msg}"]) from None
    if len(found) != 1:
        names = ", ".join(sorted(name_of(node) for node in found)) or "no Node"
        raise _unknown(server, [*tried, f"machine-id {machine}: it is the one of {names}"])
    return found[0]


def _check_machine_id(settings: Settings, server: Client, node: dict[str, Any], how: str) -> None:
    """Raise CniError if the Node has another machine-id, unless the credential is the one of its kubelet.

    A kubelet that runs in a container reports the id of its image: then this is a warning.
    """
    name, ours, theirs = name_of(node), machine_id(), machine_id_of(node)
    if not ours or not theirs or ours == theirs:
        return
    what = f"{how} says that this is node {name}, whose machineID {theirs} is not this machine's {ours}"
    if server.kubelet_name() != name:
        details = "set 'nodeName' or $NODE_NAME to this machine's Node, or use its kubelet's kubeconfig"
        raise CniError(PLUGIN_FAILURE, what, details)
    settings.log.warning(what)


def _unknown(server: Client, tried: list[str]) -> Refusal:
    advice = "set 'nodeName' or $NODE_NAME, or use the kubelet's kubeconfig"
    details = f"{advice}. Tried with {server.describe()}: {'; '.join(tried)}"
    return Refusal(PLUGIN_FAILURE, "this machine's Node cannot be told", details)
