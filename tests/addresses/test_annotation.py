"""The grammar of an annotation for node-annotation."""

from __future__ import annotations

import json
import math
import os
import random
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin.addresses.annotation import MAX_BYTES, MAX_DEPTH, parse
from plugin.errors import INVALID_CONFIG, CniError
from tests.support.budget import examples

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAME = "example.com/ipvlan-ranges"

# The annotations of the documentation of ipam-node-annotation: (text, what it says)
EXAMPLES = [
    ('ranges: [[{"subnet": "172.16.5.0/24"}]]', {"ranges": [[{"subnet": "172.16.5.0/24"}]]}),
    (
        '"ranges": [\n  { "subnet": "4000::16.0.0.0/120" },\n  { "subnet": "16.0.0.0/24" }\n]',
        {"ranges": [{"subnet": "4000::16.0.0.0/120"}, {"subnet": "16.0.0.0/24"}]},
    ),
    (
        '"ranges": [\n  [{ "subnet": "4000::16.0.0.0/120" }],\n  [{ "subnet": "16.0.0.0/24" }]\n]',
        {"ranges": [[{"subnet": "4000::16.0.0.0/120"}], [{"subnet": "16.0.0.0/24"}]]},
    ),
    (
        '"ranges": [\n'
        '  [{ "subnet":"4000::16.0.0.0/120", "rangeStart":"4000::16.0.0.0" , "rangeEnd":"4000::16.0.0.7"}],\n'
        '  [{ "subnet":"16.0.0.0/24", "rangeStart":"16.0.0.0" , "rangeEnd":"16.0.0.7"}]\n'
        "]",
        {
            "ranges": [
                [{"subnet": "4000::16.0.0.0/120", "rangeStart": "4000::16.0.0.0", "rangeEnd": "4000::16.0.0.7"}],
                [{"subnet": "16.0.0.0/24", "rangeStart": "16.0.0.0", "rangeEnd": "16.0.0.7"}],
            ]
        },
    ),
]

ACCEPTED = [
    ("", {}),
    (" \t\r\n", {}),
    ("{}", {}),
    ("\n{ }\r\n", {}),
    ("a: 1", {"a": 1}),
    ("{a: 1}", {"a": 1}),
    ('"a":1,b :\t2', {"a": 1, "b": 2}),
    ("_: {_9: [], B: {}}", {"_": {"_9": [], "B": {}}}),
    ("true: true, false: false, null: null", {"true": True, "false": False, "null": None}),
    ("if: 0, env: 1, NaN: 2", {"if": 0, "env": 1, "NaN": 2}),
    ('"": "", "a b": 1, "a-b": 2', {"": "", "a b": 1, "a-b": 2}),
    ("a: -0.5e+3, b: 1E2, c: -7, d: 0", {"a": -500.0, "b": 100.0, "c": -7, "d": 0}),
    ('a: "\\u00e9\\n\\"\\/ \\ud83d\\ude00 \u00e9"', {"a": '\u00e9\n"/ \U0001f600 \u00e9'}),
    ("a: \"# // $(id) \\\\(env) {'b': c,}\"", {"a": "# // $(id) \\(env) {'b': c,}"}),
    ('dataDir: "/run/a..b/..."', {"dataDir": "/run/a..b/..."}),
    ('"resolvConf": "/etc/resolv.conf"', {"resolvConf": "/etc/resolv.conf"}),
    ('a: {type: "x", dataDir: "../y"}', {"a": {"type": "x", "dataDir": "../y"}}),
    ('a: 1, A: 2, routes: [{dst: "0.0.0.0/0"}]', {"a": 1, "A": 2, "routes": [{"dst": "0.0.0.0/0"}]}),
    (f"a: -{'9' * 308}", {"a": -int("9" * 308)}),
]

# (text, line, column, what the message says)
REFUSED = [
    # programs are not evaluated
    ("ranges: env", 1, 9, "expected a value"),
    ("x: input_filename", 1, 4, "expected a value"),
    ("$(id)", 1, 1, "expected a key"),
    ('"a" + "b"', 1, 5, "expected : after the key"),
    ('a: "a" + "b"', 1, 8, "expected , or the end"),
    ('a: "\\(env)"', 1, 5, "invalid \\escape"),
    ("a: $ENV", 1, 4, "expected a value"),
    ("a: (1)", 1, 4, "expected a value"),
    ("a: [1 | env]", 1, 7, "expected , or ]"),
    ("(1): 2", 1, 1, "expected a key"),
    ("a: `id`", 1, 4, "expected a value"),
    ('$a: "x"', 1, 1, "expected a key"),
    # commas
    ("a: 1,", 1, 6, "expected a key, but the text ends"),
    ("{a: 1,}", 1, 7, "expected a key"),
    ("a: [1,]", 1, 7, "expected a value"),
    (",", 1, 1, "expected a key"),
    ("a: [,1]", 1, 5, "expected a value"),
    ("a: 1,, b: 2", 1, 6, "expected a key"),
    ("a: 1 b: 2", 1, 6, "expected , or the end"),
    ('{"a": 1\n "b": 2}', 2, 2, "expected , or }"),
    ("a: [1 2]", 1, 7, "expected , or ]"),
    # brackets
    ("{", 1, 2, "expected a key, but the text ends"),
    ("{a: 1", 1, 6, "expected , or }, but the text ends"),
    ("a: 1}", 1, 5, "expected , or the end"),
    ("a: [1", 1, 6, "expected , or ], but the text ends"),
    ("a: [1}", 1, 6, "expected , or ]"),
    ("{a: 1}}", 1, 7, "expected nothing after the closing }"),
    ("{a: 1}, b: 2", 1, 7, "expected nothing after the closing }"),
    ("{} {}", 1, 4, "expected nothing after the closing }"),
    ("{{a: 1}}", 1, 2, "expected a key"),
    ("[1]", 1, 1, "expected a key"),
    # keys
    ("a", 1, 2, "expected : after the key, but the text ends"),
    ("a = 1", 1, 3, "expected : after the key"),
    ("a-b: 1", 1, 2, "expected : after the key"),
    ("a.b: 1", 1, 2, "expected : after the key"),
    ("1: 2", 1, 1, "expected a key"),
    ("\u00e9: 1", 1, 1, "expected a key"),
    ("a\u00e9: 1", 1, 2, "expected : after the key"),
    ("'a': 1", 1, 1, "expected a key"),
    ("a: 1, a: 2", 1, 7, "a key given twice"),
    ('{x: {"a": 1,\n "\\u0061": 2}}', 2, 2, "a key given twice"),
    ("a:", 1, 3, "expected a value (a string in double quotes, a number, true, false, null, { or [), but"),
    # comments and white space
    ("a: 1 # x", 1, 6, "expected , or the end"),
    ("a: 1 // x", 1, 6, "expected , or the end"),
    ("/* x */ a: 1", 1, 1, "expected a key"),
    ("\ufeffa: 1", 1, 1, "expected a key"),
    ("a:\u00a01", 1, 3, "expected a value"),
    ("a: 1\0", 1, 5, "expected , or the end"),
    ("\v", 1, 1, "expected a key"),
    # values
    ("a: True", 1, 4, "expected a value"),
    ("a: trueish", 1, 4, "expected a value"),
    ("a: NaN", 1, 4, "expected a value"),
    ("a: Infinity", 1, 4, "expected a value"),
    ("a: -Infinity", 1, 4, "a number too large"),
    ("a: -", 1, 4, "expected a number"),
    ("a: 01", 1, 5, "expected , or the end"),
    ("a: +1", 1, 4, "expected a value"),
    ("a: .5", 1, 4, "expected a value"),
    ("a: 1.", 1, 5, "expected , or the end"),
    ("a: 0x10", 1, 5, "expected , or the end"),
    ("a: 1e999", 1, 4, "a number too large"),
    ("a: -1e999", 1, 4, "a number too large"),
    (f"a: {'9' * 309}", 1, 4, "a number too large"),
    (f"a: {'9' * 100_000}", 1, 4, "a number too large"),
    ("a: 10.0.0.0/24", 1, 8, "expected , or the end"),
    ("a: 'x'", 1, 4, "expected a value"),
    ('a: "x', 1, 4, "unterminated string starting"),
    ('a: "x\ny"', 1, 6, "invalid control character"),
    ('a: "x\ty"', 1, 6, "invalid control character"),
    ('a: "\\x41"', 1, 5, "invalid \\escape"),
    ('a: "\\ud800"', 1, 4, "half a surrogate pair"),
    ('a: "\ud800"', 1, 4, "half a surrogate pair"),
    ('"\\udc00": 1', 1, 1, "half a surrogate pair"),
    ("\ud800", 1, 1, "expected a key"),
    # what is not for an annotation to say
    ('type: "host-local"', 1, 1, "type is not allowed here"),
    ('a: 1,\n  "type": "x"', 2, 3, "type is not allowed here"),
    ("{TYPE: 1}", 1, 2, "type is not allowed here"),
    ('dataDir: "x"', 1, 1, "dataDir is not an absolute path"),
    ('dataDir: ""', 1, 1, "dataDir is not an absolute path"),
    ('dataDir: "/run/../etc"', 1, 1, "dataDir is not an absolute path"),
    ('dataDir: "/run/.."', 1, 1, "dataDir is not an absolute path"),
    ('dataDir: "/run/\\u0000"', 1, 1, "dataDir is not an absolute path"),
    ('dataDir: ["/run"]', 1, 1, "dataDir is not an absolute path"),
    ("dataDir: null", 1, 1, "dataDir is not an absolute path"),
    ('a: 1, "resolvConf": "../etc/shadow"', 1, 7, "resolvConf is not an absolute path"),
    ('DATADIR: "/run/x"', 1, 1, "dataDir in other letters"),
    ('"datadir": "x"', 1, 1, "dataDir is not an absolute path"),
    ('"re\u017folvConf": "/etc/shadow"', 1, 1, "resolvConf in other letters"),
]


@pytest.mark.parametrize(("text", "expected"), EXAMPLES + ACCEPTED)
def test_accepted(text: str, expected: dict[str, object]) -> None:
    """What is written in the grammar means what it says, whichever the white space, quotes and braces."""
    assert json.dumps(expected) == json.dumps(parse(text, NAME))


@pytest.mark.parametrize(("text", "line", "column", "what"), REFUSED)
def test_refused(text: str, line: int, column: int, what: str) -> None:
    """Everything else is refused, with its place and what was expected there."""
    error = refusal(text)
    assert error.code == INVALID_CONFIG
    assert f"annotation {NAME}, line {line}, column {column}: {what}" in error.msg
    assert error.details


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("ranges: env", "ranges: ^env"),
        ("a: 1,\r\n  b: ?, c: 3\r\nd: 4", "  b: ^?, c: 3\\r"),
        ("a: 1\n b: 2\n", " ^b: 2"),
        ("a: \u00a0\x1b[2J\u202e\U000e0001", "a: ^\\xa0\\x1b[2J\\u202e\\U000e0001"),
        ("a: '" + "x" * 100, "a: ^'" + "x" * 27),
        ('"' + "k" * 100 + '" = 1, ' + "x" * 100, "k" * 26 + '" ^= 1, ' + "x" * 23),
        ("\0" * 100 + "a", "^" + "\\x00" * 7),
        ('a: "' + "\u200b" * 99 + '" ' + "\u200b" * 99, "0b" + "\\u200b" * 4 + '" ^' + "\\u200b" * 4 + "\\u20"),
    ],
)
def test_place_is_shown(text: str, place: str) -> None:
    """The message ends with the place on its line, at most 60 characters, nothing in it that a terminal obeys."""
    shown = refusal(text).msg.rpartition(" at the ^ in: ")[2]
    assert place == shown
    assert len(shown) <= 60


def test_levels() -> None:
    """Nesting is counted, so that no text can exhaust the stack."""
    assert len(parse("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1), NAME)) == 1
    assert len(parse("{" + "a: {" * (MAX_DEPTH - 1) + "}" * MAX_DEPTH, NAME)) == 1
    for opening in ("[", "{a:", '[{"a":'):
        error = refusal("a: " + opening * 40_000)
        assert f"more than {MAX_DEPTH} levels of brackets" in error.msg


def test_size() -> None:
    """The limit is the API server's, in bytes of UTF-8."""
    fits = 'a: "' + "\u00e9" * (MAX_BYTES // 2 - 3) + '" '
    assert parse(fits, NAME) == {"a": "\u00e9" * (MAX_BYTES // 2 - 3)}
    assert f"annotation {NAME} is larger than 256 KiB" == refusal(fits + " ").msg


def test_imports_no_more() -> None:
    """A request pays for json (and its re), and for nothing else."""
    code = (
        "import sys, json, plugin.addresses, plugin.cni; known = set(sys.modules); "
        "import plugin.addresses.annotation, plugin.addresses.ranges; "
        "print(*sorted(set(sys.modules) - known))"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "plugin.addresses.annotation plugin.addresses.ranges"


def refusal(text: str) -> CniError:
    """The error for this text."""
    with pytest.raises(CniError) as caught:
        parse(text, NAME)
    assert caught.value.msg.isprintable()
    return caught.value


SPACE = st.text(" \t\r\n", max_size=3)
NUMBERS = st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True) | st.text()
VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
RESERVED = ("type", "datadir", "resolvconf")
OBJECTS = st.dictionaries(NAMES.filter(lambda name: name.casefold() not in RESERVED), VALUES, max_size=5)


def printed(draw: Any, value: object, braces: bool = True) -> str:
    """The value as a person or a program might write it."""
    if isinstance(value, dict):
        members = [
            draw(SPACE) + key_printed(draw, key) + draw(SPACE) + ":" + printed(draw, member)
            for key, member in value.items()
        ]
        inside = ",".join(members) + draw(SPACE)
        return str(draw(SPACE) + "{" + inside + "}" + draw(SPACE) if braces else inside)
    if isinstance(value, list):
        text = "[" + ",".join(printed(draw, item) for item in value) + draw(SPACE) + "]"
    else:
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return str(draw(SPACE) + text + draw(SPACE))


def key_printed(draw: Any, key: str) -> str:
    """The key, without quotes where that is allowed and chance wants it."""
    if re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", key) and draw(st.booleans()):
        return key
    return json.dumps(key, ensure_ascii=draw(st.booleans()))


@examples(120)
@given(st.data(), OBJECTS, st.booleans())
def test_any_object(data: st.DataObject, expected: dict[str, object], braces: bool) -> None:
    """Any JSON object is read as it was meant, in whichever of the allowed ways it is written."""
    assert json.dumps(expected) == json.dumps(parse(printed(data.draw, expected, braces), NAME))


def reference(text: str) -> dict[str, object]:
    """What a text means, by another way: make it strict JSON and let json read that. Raises ValueError."""
    quoted = ""
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[A-Za-z_][A-Za-z0-9_]*|.', text, re.DOTALL):
        if token.group() == '"':
            raise ValueError("unterminated string")
        key = re.match("[A-Za-z_]", token.group()) and re.match(r"[ \t\r\n]*:", text[token.end() :])
        quoted += f'"{token.group()}"' if key else token.group()
    quoted = quoted.strip(" \t\r\n")
    strict = quoted if quoted.startswith("{") else "{" + quoted + "}"
    found = json.loads(strict, object_pairs_hook=unique, parse_constant=constant, parse_int=whole)
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode("utf-8")
    for key, value in found.items():
        if key.casefold() == "type":
            raise ValueError("type")
        if key.casefold() in RESERVED and not (key in ("dataDir", "resolvConf") and is_safe_path(value)):
            raise ValueError(key)
    return dict(found)


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object of these members, each of which has a key of its own."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def constant(name: str) -> object:
    """NaN and the like are no JSON."""
    raise ValueError(name)


def whole(digits: str) -> int:
    """A whole number that a double can hold."""
    if math.isinf(float(digits)):
        raise ValueError("too large")
    return int(digits)


def is_safe_path(value: object) -> bool:
    """Whether the value is an absolute path with no way up."""
    return isinstance(value, str) and re.fullmatch(r"(/(?!\.\.(/|$))[^/]*)+", value) is not None and value.isprintable()


SEEDS: list[str] = [str(case[0]) for case in [*EXAMPLES * 2, *ACCEPTED * 2, *REFUSED]]
PIECES = list("{}[]:,\"\\' \n\t-+.0159eEaunx_$#/()\0\u00e9\u00a0\ud800")
PIECES += ["true", "null", "NaN", "-Infinity", "1e999", '""', "\\u00", "\\ud83d", "a:", '"ranges":', '{"a":']
PIECES += ["type", "dataDir", '"/', "..", "//", "[[", "]]"]


def mutated(chance: random.Random) -> str:
    """One of the texts of this file, or two of them joined, damaged in one to four places."""
    text = chance.choice(SEEDS)[:2000]
    if chance.random() < 0.3:
        text += chance.choice([",", "\n", ""]) + chance.choice(SEEDS)[:2000]
    for _ in range(chance.randint(1, 4)):
        start = chance.randint(0, len(text))
        end = min(len(text), start + chance.choice([0, 0, 0, 1, 1, 2, 8]))
        text = text[:start] + chance.choice([chance.choice(PIECES), text[start:end] * 2, ""]) + text[end:]
    return text


def test_mutated_texts() -> None:
    """Of 10,000 damaged texts each means what a strict reader takes it for, or is refused as by that reader."""
    chance = random.Random(20261123)
    accepted = 0
    for _ in range(10_000):
        text = mutated(chance)
        try:
            expected: object = json.dumps(reference(text))
        except ValueError:
            expected = CniError
        try:
            actual: object = json.dumps(parse(text, NAME))
            accepted += 1
        except CniError as error:
            assert error.msg.isprintable(), repr(text)
            actual = CniError
        assert expected == actual, repr(text)
    assert 1000 < accepted < 9000
