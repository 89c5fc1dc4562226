"""Who may do what on the test API server, and what a real one says to those who may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class User(NamedTuple):
    """Who asks, as far as the server could tell."""

    name: str
    groups: tuple[str, ...] = ()


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))

# Given the user, the verb (get, list, patch) and the Node's name (of a list: the one its selector names, or ""):
# "" permits, anything else is what the 403 says.
Rule = Callable[[User, str, str], str]


def authenticated(user: User, verb: str, name: str) -> str:
    """Whoever is known may do everything."""
    return "" if user != ANONYMOUS else _forbidden(user, verb, name)


def rbac_get_nodes_only(user: User, verb: str, name: str) -> str:
    """A ClusterRole with the verb get on nodes, bound to everyone who is known."""
    return "" if verb == "get" and user != ANONYMOUS else _forbidden(user, verb, name)


def rbac_nothing(user: User, verb: str, name: str) -> str:
    """No role binding at all."""
    return _forbidden(user, verb, name)


def node_authorizer(user: User, verb: str, name: str) -> str:
    """What Kubernetes 1.32 and later let a kubelet do: its own Node, and no list of all."""
    own = user.name[len("system:node:") :] if "system:nodes" in user.groups else ""
    if own and own == name:
        return ""
    if not own:
        return _forbidden(user, verb, name)
    what = f"'{name}'" if name else "all nodes"
    return f"{_forbidden(user, verb, name)}: node '{own}' cannot read {what}, only its own Node object"


def _forbidden(user: User, verb: str, name: str) -> str:
    which = f'nodes "{name}"' if name else "nodes"
    return (
        f'{which} is forbidden: User "{user.name}" cannot {verb} resource "nodes" in API group "" at the cluster scope'
    )
