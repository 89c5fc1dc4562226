"""Write YAML for people: block style, keys in their order, scripts as literal blocks."""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Text that every YAML reader takes for text; the words are those of YAML 1.1, https://yaml.org/type/bool.html.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_WORDS = frozenset(("true", "false", "yes", "no", "on", "off", "y", "n", "null"))


def dump(values: Iterable[object]) -> str:
    """Return YAML documents for objects, lists, text, numbers, true, false and null, without the last newline."""
    return "\n".join("---\n" + "\n".join(_lines(value)) for value in values)


def _lines(value: object) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _after(f"{_scalar(key)}:", item)
    elif isinstance(value, list) and value:
        for item in value:
            if isinstance(item, dict) and item:
                first, *rest = _lines(item)
                yield f"- {first}"
                yield from _indented(rest)
            else:
                yield from _after("-", item)
    else:
        yield _scalar(value)


def _after(lead: str, item: object) -> Iterator[str]:
    """Yield what follows a key or a dash."""
    if isinstance(item, (dict, list)) and item:
        yield lead
        yield from _indented(_lines(item))
    elif isinstance(item, str) and _is_block(item):
        yield f"{lead} |"
        yield from _indented(item[:-1].split("\n"))
    else:
        yield f"{lead} {_scalar(item)}"


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
