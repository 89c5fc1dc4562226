"""Label selectors mean what they mean to kubectl."""

from __future__ import annotations

import pytest

from plugin.errors import CniError
from plugin.ops.ranges import selector

LABELS = {"zone": "a", "kubernetes.io/os": "linux", "empty": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("zone=a", True),
        ("zone == a", True),
        ("zone=b", False),
        ("zone!=b", True),
        ("other!=b", True),
        ("zone", True),
        ("other", False),
        ("!other", True),
        ("! zone", False),
        ("zone in (a,b)", True),
        ("zone in ( b, c )", False),
        ("zone notin (b)", True),
        ("other notin (b)", True),
        ("zone notin (a,b)", False),
        ("zone in (a,b),kubernetes.io/os=linux,!other", True),
        ("zone in (a,b),kubernetes.io/os=windows", False),
        ("empty=", True),
    ],
)
def test_matches(text: str, expected: bool) -> None:
    """All requirements hold; a label that is missing is unlike any value."""
    assert selector.parse(text)(LABELS) is expected


@pytest.mark.parametrize("text", ["zone=a b", "=a", "zone in a", "zone,,x", "zone>1", "a/b/c=1"])
def test_wrong(text: str) -> None:
    """What is not understood is an error, never all nodes."""
    with pytest.raises(CniError, match="is not a label selector"):
        selector.parse(text)
