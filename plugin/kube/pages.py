"""Read the list of Nodes in pages, so that the Nodes of a large cluster are never in memory together."""

from __future__ import annotations

from urllib.parse import quote

from plugin.kube.answers import Expired, unusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Object = dict[str, Any]

PATH = "/api/v1/nodes"
_SIZE = 500  # Nodes of a page
_RESTARTS = 3


def read(get: Callable[[str], Object], route: str) -> Iterator[tuple[bool, list[Object], Object]]:
    """Yield for each page whether it is the first one, its Nodes, and the list's metadata. Raises CniError.

    When the list has expired (410), it begins anew with a first page. get: returns the page at a path.
    route: the server, for messages.
    """
    restarts, following = 0, ""
    while True:
        try:
            page = get(f"{PATH}?limit={_SIZE}{following}")
        except Expired:
            restarts, following = restarts + 1, ""
            if restarts > _RESTARTS:
                raise
            continue
        nodes, token = page.get("items") or [], page["metadata"].get("continue") or ""
        if (
            not isinstance(nodes, list)
            or not isinstance(token, str)
            or not all(isinstance(node, dict) for node in nodes)
        ):
            raise unusable(route, "its list of Nodes is not one")
        yield not following, nodes, page["metadata"]
        if not token:
            return
        following = f"&continue={quote(token, safe='')}"
