"""YAML as it is printed: read back it is what went in, and it looks as people write it."""

from __future__ import annotations

import pytest
import yaml

from plugin.ops.deploy import yamltext

VALUES = [
    {},
    [],
    "",
    "plain",
    "true",
    "No",
    "null",
    "~",
    "1",
    "1.5",
    "0x1f",
    "1e3",
    "12:30",
    "2026-01-02",
    "10%",
    "10m",
    "-c",
    "- x",
    "#",
    "a: b",
    "a #b",
    " blank",
    "blank ",
    "'",
    '"',
    "ä\u2028",
    "\x1b[0m",
    "/mnt/x",
    "two\nlines\n",
    "two\nlines",
    "two\nlines\n\n",
    "\nblank first\n",
    "  indented\nfirst\n",
    "trailing \nblank\n",
    "tab\there\nand\n",
    "a\n\nb\n",
    True,
    False,
    None,
    0,
    -1,
    2.5,
]


@pytest.mark.parametrize("value", VALUES)
def test_read_back(value: object) -> None:
    """Whatever the value and the place it stands in, it is read as it was written."""
    for document in ({"key": value}, {"a": [[value, {"a": value}]]}, {"a": {"b": [{"c": value}, value]}}):
        assert list(yaml.safe_load_all(yamltext.dump([document, document]) + "\n")) == [document, document]


def test_style() -> None:
    """Block style in the order given, scripts as they are, quotes only where they are needed."""
    value = {
        "kind": "DaemonSet",
        "spec": {"command": ["/bin/sh", "-c", "set -eu\n\nexit 1\n"], "env": [{"name": "A", "value": "1"}], "none": {}},
    }

    expected = """\
---
kind: DaemonSet
spec:
  command:
    - /bin/sh
    - "-c"
    - |
      set -eu

      exit 1
  env:
    - name: A
      value: "1"
  none: {}"""
    assert yamltext.dump([value]) == expected
