"""Redact the secrets that were sent: servers, proxies and credential plugins may repeat them in messages."""

from __future__ import annotations

import base64
import re

_PART = 8  # characters: as many of a secret must not be shown together
_SHORTEST = 4  # characters; a shorter secret is in any text by chance
_MARK = "[redacted]"
# Every part of a form of a secret has one of its probes in it, wherever it begins.
_PROBE = 4
_STEP = _PART - _PROBE + 1
# One character as URLs, HTML, JSON and Go's %q write it.
_ESCAPE = re.compile(
    r"(?:%|\\x)([0-9A-Fa-f]{2})|&#[xX]([0-9A-Fa-f]{1,5});|\\u([0-9A-Fa-f]{4})|&#([0-9]{1,6});"
    r"|&(amp|lt|gt|quot|apos);|\\(.)"
)
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_LEVELS = 3  # of escapes within escapes

_forms: set[str] = set()
_probes: dict[str, list[tuple[str, int]]] = {}  # a probe -> the forms that have it, and where


def register(secret: str, *, is_base64: bool = False) -> None:
    """Remember a secret for redact(), as it is and, unless it is so already, in base64."""
    as_bytes = secret.encode(errors="replace").decode("latin-1")  # as HTTP headers and URLs have it
    for text in {secret, "".join(secret.split()), as_bytes}:
        for form in (text, *(() if is_base64 else _in_base64(text.encode(errors="replace")))):
            if len(form) >= _SHORTEST and form not in _forms:
                _forms.add(form)
                for at in range(0, len(form) - _PROBE + 1, _STEP):
                    _probes.setdefault(form[at : at + _PROBE], []).append((form, at))


def redact(text: str, least: int = 0) -> str:
    """Return the text with every secret replaced, and every part of eight or more characters of one.

    least: replace only what has so many characters; for text that must not change by chance.
    """
    hidden = _hidden(text, least)
    plain, starts = text, list(range(len(text) + 1))  # of each character in plain, where it starts in text
    for _ in range(_LEVELS):
        length = len(plain)
        plain, starts = _unescaped(plain, starts)
        if len(plain) == length:
            break
        for at, is_hidden in enumerate(_hidden(plain, least)):
            if is_hidden:
                hidden[starts[at] : starts[at + 1]] = b"\1" * (starts[at + 1] - starts[at])
    shown = []
    for at, character in enumerate(text):
        if not hidden[at]:
            shown.append(character)
        elif at == 0 or not hidden[at - 1]:
            shown.append(_MARK)
    return "".join(shown)


def _hidden(text: str, least: int) -> bytearray:
    """Return 1 for each character of the text that belongs to a secret, else 0."""
    hidden = bytearray(len(text))
    for at in range(len(text) - _PROBE + 1):
        for form, place in _probes.get(text[at : at + _PROBE], ()):
            if not all(hidden[at : at + _PROBE]):
                start, end = _common(text, at, form, place)
                if end - start >= (least or min(_PART, len(form))):
                    hidden[start:end] = b"\1" * (end - start)
    return hidden


def _unescaped(text: str, starts: list[int]) -> tuple[str, list[int]]:
    """Return the text without one level of escapes, and the starts of its characters."""
    characters, places, last = [], [], 0
    for match in _ESCAPE.finditer(text):
        characters += [text[last : match.start()], _character(match)]
        places += starts[last : match.start()] + [starts[match.start()]]
        last = match.end()
    return "".join([*characters, text[last:]]), places + starts[last:]


def _character(escape: re.Match[str]) -> str:
    byte, entity, code, decimal, name, quoted = escape.groups()
    if name or quoted:
        return _NAMED[name] if name else quoted
    return chr(int(decimal) if decimal else int(byte or entity or code, 16))


def _common(text: str, at: int, form: str, place: int) -> tuple[int, int]:
    """Return where the part of the text begins and ends that the form has, too; both have the same probe here."""
    before, after = 0, _PROBE
    while before < min(at, place) and text[at - before - 1] == form[place - before - 1]:
        before += 1
    while after < min(len(text) - at, len(form) - place) and text[at + after] == form[place + after]:
        after += 1
    return at - before, at + after


def _in_base64(data: bytes) -> list[str]:
    """Return what a base64 text has in it if these bytes are a part of what it stands for, wherever they begin."""
    found = []
    for before, foreign in enumerate((0, 2, 3)):  # the characters that also depend on the bytes before
        text = base64.b64encode(bytes(before) + data).decode()
        end = len(text.rstrip("="))
        text = text[foreign : end if end == len(text) else end - 1]  # the last one depends on the bytes after
        found += [text, text.replace("+", "-").replace("/", "_")]
    return found
