"""Which Node is this machine? Another node's ranges are the worst there is to hand out: when in doubt, an error."""

from __future__ import annotations

import os

from plugin.errors import PLUGIN_FAILURE, CniError, Forbidden, NodeMissing, Refusal
from plugin.facts import TOKEN_CLAIM, machine_id_of, name_of
from plugin.values import is_node_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from plugin.facts import Facts
    from plugin.kube.client import Client
    from plugin.settings import Settings

MACHINE_ID_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")
BY_LIST = "machine-id"


class Identified:
    """A Node object, how it was found to be this machine's, and the files that this rests on, with signatures."""

    __slots__ = ("files", "how", "node")

    def __init__(self, node: dict[str, Any], how: str, files: dict[str, str]) -> None:
        self.node = node
        self.how = how
        self.files = files


def identify(
    settings: Settings,
    known: Facts | None,
    has: Callable[[dict[str, Any]], bool],
    forget: Callable[[], None] = lambda: None,
) -> Identified:
    """Read this machine's Node from the API server.

    In this order: the configuration, $NODE_NAME, the credential, the host name (checked), the machine-id.
    known spares the list of all Nodes where that had to be searched before; if it is of another Node than is told now,
    forget() is called before the server is asked. has says whether a Node holds what is wanted; one that does not is
    read again, past the server's own cache. Raises CniError.
    """
    from plugin.kube import client

    server = client.connect(settings.kubeconfig, settings.environ, settings.label, settings.cache)
    for how, name in _told(settings, server):
        if known and known.name != name:
            forget()
        node = server.get_node(name, has)
        _doubt(settings, node, name, how)
        return Identified(node, how, server.files)
    tried: list[str] = []
    machine = machine_id()
    host = os.uname().nodename.lower()
    for how, name in _guesses(known, host):
        guessed = _guess(server, name, how, machine, has, tried)
        if guessed is not None:
            return Identified(guessed, how, server.files)
    return Identified(_search(server, machine, tried), BY_LIST, server.files)


def machine_id() -> str:
    """This machine's id, https://www.freedesktop.org/software/systemd/man/machine-id.html; empty when it has none."""
    for path in MACHINE_ID_FILES:
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                value = file.read(100).strip().lower()
        except OSError:
            continue
        if value:
            return value
    return ""


def _told(settings: Settings, server: Client) -> list[tuple[str, str]]:
    """The first source that names the node outright, as (what, name); empty when none does."""
    credential = server.node_name()
    sources = [("nodeName", settings.node_name), ("$NODE_NAME", settings.environ.get("NODE_NAME", ""))]
    sources += [credential] if credential else []
    told = [(how, name) for how, name in sources if name][:1]
    for how, name in told:
        if not is_node_name(name):
            raise CniError(PLUGIN_FAILURE, f"{how} says that this is node {name[:80]!r}: no Node can have that name")
    return told


def _guesses(known: Facts | None, host: str) -> list[tuple[str, str]]:
    remembered = [(BY_LIST, known.name)] if known and known.identified_by == BY_LIST else []
    return [("hostname", host), *remembered]


def _guess(
    server: Client, name: str, how: str, machine: str, has: Callable[[dict[str, Any]], bool], tried: list[str]
) -> dict[str, Any] | None:
    """The Node of this name if it is this machine's; None, and a line in tried, if not."""
    if not is_node_name(name):
        tried.append(f"{how} {name!r}: no Node can have that name")
        return None
    try:
        node = server.get_node(name, has)
    except (NodeMissing, Forbidden) as error:
        tried.append(f"{how} {name}: {error.msg}")
        return None
    theirs = machine_id_of(node)
    if machine and machine == theirs:
        return node
    tried.append(f"{how} {name}: its machineID is {theirs or 'unknown'}, this machine's is {machine or 'unknown'}")
    return None


def _search(server: Client, machine: str, tried: list[str]) -> dict[str, Any]:
    """The only Node with this machine-id. Raises CniError for none, and for more than one."""
    if not machine:
        tried.append(f"machine-id: none in {' or '.join(MACHINE_ID_FILES)}")
        raise _unknown(server, tried)
    from plugin.kube.answers import trimmed

    try:
        found = [trimmed(node) for node in server.list_nodes() if machine_id_of(node) == machine]
    except Forbidden as error:
        tried.append(f"machine-id {machine}: {error.msg}")
        raise _unknown(server, tried) from None
    if len(found) != 1:
        names = ", ".join(sorted(name_of(node) for node in found)) or "no Node"
        tried.append(f"machine-id {machine}: it is the one of {names}")
        raise _unknown(server, tried)
    return found[0]


def _doubt(settings: Settings, node: dict[str, Any], name: str, how: str) -> None:
    """Tell of a Node that reports another machine-id; a token does not tell against that: it may be any pod's."""
    ours, theirs = machine_id(), machine_id_of(node)
    if not ours or not theirs or ours == theirs:
        return
    what = f"{how} says that this is node {name}, whose machineID {theirs} is not this machine's {ours}"
    if how == TOKEN_CLAIM:
        details = "use the token of a pod that runs on this node, or set 'nodeName' or $NODE_NAME"
        raise CniError(PLUGIN_FAILURE, what, details)
    settings.log.warning(what)


def _unknown(server: Client, tried: list[str]) -> Refusal:
    advice = "set 'nodeName' or $NODE_NAME, or use the kubelet's kubeconfig"
    details = f"{advice}. Tried with {server.describe()}: {'; '.join(tried)}"
    return Refusal(PLUGIN_FAILURE, "this machine's Node cannot be told", details)
