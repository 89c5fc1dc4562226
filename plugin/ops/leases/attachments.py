"""The evidence on leases that an operator's command uses: the usual witnesses, and directories that were named."""

from __future__ import annotations

from plugin.evidence import results
from plugin.evidence.results import Results
from plugin.evidence.verdict import Evidence

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def add_results_dir(parser: argparse.ArgumentParser) -> None:
    """Give a command --results-dir."""
    parser.add_argument(
        "--results-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="where libcni keeps the results of attachments; may be given more than once. "
        f"Those in {' and '.join(results.DIRECTORIES)} count in any case",
    )


def read(named: Sequence[str]) -> Evidence:
    """All evidence; each of the named directories must hold results."""
    return Evidence(Results([*dict.fromkeys((*named, *results.DIRECTORIES))], named))
