"""Decode the first document of a JSON or YAML text, as kubectl does."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Plain scalars that are not text: YAML 1.1 as Go's decoder has it (PyYAML knows no y and n). Numbers and dates stay
# text: no key we read is a number, and a token of digits is a token.
_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_TAG = "tag:yaml.org,2002:"
_WORD, _MERGE, _TEXT = _TAG + "word", _TAG + "merge", _TAG + "str"
_MAX_VALUES = 100_000  # built from one document, merged keys counted: aliases make much of little


_compile = re.compile


class _Pattern:
    """A pattern of PyYAML, compiled when it is used: that takes as long as to read a usual kubeconfig."""

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments

    def search(self, text: str) -> re.Match[str] | None:
        """Compile and search."""
        return _compile(*self._arguments).search(text)


class Undecodable(ValueError):
    """The text is neither JSON nor YAML. The message says where, and never quotes: the line may hold a secret."""


def decode(data: bytes) -> object:
    """Return dicts with string keys, lists, strings, booleans and None; from JSON numbers too. None if empty.

    The last of several equal keys counts. Aliases share one object; none contains itself. Raises Undecodable.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Undecodable(f"invalid UTF-8 at byte {error.start}") from None
    try:
        if text.lstrip().startswith("{"):
            try:
                return _json(text)
            except ValueError:
                pass  # a YAML flow mapping, or JSON with a second document after it
        return _yaml(text)
    except RecursionError:
        raise Undecodable("nested too deeply") from None


def _json(text: str) -> object:
    import json

    # int() takes quadratic time, and refuses long ones on some Pythons.
    return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 20 else float(digits))


def _yaml(text: str) -> object:
    # One by one: these are the parts of PyYAML that the archive holds.
    re.compile = _Pattern  # type: ignore[assignment]
    try:
        from yaml.composer import Composer
        from yaml.error import MarkedYAMLError
        from yaml.parser import Parser
        from yaml.reader import Reader, ReaderError
        from yaml.scanner import Scanner
    finally:
        re.compile = _compile

    class Loader(Reader, Scanner, Parser, Composer):
        def __init__(self) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)
            Composer.__init__(self)

        def check_printable(self, data: str) -> None:
            if not (data.isascii() and data.replace("\n", "").isprintable()):
                super().check_printable(data)

        def descend_resolver(self, _parent: object, _index: object) -> None:
            pass

        def ascend_resolver(self) -> None:
            pass

        def resolve(self, _kind: object, value: str | None, implicit: tuple[bool, bool] | bool) -> str:
            if isinstance(implicit, tuple) and implicit[0]:
                return _MERGE if value == "<<" else _WORD if value in _WORDS else _TEXT
            return _TEXT

    try:
        loader = Loader()
        node = loader.get_node() if loader.check_node() else None
    except MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        raise _bad(mark.line, mark.column) from None
    except ReaderError as error:
        before = text[: error.position]
        raise _bad(before.count("\n"), len(before) - before.rfind("\n") - 1) from None
    except (OverflowError, ValueError):  # of int() and chr() in the scanner: "\UFFFFFFFF"
        raise _bad(loader.line, loader.column) from None
    return None if node is None else _Builder().value(node)


def _bad(line: int, column: int) -> Undecodable:
    return Undecodable(f"yaml: line {line + 1}, column {column + 1}: not YAML")


def _refused(node: Any, what: str) -> Undecodable:
    return Undecodable(f"yaml: line {node.start_mark.line + 1}: {what}")


class _Builder:
    """Build values from the composer's nodes, each one once, whatever the number of its aliases."""

    def __init__(self) -> None:
        self.built: dict[int, object] = {}
        self.open: set[int] = set()
        self.count = 0

    def value(self, node: Any) -> object:
        if id(node) in self.open:
            raise _refused(node, "an alias inside its own value")
        if id(node) not in self.built:
            self.open.add(id(node))
            self.built[id(node)] = self._new(node)
            self.open.remove(id(node))
        return self.built[id(node)]

    def _new(self, node: Any) -> object:
        self._spend(1)
        if node.id == "sequence":
            return [self.value(item) for item in node.value]
        if node.id == "mapping":
            return self._mapping(node)
        return _scalar(node)

    def _mapping(self, node: Any) -> dict[str, object]:
        """Return a mapping. Its own keys take precedence over merged ones, wherever they are."""
        merged: dict[str, object] = {}
        own: dict[str, object] = {}
        for key, value in node.value:
            if key.id != "scalar":
                raise _refused(key, "a key that is not text")
            if key.tag == _MERGE:
                self._merge(merged, value)
            else:
                own[key.value] = self.value(value)
        return {**merged, **own}

    def _merge(self, into: dict[str, object], node: Any) -> None:
        value = self.value(node)
        for each in value if isinstance(value, list) else [value]:
            if not isinstance(each, dict):
                raise _refused(node, "map merge requires map or sequence of maps as the value")
            self._spend(len(each))
            for key in each:
                into.setdefault(key, each[key])

    def _spend(self, values: int) -> None:
        self.count += values
        if self.count > _MAX_VALUES:
            raise Undecodable(f"more than {_MAX_VALUES} values")


def _scalar(node: Any) -> object:
    text: str = node.value
    if node.tag == _WORD or (node.tag in (_TAG + "null", _TAG + "bool") and text in _WORDS):
        return _WORDS[text]
    if node.tag == _TAG + "binary":
        raise _refused(node, "!!binary is not supported")
    return text
