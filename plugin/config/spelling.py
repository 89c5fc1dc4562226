"""Find the key of ours that an unknown key resembles."""

from __future__ import annotations

from plugin.errors import INVALID_CONFIG, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plugin.config.keys import Key

_COMMENTS = ("_", "//", "#", "$")  # how people write a comment, or disable a key, in JSON
_SHORTEST = 5  # letters of an abbreviation, as 'annot'


def check(unknown: Iterable[str], ours: Sequence[Key], host_locals: Iterable[str], where: str) -> None:
    """Raise CniError for a key that resembles one of ours, or is one of host-local's in other letters.

    host-local takes such a key for the real one: 'Ranges' beside our 'ranges' would win.
    """
    exact = {name.casefold(): name for name in host_locals}
    names = [key.name for key in ours]
    parts = [key.name for key in ours if key.decides_addresses]
    for key in unknown:
        right = exact.get(key.casefold()) or meant(key, names, parts)
        if right:
            details = f"write '{right}', or remove the key; a key that begins with _, // or # is a comment"
            raise CniError(INVALID_CONFIG, f"'{where}{key[:80]}' is not a key of this plugin, '{right}' is", details)


def meant(key: str, names: Iterable[str], parts: Iterable[str] = ()) -> str:
    """Return the name that this key is a misspelling of; "" if there is none.

    parts: names that a key is a misspelling of also if it contains them, or is how they begin.
    """
    if is_comment(key):
        return ""
    letters = _letters(key)
    found = [(edits, name) for name in names if (edits := _distance(letters, _letters(name))) is not None]
    is_long = len(letters) >= _SHORTEST
    found = found or [
        (0, name) for name in parts if _letters(name) in letters or is_long and _letters(name).startswith(letters)
    ]
    return min(found)[1] if found else ""


def is_comment(key: str) -> bool:
    """Return whether a key is a comment by its first character."""
    return key.startswith(_COMMENTS)


def _letters(key: str) -> str:
    """Return a key without what people vary: case, and the characters between words."""
    return "".join(char for char in key.casefold() if char.isalnum())


def _distance(key: str, name: str) -> int | None:
    """Return the number of edits between two keys; None if these are too many for a slip of the fingers."""
    limit = 1 if len(name) < 5 else 2 if len(name) < 9 else 3
    if key[:1] != name[:1]:
        limit = max(1, limit - 1)
    if abs(len(key) - len(name)) > limit:
        return None
    distance = _edits(key, name)
    return distance if distance <= limit else None


def _edits(one: str, other: str) -> int:
    """Return how many letters have to be dropped, added, replaced or swapped with their neighbour."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, char in enumerate(one):
        row = [i + 1]
        for j, letter in enumerate(other):
            row.append(min(last[j + 1] + 1, row[j] + 1, last[j] + (char != letter)))
            if i and j and char == other[j - 1] and one[i - 1] == letter:
                row[-1] = min(row[-1], before[j - 1] + 1)
        before, last = last, row
    return last[-1]
