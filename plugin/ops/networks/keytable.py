"""The table of keys as text: for README, and for --help."""

from __future__ import annotations

from plugin.config import keys

HEADER = ("| key | in | meaning | default |", "|---|---|---|---|")


def markdown() -> list[str]:
    """Return the lines of README's table of keys."""
    rows = [f"| `{key.name}` | {', '.join(key.places)} | {key.meaning} | {key.default} |" for key in keys.TABLE]
    return [*HEADER, *rows]


def plain(place: str) -> list[str]:
    """Return a line for each key of this place, for --help."""
    rows = [(key.name, f"{key.meaning} (default: {key.default})".replace("`", "")) for key in keys.of(place)]
    width = max(len(name) for name, _ in rows)
    return [f"  {name:{width}}  {meaning}" for name, meaning in rows]
