"""kubeconfigs: the text as PyYAML reads it under Go's rules for words, and any JSON in place of any key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from plugin.errors import CniError
from plugin.kube import document, files, kubeconfig, schema
from tests.fuzz.anything import JSON, damaged, mangled, places
from tests.support.budget import examples

SAMPLES = sorted((Path(__file__).parent.parent / "support" / "kubeconfigs").glob("*.yaml"))
# What kubectl takes for a bool and PyYAML for text.
TEXT = "tag:yaml.org,2002:str"
MORE_BOOLS = {"y": True, "Y": True, "n": False, "N": False}
PIECES = [
    b"\n",
    b"  ",
    b"- ",
    b": ",
    b"? ",
    b", ",
    b"#",
    b"'",
    b'"',
    b"|\n",
    b">-\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b"@",
    b"`",
]
PIECES += [b"&a ", b"*a", b"<<: ", b"!!str ", b"!!binary ", b"---\n", b"...\n", b"%YAML 1.1\n", b"\t", b"\r\n"]
PIECES += [b"\xef\xbb\xbf", b"\xff", b"\x00", b"\xc2\x85", b"yes", b"~", b"null", b"0x10", b"1e3", b"\\x41"]
PIECES += [b'"\\U0010ffff"', b'"\\U00110000"', b'"\\uD800"', b"%TAG !e! x\n", b"!<a> "]
WORDS = st.sampled_from(
    ["yes", "No", "y", "on", "null", "~", "0x10", "1e3", "12:30", "<<", "=", "#", "-", "?", ":", "a:b"]
    + ["", "a: b", "- x", " "]
)
TEXTS = WORDS | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
VALUES: st.SearchStrategy[Any] = st.recursive(
    TEXTS | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS.filter("<<".__ne__), inner, max_size=3),
    max_leaves=12,
)
STYLES = st.fixed_dictionaries(
    {
        "default_style": st.sampled_from([None, '"', "'", "|", ">"]),
        "default_flow_style": st.sampled_from([None, False, True]),
        "indent": st.sampled_from([2, 4, 8]),
        "width": st.sampled_from([10, 80]),
        "allow_unicode": st.booleans(),
        "explicit_start": st.booleans(),
        "line_break": st.sampled_from(["\n", "\r\n"]),
    }
)


class Words(yaml.SafeLoader):
    """PyYAML's own loader, with numbers, dates and what has an unknown tag as text, and all of Go's words for bools."""

    def plain(self, node: yaml.Node) -> Any:
        """A value by its kind alone."""
        if isinstance(node, yaml.MappingNode):
            return self.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return self.construct_sequence(node, deep=True)
        assert isinstance(node, yaml.ScalarNode)
        return MORE_BOOLS.get(node.value, node.value) if node.style is None and node.tag == TEXT else node.value


for kind in ("int", "float", "timestamp", "value", "str", "seq", "map", "set", "omap", "pairs"):
    Words.add_constructor(f"tag:yaml.org,2002:{kind}", Words.plain)
Words.add_constructor(None, Words.plain)


def by_pyyaml(text: bytes) -> Any:
    """The first document. Raises YAMLError, RecursionError, ValueError or OverflowError for what is none."""
    return next(yaml.load_all(text.decode("utf-8-sig"), Words), None)


def keys_are_text(value: Any) -> bool:
    """Whether every key is a text that means only itself."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and keys_are_text(each) for key, each in value.items())
    return all(map(keys_are_text, value)) if isinstance(value, list) else True


@examples(200)
@given(VALUES, STYLES)
def test_written_by_pyyaml(value: Any, style: dict[str, Any]) -> None:
    """What PyYAML writes, in whatever style, is read as it was meant."""
    text = yaml.safe_dump(value, encoding="utf-8", **style)
    expected = by_pyyaml(text)
    assume(keys_are_text(expected))

    assert document.decode(text) == expected


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: str(path.name))
@examples(25)
@given(st.data())
def test_mangled(sample: Path, data: st.DataObject) -> None:
    """A damaged file means to us what it means to PyYAML, or is refused by both."""
    text = data.draw(mangled(sample.read_bytes(), PIECES))
    try:
        expected = by_pyyaml(text)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError):  # TypeError: a list as a key
        expected = yaml.YAMLError
    assume(keys_are_text(expected))
    try:
        found = document.decode(text)
    except document.Undecodable as error:
        assert str(error).isprintable()
        found = yaml.YAMLError

    assert found == expected


WHOLE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "c",
    "preferences": {},
    "contexts": [{"name": "c", "context": {"cluster": "l", "user": "u", "namespace": "default"}}],
    "clusters": [
        {
            "name": "l",
            "cluster": {
                "server": "https://192.0.2.1:6443",
                "insecure-skip-tls-verify": True,
                "tls-server-name": "kubernetes",
                "proxy-url": "http://192.0.2.2:3128",
                "disable-compression": True,
            },
        }
    ],
    "users": [{"name": "u", "user": {"token": "SECRET", "as": "x", "as-groups": ["g"], "as-user-extra": {"k": ["v"]}}}],
}
EXEC: dict[str, Any] = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "command": "helper",
    "args": ["SECRET"],
    "env": [{"name": "A", "value": "SECRET"}],
    "interactiveMode": "Never",
    "installHint": "hint",
    "provideClusterInfo": False,
}
WITH_EXEC = {**WHOLE, "users": [{"name": "u", "user": {"exec": EXEC}}]}


@examples(150)
@given(damaged(WHOLE) | damaged(WITH_EXEC))
def test_any_json(inside_file: Path, config: Any) -> None:
    """Any JSON in any place gives a server to go to or an error of ours, which repeats no secret."""
    inside_file.write_text(json.dumps(config), encoding="utf-8")
    try:
        found = kubeconfig.find(str(inside_file), {})
    except CniError as error:
        assert error.code in (5, 6, 7)
        assert "SECRET" not in f"{error.msg} {error.details}"
    else:
        assert found.server.startswith(("https://", "http://"))


@pytest.mark.parametrize("config", [WHOLE, WITH_EXEC], ids=["token", "exec"])
@examples(100)
@given(st.data())
def test_types_are_kept_to(config: Any, data: st.DataObject) -> None:
    """A value of another kind is refused in every key that client-go reads, and passed over in the others."""
    *way, last = data.draw(st.sampled_from(places(config)))
    changed = json.loads(json.dumps(config))
    parent = changed
    for key in way:
        parent = parent[key]
    value = parent[last]
    parent[last] = data.draw(JSON.filter(lambda other: other is not None and type(other) is not type(value)))
    unread = {"preferences", "namespace"} & {*way, last}
    try:
        schema.Entries(changed, "/")
        refused = False
    except schema.Invalid:
        refused = True

    assert refused != bool(unread)


@pytest.fixture
def inside_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubeconfig; half-written ones are not waited for."""
    monkeypatch.setattr(files, "PATIENCE", 0.0)
    return tmp_path / "config"
