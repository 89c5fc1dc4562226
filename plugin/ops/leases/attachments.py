"""The evidence on leases for an operator's command: the usual directories and those that --results-dir names."""

from __future__ import annotations

import os

from plugin.leases.evidence import results, verdict
from plugin.leases.evidence.results import Results

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from plugin.leases.evidence.verdict import Evidence


def add_results_dir(parser: argparse.ArgumentParser) -> None:
    """Give a command --results-dir."""
    parser.add_argument(
        "--results-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="a directory in which libcni keeps results; may be repeated "
        f"(in addition to {' and '.join(results.DIRECTORIES)})",
    )


def read(named: Sequence[str]) -> Evidence:
    """Return all evidence. Each of the named directories must hold results."""
    return verdict.gather(os.environ, Results([*dict.fromkeys((*named, *results.DIRECTORIES))], named))
