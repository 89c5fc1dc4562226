"""plugin.kube.document: the first document, and limits to what a file can make of us."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from plugin.kube.document import Undecodable, decode


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("# nothing\n", None),
        ("---\n", None),
        ("a: b", {"a": "b"}),
        (
            "a: [1, 1.5, 0x10, 1e3, 12:30, 2001-01-01, =, '', ~]",
            {"a": ["1", "1.5", "0x10", "1e3", "12:30", "2001-01-01", "=", "", None]},
        ),
        ("[yes, No, 'yes', y, n, On]", [True, False, "yes", True, False, True]),
        ("a: !!null ''\nb: !!bool 'no'\nc: !!int '5'\nd: !own e", {"a": None, "b": False, "c": "5", "d": "e"}),
        ("<<: {a: 1, b: 2}\nb: 3", {"a": "1", "b": "3"}),
        ("b: 3\n<<: [{a: 1}, {a: 2, c: 4}]", {"a": "1", "b": "3", "c": "4"}),
        ("'<<': {a: 1}", {"<<": {"a": "1"}}),
        ("a: <<", {"a": "<<"}),
        ("x: &a [b]\ny: *a", {"x": ["b"], "y": ["b"]}),
        ('{"a": 1, "b": [1.5, true, null], "a": 2}', {"a": 2, "b": [1.5, True, None]}),
        ("{a: b}", {"a": "b"}),
        ('\t{"a": "b"}', {"a": "b"}),
        ("a: b\n---\n[", {"a": "b"}),
    ],
)
def test_decode(text: str, expected: object) -> None:
    """JSON with its types; YAML with null, true and false, and all else as text."""
    assert decode(text.encode()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: secret: b", "yaml: line 1, column 10: not YAML"),
        ("a: *secret", "yaml: line 1, column 4: not YAML"),
        ("a:\n\tsecret: b", "yaml: line 2, column 1: not YAML"),
        ("a: !secret!b c", "yaml: line 1, column 4: not YAML"),
        ("a: \x01secret", "yaml: line 1, column 4: not YAML"),
        ("a: 'secret", "yaml: line 1, column 11: not YAML"),
        ('{"a": "secret', "yaml: line 1, column 14: not YAML"),
        ("a: &a\n  b: *a", "yaml: line 1: an alias inside its own value"),
        ("[secret]: a", "yaml: line 1: a key that is not text"),
        ("a: !!binary c2VjcmV0", "yaml: line 1: !!binary is not supported"),
        ("<<: [secret]", "yaml: line 1: map merge requires map or sequence of maps as the value"),
        ("%YAML 2.0\n---\nsecret", "yaml: line 1, column 1: not YAML"),
        ("[" * 5000, "nested too deeply"),
        ('{"a":' * 100000, "nested too deeply"),
        ("a: b\n" + "- secret\n", "yaml: line 2, column 1: not YAML"),
        ('a: secret\nb: "\\UFFFFFFFF"', "yaml: line 2, column 7: not YAML"),
        ('a: secret\nb: "\\U00110000"', "yaml: line 2, column 7: not YAML"),
    ],
    ids=range(17),
)
def test_undecodable(text: str, expected: str) -> None:
    """An error names the place of a mistake and never quotes the text."""
    with pytest.raises(Undecodable) as raised:
        decode(text.encode())
    assert str(raised.value) == expected


def test_aliases_of_aliases_are_shared() -> None:
    """Ten to the power of thirty values in forty lines are forty lists."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 31)]
    value = decode("\n".join(lines).encode())
    assert isinstance(value, dict)
    assert value["a30"][0] is value["a30"][9] is value["a29"]


def test_merges_of_merges_are_limited() -> None:
    """Each merge copies all keys of the one before, which adds up: there is an end to it."""
    lines = ["a0: &a0 {k0: v}"] + [f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: v}}" for n in range(1, 600)]
    with pytest.raises(Undecodable, match="more than 100000 values"):
        decode("\n".join(lines).encode())


def test_long_number() -> None:
    """A number of a million digits is read fast and without an error."""
    assert decode(b'{"a": ' + b"9" * 1_000_000 + b"}") == {"a": float("inf")}


def test_text_beyond_ascii_in_a_new_process() -> None:
    """The first document of a process may have any letters: patterns are compiled when they are needed."""
    code = "from plugin.kube.document import decode; print(ascii(decode('a: \\u00fc\\U0001f600'.encode())))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ascii({"a": "\u00fc\U0001f600"}) + "\n"


def test_yaml_is_not_imported_for_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON needs no YAML parser, whose import costs 20 ms."""
    monkeypatch.setitem(sys.modules, "yaml.composer", None)
    assert decode(json.dumps({"a": "b"}).encode()) == {"a": "b"}
    with pytest.raises(ImportError):
        decode(b"a: b")
