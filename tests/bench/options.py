"""The command line of the bench; build.py shows it as well, so it imports the standard library only."""

from __future__ import annotations

import argparse

from plugin.ops.install.archive import INTERPRETER

ROUNDS = 80
_NODES = 5000


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of the bench to a parser."""
    more = parser.add_argument
    more(
        "--rounds",
        type=_count,
        default=ROUNDS,
        metavar="N",
        help=f"samples of each row (default {ROUNDS}; a few prove nothing)",
    )
    more("--vs", default="", metavar="COMMAND", help="another plugin, called as ours is: one more line in each row")
    more("-o", "--output", choices=("text", "json"), default="text", help="a table (default), or JSON")
    more("--python", default=INTERPRETER, metavar="PATH", help=f"the interpreter (default {INTERPRETER})")
    more("--nodes", type=_count, default=_NODES, metavar="N", help=f"size of the large cluster (default {_NODES})")


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("it must be a number, at least 1")
    return int(text)
