"""Check everything that the two plugins need, and say what to do about what is wrong.

Without CONF, doctor checks every network that uses kube-node or node-annotation. It changes nothing. The exit status is
1 if a check fails; it is 0 if there are warnings only.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from plugin import deadline
from plugin.deadline import DeadlineExceeded
from plugin.errors import CniError
from plugin.ops import output
from plugin.ops.doctor import checks
from plugin.ops.doctor.context import Context, Machine
from plugin.ops.doctor.finding import ERROR, SKIP, Finding, fail, skip
from plugin.ops.leases import usage
from plugin.ops.networks import networks
from plugin.ops.networks.configurations import STDIN
from plugin.start import failure

Subject = TypeVar("Subject")

EXAMPLE = """\
node-ipam.pyz doctor
node-ipam.pyz doctor k8snet
kubectl get net-attach-def net1 -o jsonpath={.spec.config} | node-ipam.pyz doctor -"""


@dataclass(frozen=True)
class Line:
    """One line of the output; network is empty for what concerns the machine."""

    network: str
    check: str
    finding: Finding

    @property
    def name(self) -> str:
        """The stable name of what is wrong; empty if nothing is."""
        return f"{self.check}-{self.finding.kind}" if self.finding.kind else ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    networks.add_conf(parser, "every network of ours")
    usage.add_results_dir(parser)
    output.add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run all checks and print their findings."""
    machine = _machine(arguments)
    lines = _examine("", checks.MACHINE, machine)
    for network in machine.wanted:
        found = _examine(network.name or "(no name)", checks.NETWORK, Context(machine, network))
        lines += found if machine.is_root else [_unsure(line) for line in found]
    if arguments.output == "json":
        output.document(_document(lines))
    else:
        _print(lines)
    return output.FOUND if any(line.finding.status == output.FAIL for line in lines) else output.FINE


def _machine(arguments: argparse.Namespace) -> Machine:
    """Collect what the checks look at; a CONF that cannot be read is a finding like others."""
    found, troubles = networks.scan(arguments.conf_dir)
    chosen, source = found, arguments.conf_dir
    if arguments.conf:
        source = STDIN if arguments.conf == "-" else arguments.conf
        try:
            chosen, troubles = networks.chosen(arguments.conf, arguments.conf_dir)
            networks.only_ours(chosen, arguments.conf, troubles)
        except CniError as error:
            chosen, troubles = [], [error]
    environ = networks.environ(arguments)
    return Machine(
        environ=environ,
        # HOME, too, may be left out, but leads to no other credential or Node.
        ignored={
            name: os.environ[name] for name in networks.PERSONAL[:-1] if os.environ.get(name) and name not in environ
        },
        is_root=is_root(),
        wanted=[each for each in chosen if each.is_ours],
        chosen=chosen,
        others=found,
        troubles=troubles,
        evidence=usage.evidence(arguments.results_dir),
        source=source,
    )


def is_root() -> bool:
    """Return whether this is the user as whom runtimes run plugins."""
    return os.geteuid() == 0


def _examine(
    network: str,
    table: Sequence[tuple[str, Callable[[Subject], Finding | None], tuple[str, ...]]],
    subject: Subject,
) -> list[Line]:
    """Run the checks of a table in their order; one is skipped if a check that it needs did not succeed."""
    lines: list[Line] = []
    lacking: set[str] = set()
    for name, check, needs in table:
        missing = [need for need in needs if need in lacking]
        finding = skip(f"needs {missing[0]}") if missing else _attempt(check, subject)
        if finding is None:
            continue
        if finding.status in (output.FAIL, SKIP):
            lacking.add(name)
        lines.append(Line(network, name, finding))
    return lines


def _attempt(check: Callable[[Subject], Finding | None], subject: Subject) -> Finding | None:
    """Run a check and return its finding; whatever it raises is a failure."""
    deadline.start(deadline.TOTAL)
    try:
        return check(subject)
    except CniError as error:
        return fail(ERROR, error.msg, error.details)
    except DeadlineExceeded:
        remedy = "check whether the API server or a disk hangs"
        return fail("timeout", f"no result within {deadline.TOTAL:.0f} seconds", remedy)
    except OSError as error:
        return fail("unreadable", f"{error.filename or 'the operating system'}: {error.strerror}", "run this as root")
    except Exception as error:
        words = json.loads(failure.explain(error))
        return fail(ERROR, words["msg"], words["details"])
    finally:
        deadline.stop()


def _unsure(line: Line) -> Line:
    """Skip what went wrong: as another user than root, that may not be so for the plugin."""
    finding = line.finding
    return Line(line.network, line.check, skip(f"needs root: {finding.what}")) if finding.kind else line


def _print(lines: Sequence[Line]) -> None:
    rows: list[tuple[object, ...]] = []
    shown: dict[tuple[str, Finding], str] = {}  # what is wrong, and the network for which it was printed
    for line in lines:
        finding, network = line.finding, line.network or "-"
        first = shown.setdefault((line.name, finding), network) if line.name else network
        is_shown = first == network
        what = finding.what if is_shown else f"the same as for {first}"
        rows.append((finding.status, network, line.name or line.check, what))
        rows += [("", "", "", text) for text in output.advice(finding.remedy) if is_shown]
    output.table(("STATUS", "NETWORK", "CHECK", "FOUND"), rows)


def _document(lines: Sequence[Line]) -> dict[str, object]:
    words = [line.finding.status for line in lines]
    return {
        "checks": [
            {
                "network": line.network or None,
                "check": line.check,
                "finding": line.name or None,
                "status": line.finding.status,
                "what": line.finding.what,
                "remedy": line.finding.remedy or None,
            }
            for line in lines
        ],
        "summary": {word: words.count(word) for word in (output.OK, output.WARN, output.FAIL, SKIP)},
    }
