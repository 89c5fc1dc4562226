"""README is short, plain, and its links lead somewhere."""

from __future__ import annotations

import inspect
import os
import re

import pytest

import plugin
from tests.bench import scenarios
from tests.support import readme

LINES = 450
WORDS = 25


def test_length() -> None:
    """It can be read in one go."""
    assert len(readme.TEXT.splitlines()) <= LINES


def test_sentences() -> None:
    """No sentence has more than 25 words."""
    assert [each for each in readme.sentences() if len(each.split()) > WORDS] == []


@pytest.mark.parametrize("target", readme.links())
def test_links(target: str) -> None:
    """A link leads to a heading, to a file of the repository, or elsewhere by https."""
    if target.startswith("#"):
        assert target[1:] in readme.anchors()
    elif not target.startswith("https://"):
        assert os.path.exists(readme.PATH.parent / target)


def test_headings_in_messages() -> None:
    """A heading that a message of the program names is one of README's."""
    texts = [path.read_text() for path in (readme.PATH.parent / "plugin").rglob("*.py")]
    named = [each for text in texts for each in re.findall(r'see "([^"]+)" in README|README, "([^"]+)"', text)]
    assert named
    assert {"".join(each).lower().replace(",", "").replace(" ", "-") for each in named} <= set(readme.anchors())


def test_versions() -> None:
    """The newest entry is this version."""
    assert readme.section("Versions").strip().startswith(f"* **{plugin.__version__}** ")


def test_tables() -> None:
    """Each row of a table has as many cells as its head."""
    tables = [part for part in readme.TEXT.split("\n\n") if part.startswith("|")]

    assert len(tables) == 5
    for text in tables:
        assert {len(row) for row in readme.table(text)} == {len(readme.table(f"|\n|\n{text}")[0])}


def test_speed() -> None:
    """The rows are rows of the bench, by their names there."""
    source = inspect.getsource(scenarios)

    for row in readme.table(readme.section("Speed")):
        assert f'"{row[0]}"' in source


WIDE = """\
Text
```
a  b  c
…
d  12s old in /run/node-ipam/node-05f3…
```
"""


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("a b c\n", False),
        ("a  b  c\nd  1s old in /run/node-ipam/node-0123456789abcdef\n", True),
        ("a    b  c\nx\ny\nd      1s old in /run/node-ipam/node-0123456789abcdef\n", True),
        ("a  b  c\nx\nd  1s old in /run/node-ipam/node-0123456789abcdef\ne\n", False),
        ("x\na  b  c\nd  1s old in /run/node-ipam/node-0123456789abcdef\n", False),
        ("a  b  c\nd  1s old in /run/other\n", False),
    ],
)
def test_comparison(printed: str, expected: bool) -> None:
    """Columns may have another width, variable parts another value, and a line of … stands for any lines."""
    (block,) = readme.blocks(WIDE)

    assert readme.is_output(block.text, printed) is expected
