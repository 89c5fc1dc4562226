"""README as tests read it: its code blocks, sections, tables and sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PATH = Path(__file__).parent.parent.parent / "README.md"
TEXT = PATH.read_text(encoding="utf-8")

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_REST = "…"  # a line of it stands for any lines
# What differs from run to run and from machine to machine, and how it is written before a comparison.
VARIABLE = (
    (r"Python 3\.\d+\.\d+", "Python 3"),
    (r"https://127\.0\.0\.1:\d+", "https://SERVER"),
    (r"/node-[0-9a-f]+…?", "/node-ID"),
    (r"\b[0-9a-f]{24,64}…?", "CONTAINER"),
    (r"\b\d+s old", "AGE old"),
    (r" {2,}", "  "),  # the width of a column
    (r" +$", ""),
)


class Block(NamedTuple):
    """A code block: its language, its text, and the text between it and the block before."""

    language: str
    text: str
    before: str


class Shown(NamedTuple):
    """A command and the output that README shows for it."""

    prompt: str
    command: str
    output: str


def blocks(text: str = TEXT) -> Iterator[Block]:
    """Yield the code blocks."""
    end = 0
    for found in _BLOCK.finditer(text):
        yield Block(found[1], found[2], text[end : found.start()])
        end = found.end()


def files() -> dict[str, str]:
    """Return the complete files: path -> content. The path stands in backquotes in the paragraph before the block."""
    found = {}
    for block in blocks():
        paragraph = block.before.strip().split("\n\n")[-1]
        path = re.match(r"`(/etc/\S+)`", paragraph)
        if path:
            found[path[1]] = block.text
    return found


def shown() -> list[Shown]:
    """Return the commands, each with the output below it; a command ends where no backslash ends its line."""
    found = []
    for block in blocks():
        if block.language or not re.match(r"[#$] \S", block.text) or re.match(r"# /etc/", block.text):
            continue
        for part in re.split(r"^(?=[#$] )", block.text, flags=re.MULTILINE)[1:]:
            command = re.match(r"(?:.*\\\n)*.*\n", part)
            assert command
            output = part[command.end() :]
            found.append(Shown(part[0], re.sub(r"\\\n\s*", "", command[0][2:]).strip(), output))
    return found


def output(command: str) -> str:
    """Return the output that README shows for a command. Raises ValueError."""
    (found,) = [each.output for each in shown() if each.command == command]
    return found


def commands() -> list[str]:
    """Return the lines of all blocks without prompt and output."""
    plain = [block.text for block in blocks() if not block.language and not re.match(r"[#$] ", block.text)]
    return [line for text in plain for line in re.sub(r"(?:\\|(?<='))\n\s*", "", text).splitlines()]


def masked(text: str) -> list[str]:
    """Return the lines, the variable parts replaced."""
    for pattern, name in VARIABLE:
        text = re.sub(pattern, name, text, flags=re.MULTILINE)
    return text.strip("\n").split("\n")


def is_output(wanted: str, printed: str) -> bool:
    """Return whether this was printed, but for variable parts and the lines that README leaves out."""
    lines = [r"(?:.*\n)*?" if line == _REST else f"{re.escape(line)}\n" for line in masked(wanted)]
    return bool(re.fullmatch("".join(lines), "\n".join([*masked(printed), ""])))


def section(title: str) -> str:
    """Return the text of a section up to the next heading, without code blocks. Raises ValueError."""
    text = _BLOCK.sub("", TEXT)
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError(f"README has no section {title}")
    return found[1]


def table(text: str) -> list[list[str]]:
    """Return the cells of the rows of a table, without head."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip("|"))] for row in rows[2:]]


def sentences() -> list[str]:
    """Return the sentences outside of code blocks, tables and headings. An item of a list begins one."""
    text = re.sub(r"^(\||#).*$", "", _BLOCK.sub("", TEXT), flags=re.MULTILINE)
    parts = re.split(r"\n\n|\n(?=\* |\d\. )", text)
    return [each for part in parts for each in re.split(r"(?<=[.!?])\s+", " ".join(part.split())) if each]


def anchors() -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", _BLOCK.sub("", TEXT), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links() -> list[str]:
    """Return the targets of all links."""
    return re.findall(r"\]\(([^)\s]+)\)", _BLOCK.sub("", TEXT))
