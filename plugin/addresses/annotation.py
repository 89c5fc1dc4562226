"""Parse an annotation of node-annotation: a JSON object, in which outer braces and quotes round keys are optional."""

from __future__ import annotations

import json
import re

from plugin.cni import finite, refuse_constant
from plugin.errors import INVALID_CONFIG, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# For all annotations of an object together: TotalAnnotationSizeLimitB in k8s.io/apimachinery/pkg/api/validation.
MAX_BYTES = 256 * 1024
MAX_DEPTH = 100  # objects and lists in one another; host-local's own configuration has 4

_SPACE = re.compile(r"[ \t\n\r]*")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # the keys jq takes without quotes
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LITERALS = {"true": True, "false": False, "null": None}
# Folded, because host-local (like all of Go's encoding/json) takes a key in upper, lower or mixed case.
_PATHS = {"datadir": "dataDir", "resolvconf": "resolvConf"}
_EXCERPT = 28  # characters shown on either side of the place of an error

_GRAMMAR = (
    "allowed is a JSON object, with or without its outer braces; a key of letters, digits and _ needs no quotes, "
    "other keys and all strings are in double quotes; no trailing commas, comments or expressions"
)


def parse(text: str, name: str) -> dict[str, object]:
    """Return the content of the annotation of this name. It is read as data: nothing in it is evaluated.

    Raises CniError(INVALID_CONFIG) with line, column (both from 1, in characters) and what was expected there; also
    for `type`, and for a dataDir or resolvConf other than an absolute path, as these would redirect a program that
    runs as root.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise CniError(
            INVALID_CONFIG,
            f"annotation {name} is larger than {MAX_BYTES // 1024} KiB",
            "the API server takes no more than that for all annotations of a node: shorten it",
        )
    return _Reader(text, name).document()


class _Reader:
    """Reads a text from start to end; an error names the place."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self.at = 0
        self.decode = json.JSONDecoder(parse_int=_whole, parse_float=finite, parse_constant=refuse_constant).raw_decode

    def document(self) -> dict[str, object]:
        members = self.members("}" if self.took("{") else "", 1)
        if self.next():
            self.fail("expected nothing after the closing }")
        return members

    def members(self, close: str, depth: int) -> dict[str, object]:
        """Return the members up to the closing brace, or to the end of the text."""
        members: dict[str, object] = {}
        if self.took(close):
            return members
        while True:
            self.next()
            start = self.at
            key = self.key()
            if key in members:
                self.fail("a key given twice", at=start)
            if not self.took(":"):
                self.fail("expected : after the key")
            members[key] = self.value(depth)
            if depth == 1 and (wrong := _reserved(key, members[key])):
                self.fail(*wrong, start)
            if self.ended(close):
                return members

    def items(self, depth: int) -> list[object]:
        items: list[object] = []
        if self.took("]"):
            return items
        while True:
            items.append(self.value(depth))
            if self.ended("]"):
                return items

    def value(self, depth: int) -> object:
        char = self.next()
        if char in ("{", "["):
            if depth == MAX_DEPTH:
                self.fail(f"more than {MAX_DEPTH} levels of brackets")
            self.at += 1
            return self.members("}", depth + 1) if char == "{" else self.items(depth + 1)
        if char and char in '"-0123456789':
            return self.scalar()
        word = _WORD.match(self.text, self.at)
        if word is None or word.group() not in _LITERALS:
            self.fail("expected a value (a string in double quotes, a number, true, false, null, { or [)")
        self.at = word.end()
        return _LITERALS[word.group()]

    def key(self) -> str:
        if self.next() == '"':
            return str(self.scalar())
        word = _WORD.match(self.text, self.at)
        if word is None:
            self.fail("expected a key")
        self.at = word.end()
        return word.group()

    def scalar(self) -> object:
        """Return a string or a number, read by the json module."""
        start = self.at
        try:
            value, self.at = self.decode(self.text, start)
        except json.JSONDecodeError as error:
            what = error.msg.rstrip(": ").removesuffix(" at").lower()
            self.fail(what if self.text[start] == '"' else "expected a number", at=error.pos)
        except ValueError:
            self.fail("a number too large")
        if isinstance(value, str) and _SURROGATE.search(value):
            self.fail("half a surrogate pair in the string", at=start)
        return value

    def ended(self, close: str) -> bool:
        """Step over the comma to the next element (False), or over the end (True)."""
        if self.took(","):
            return False
        if not self.took(close):
            self.fail(f"expected , or {close or 'the end'}")
        return True

    def took(self, char: str) -> bool:
        """Step over this character if it is the next; "" is the end of the text."""
        if self.next() != char:
            return False
        self.at += len(char)
        return True

    def next(self) -> str:
        """Return the next character that is not white space; "" at the end of the text."""
        space = _SPACE.match(self.text, self.at)
        self.at = space.end() if space else self.at
        return self.text[self.at : self.at + 1]

    def fail(self, what: str, details: str = _GRAMMAR, at: int | None = None) -> NoReturn:
        """Raise CniError for this place, by default the current one, with an excerpt."""
        at = self.at if at is None else at
        ends = ", but the text ends" if at >= len(self.text) else ""
        start = self.text.rfind("\n", 0, at) + 1
        end = self.text.find("\n", at)
        before = _visible(self.text[max(start, at - _EXCERPT) : at])[-_EXCERPT:]
        after = _visible(self.text[at : end if end >= 0 else None][:_EXCERPT])[:_EXCERPT]
        place = f"line {self.text.count(chr(10), 0, at) + 1}, column {at - start + 1}"
        raise CniError(
            INVALID_CONFIG, f"annotation {self.name}, {place}: {what}{ends} at the ^ in: {before}^{after}", details
        )


def _reserved(key: str, value: object) -> tuple[str, str] | None:
    """Return what is wrong with a top-level member, and what to do; an annotation cannot choose type and files."""
    folded = key.casefold()
    if folded == "type":
        return "type is not allowed here", "leave it out: the next plugin is named by nextipam in node-annotation.conf"
    if folded not in _PATHS:
        return None
    name = _PATHS[folded]
    advice = f"write {name}: an absolute path without .. in it, such as /run/container-ipam-state/net1"
    if not isinstance(value, str) or value[:1] != "/" or ".." in value.split("/") or not value.isprintable():
        return f"{name} is not an absolute path", advice
    return None if key == name else (f"{name} in other letters", advice)


def _visible(text: str) -> str:
    """Return the text with control characters, unusual blanks and lone surrogates as escapes."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _whole(digits: str) -> int:
    finite(digits)  # as far as other programs' numbers reach
    return int(digits)
