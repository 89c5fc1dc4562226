"""Write YAML for people: block style, keys in their order, scripts as literal blocks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping

# Text that every YAML reader takes for text; the words are those of YAML 1.1, https://yaml.org/type/bool.html.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_WORDS = frozenset(("true", "false", "yes", "no", "on", "off", "y", "n", "null"))


def dump(objects: Iterable[Mapping[str, object]]) -> str:
    """Return YAML documents for objects of objects, lists, text, numbers, true, false and null."""
    return "\n".join("---\n" + "\n".join(_lines(each)) for each in objects)


def _lines(value: object) -> Iterator[str]:
    """Yield the lines of a value; the first can stand behind a dash, the others are then indented."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            first, *rest = _lines(item)
            if isinstance(item, (Mapping, list)) and item:
                yield f"{_scalar(key)}:"
                yield f"  {first}"
            else:
                yield f"{_scalar(key)}: {first}"
            yield from _indented(rest)
    elif isinstance(value, list) and value:
        for item in value:
            first, *rest = _lines(item)
            yield f"- {first}"
            yield from _indented(rest)
    elif isinstance(value, str) and _is_block(value):
        yield from ("|", *value[:-1].split("\n"))
    else:
        yield _scalar(value)


def _indented(lines: Iterable[str]) -> Iterator[str]:
    yield from (f"  {line}" if line else "" for line in lines)


def _is_block(text: str) -> bool:
    """Return whether the text can be a literal block, https://yaml.org/spec/1.2.2/#literal-style."""
    lines = text.split("\n")
    return (
        len(lines) > 2
        and lines[-1] == ""
        and lines[-2] != ""
        and lines[0][:1] not in ("", " ")
        and all(line.isascii() and (line.isprintable() or not line) for line in lines)
    )


def _scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)  # JSON is YAML
