"""README's table of keys is the table that the plugin checks by."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugin.config import keys
from plugin.ops.networks import keytable

README = Path(__file__).parents[3] / "README.md"


def test_readme() -> None:
    """README has each line of the table, in its order."""
    text = README.read_text(encoding="utf-8")
    if keytable.HEADER[0] not in text:
        pytest.skip("README has no table of keys in this form yet")
    assert "\n".join(keytable.markdown()) in text


@pytest.mark.parametrize("place", [keys.KUBE_NODE, keys.NODE_ANNOTATION, keys.CONF, keys.PINNED])
def test_help(place: str) -> None:
    """Each key of a place has a line that fits a terminal of 120 columns."""
    lines = keytable.plain(place)

    assert [line.split()[0] for line in lines] == [key.name for key in keys.of(place)]
    assert max(map(len, lines)) <= 120
    assert "`" not in "".join(lines)
