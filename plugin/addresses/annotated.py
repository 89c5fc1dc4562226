"""Check what an annotation gives to host-local, whose own errors name neither the annotation nor the node."""

from __future__ import annotations

import json

from plugin.addresses import spans
from plugin.addresses.ranges import unusable
from plugin.config import keys, spelling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_CIDR_CHARACTERS = frozenset("0123456789abcdefABCDEF.:/, \t\r\n")
_EXAMPLE = '[[{"subnet": "10.0.1.0/24"}]]'
_LONGEST = 300  # characters of an advice


def refuse_cidrs(text: str, where: str) -> None:
    """Raise CniError if the text is empty, or a list of CIDRs, which is how kube-node's annotations look."""
    if not text.strip():
        raise unusable(where, "it is empty", f"write ranges: {_EXAMPLE}")
    if "/" in text and _CIDR_CHARACTERS.issuperset(text):
        sets = [[{"subnet": cidr.strip()}] for cidr in text.split(",")]
        advice = f"write {_ranges(sets)}, or use type kube-node"
        raise unusable(where, "it is a list of CIDRs, the form of type kube-node", advice)


def check(ipam: dict[str, Any], config: Mapping[str, Any], where: str) -> None:
    """Raise CniError for what host-local would refuse or drop. config: the request; where: annotation and node."""
    for key in ipam:
        if key.casefold() == "ipam":
            raise unusable(where, f"'{key}' does not belong into it", f"write what is inside of it: ranges: {_EXAMPLE}")
    _refuse_misspelt(ipam, keys.HOST_LOCAL, where)
    listed = spans.sets(ipam)
    if not listed and keys.runtime_ranges(config):
        return
    if not listed:
        raise unusable(where, "it has no ranges", f"write ranges: {_EXAMPLE}")
    sets = _sets(listed, where)
    for entry in (each for found in sets for each in found):
        _refuse_misspelt(entry, keys.RANGE, where)
    spans.check(sets, where)


def _sets(listed: Any, where: str) -> list[list[dict[str, Any]]]:
    """Return the value of ranges if it is a list of lists of objects; else say how that would look."""
    found = listed if isinstance(listed, list) else [listed]
    sets: list[list[dict[str, Any]]] = [each for each in found if isinstance(each, list) and _are(dict, each)]
    if found is listed and sets == listed:
        return sets
    if _are(dict, found):
        raise unusable(where, "ranges has too few brackets", f"write {_ranges([[each] for each in found])}")
    if _are(str, found):
        right = _ranges([[{"subnet": each}] for each in found])
        raise unusable(where, "ranges holds strings in place of lists of objects", f"write {right}")
    raise unusable(where, spans.NO_SETS, f"write ranges: {_EXAMPLE}")


def _are(kind: type, found: list[Any]) -> bool:
    return bool(found) and all(isinstance(each, kind) for each in found)


def _refuse_misspelt(members: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    unknown = [key for key in members if key not in names]
    right = next(((key, name) for key in unknown if (name := spelling.meant(key, names))), None)
    if right:
        raise unusable(where, f"'{right[0][:80]}' is not a key of host-local, '{right[1]}' is", f"write '{right[1]}'")


def _ranges(sets: object) -> str:
    text = json.dumps(sets)
    return f"ranges: {text if len(text) <= _LONGEST else _EXAMPLE}"
