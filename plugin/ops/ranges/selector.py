"""Label selectors, as kubectl's --selector reads them.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from __future__ import annotations

import re

from plugin.ops import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Test = Callable[[Mapping[str, str]], bool]

_KEY = r"(?P<key>(?:[A-Za-z0-9.-]+/)?[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)"
_VALUE = r"[\w.-]*"
_FORMS = (
    re.compile(rf"{_KEY}\s*(?P<operator>==|=|!=)\s*(?P<value>{_VALUE})"),
    re.compile(rf"{_KEY}\s+(?P<operator>in|notin)\s*\((?P<values>[\w.,\s-]*)\)"),
    re.compile(rf"(?P<operator>!?)\s*{_KEY}"),
)
_COMMA = re.compile(r",(?![^(]*\))")  # not inside parentheses


def parse(text: str) -> Test:
    """Return a function that says whether an object with these labels is selected. Raises UsageError."""
    tests = [_test(part.strip(), text) for part in _COMMA.split(text)] if text.strip() else []
    return lambda labels: all(test(labels) for test in tests)


def _test(part: str, whole: str) -> Test:
    match = next(filter(None, (form.fullmatch(part) for form in _FORMS)), None)
    if match is None:
        advice = "write KEY=VALUE, KEY!=VALUE, KEY, !KEY, 'KEY in (A,B)' or 'KEY notin (A,B)', and a comma between two"
        raise output.UsageError(f"--selector {whole!r}: {part!r} is not a label selector", advice)
    found = match.groupdict()
    key, operator = found["key"], found["operator"]
    if "values" in found:
        listed = {value.strip() for value in found["values"].split(",")}
        return lambda labels: (key in labels and labels[key] in listed) == (operator == "in")
    if "value" in found:
        value = found["value"]
        return lambda labels: (labels.get(key) == value) == (operator != "!=")
    return lambda labels: (key in labels) == (operator == "")
