"""Strategies: any JSON, and a document that is right but for some places."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

NUMBERS = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
# What a variable of the environment can hold.
VARIABLE = st.text(st.characters(min_codepoint=1, max_codepoint=0x2FFF), max_size=30)


def places(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a document but itself."""
    if isinstance(document, dict):
        keys: list[Any] = list(document)
    else:
        keys = list(range(len(document))) if isinstance(document, list) else []
    return [path for key in keys for path in ((*at, key), *places(document[key], (*at, key)))]


@st.composite
def damaged(draw: st.DrawFn, document: Any, values: st.SearchStrategy[Any] = JSON, most: int = 2) -> Any:
    """The document with some places holding another value, or gone; perhaps none."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(0, most))):
        paths = places(changed)
        if not paths:
            break
        *way, last = draw(st.sampled_from(paths))
        parent = changed
        for key in way:
            parent = parent[key]
        if draw(st.integers(0, 3)):
            parent[last] = draw(values)
        else:
            del parent[last]
    return changed


@st.composite
def mangled(draw: st.DrawFn, data: bytes, pieces: list[bytes]) -> bytes:
    """The bytes with some cut out, doubled, or with others put in."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 2, 10, 100])))
        inside = draw(
            st.sampled_from([b"", data[start:end] * 2, draw(st.sampled_from(pieces) | st.binary(max_size=3))])
        )
        data = data[:start] + inside + data[end:]
    return data
