"""README's table of keys is the table that the plugin checks by."""

from __future__ import annotations

from pathlib import Path

from plugin.config import keys

README = Path(__file__).parents[2] / "README.md"


def test_readme() -> None:
    """README has each line of the table, in its order."""
    rows = [f"| `{key.name}` | {', '.join(key.places)} | {key.meaning} | {key.default} |" for key in keys.TABLE]
    table = "\n".join(("| key | in | meaning | default |", "|---|---|---|---|", *rows))
    assert table in README.read_text(encoding="utf-8")
