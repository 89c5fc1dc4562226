"""Check everything that a pod needs to get its address, and say what to do about what is wrong.

Without CONF, all networks are looked at that use kube-node or node-annotation. The exit status is 1 if a check fails;
a warning alone leaves it 0.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from plugin import deadline
from plugin.deadline import DeadlineExceeded
from plugin.errors import CniError
from plugin.ops import output
from plugin.ops.doctor import checks
from plugin.ops.doctor.context import Context, Machine
from plugin.ops.doctor.finding import SKIP, Finding, fail, skip
from plugin.ops.leases import attachments
from plugin.ops.networks import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    Subject = TypeVar("Subject")

EXAMPLE = """\
node-ipam.pyz doctor
node-ipam.pyz doctor k8snet
kubectl get net-attach-def net1 -o jsonpath={.spec.config} | node-ipam.pyz doctor -"""


@dataclass(frozen=True)
class Line:
    """One line of the answer; network is empty for what concerns the machine."""

    network: str
    check: str
    finding: Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What this command takes."""
    networks.add_conf(parser, "every network of ours")
    attachments.add_results_dir(parser)
    output.add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do all checks and print what they have found."""
    machine = _machine(arguments)
    lines = _examine("", checks.MACHINE, machine)
    for network in machine.wanted:
        lines += _examine(network.name or "(no name)", checks.NETWORK, Context(machine, network))
    if arguments.output == "json":
        output.document(_document(lines))
    else:
        _print(lines)
    return output.worst([line.finding.status for line in lines])


def _machine(arguments: argparse.Namespace) -> Machine:
    """What there is to look at; a CONF that cannot be read is a finding like others."""
    found, troubles = networks.scan(arguments.conf_dir)
    wanted, source = [each for each in found if each.is_ours], arguments.conf_dir
    if arguments.conf:
        source = networks.STDIN if arguments.conf == "-" else arguments.conf
        try:
            wanted, troubles = networks.ours(arguments.conf, arguments.conf_dir), []
        except CniError as error:
            wanted, troubles = [], [error]
    attached = attachments.read(arguments.results_dir)
    return Machine(arguments.bin_dir, os.environ, wanted, found, troubles, attached, source)


def _examine(
    network: str,
    table: Sequence[tuple[str, Callable[[Subject], Finding | None], tuple[str, ...]]],
    subject: Subject,
) -> list[Line]:
    """Do the checks of a table in their order; one that needs another that did not succeed is skipped."""
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
    """What a check finds, however it ends."""
    deadline.start(deadline.TOTAL)
    try:
        return check(subject)
    except CniError as error:
        return fail(error.msg, error.details)
    except DeadlineExceeded:
        return fail(f"no end within {deadline.TOTAL:.0f} seconds", "see whether the API server or a disk hangs")
    except OSError as error:
        return fail(f"{error.filename or 'the operating system'}: {error.strerror}", "run this as root")
    except Exception as error:  # its kind, not its text, which may hold a secret
        return fail(f"unforeseen {type(error).__name__}", "please report this")
    finally:
        deadline.stop()


def _print(lines: Sequence[Line]) -> None:
    rows: list[tuple[object, ...]] = []
    for line in lines:
        finding = line.finding
        rows.append((finding.status, line.network or "-", line.check, finding.what))
        rows += [
            ("", "", "", f"  {'->' if not at else '  '} {text}") for at, text in enumerate(finding.remedy.splitlines())
        ]
    output.table(("STATUS", "NETWORK", "CHECK", "FOUND"), rows)


def _document(lines: Sequence[Line]) -> dict[str, object]:
    words = [line.finding.status for line in lines]
    return {
        "checks": [
            {
                "network": line.network or None,
                "check": line.check,
                "status": line.finding.status,
                "what": line.finding.what,
                "remedy": line.finding.remedy or None,
            }
            for line in lines
        ],
        "summary": {word: words.count(word) for word in (output.OK, output.WARN, output.FAIL, SKIP)},
    }
