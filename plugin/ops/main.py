"""The operator's command line: find the command, run it, and turn its outcome into an exit status."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence

from plugin import TYPES, __version__, cni
from plugin.errors import PLUGIN_FAILURE, CniError
from plugin.ops import output
from plugin.start import failure

# Each module has add_arguments(parser), run(arguments) and EXAMPLE; its docstring is the help text.
COMMANDS = {
    "install": "plugin.ops.install.install",
    "uninstall": "plugin.ops.install.uninstall",
    "deploy": "plugin.ops.deploy.deploy",
    "doctor": "plugin.ops.doctor.doctor",
    "leases": "plugin.ops.leases.leases",
    "gc": "plugin.ops.leases.gc",
    "explain": "plugin.ops.networks.explain",
    "ranges show": "plugin.ops.ranges.show",
    "ranges assign": "plugin.ops.ranges.assign",
    "ranges rbac": "plugin.ops.ranges.rbac",
}
_VERSION = ("version", "--version", "-version", "-V")
_HELP = ("help", "--help", "-help", "-h")
_ANNOTATION = "node-annotation"


def run(argv: Sequence[str]) -> int:
    """Run the command line and return the exit status; argv[0] is the path of the program."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")  # None: closed at the start
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, stream)
    # A closed stdin is not reopened as 0: the archive may have that number.
    sys.stdin = sys.stdin or os.fdopen(os.open(os.devnull, os.O_RDONLY))
    status = _guarded(argv)
    try:
        sys.stdout.flush()
    except OSError:  # Python would flush again at its end, and print an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _guarded(argv: Sequence[str]) -> int:
    """Run the command; an exception becomes an error message and an exit status."""
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # which __main__ has set
            signal.signal(signal.SIGINT, signal.default_int_handler)
        status = _dispatch(argv)
        sys.stdout.flush()
        return status
    except output.UsageError as error:
        output.error(error)
        return output.USAGE
    except CniError as error:
        output.error(error)
    except BrokenPipeError:  # the reader has closed the pipe
        return output.FINE
    except KeyboardInterrupt:
        return output.INTERRUPTED
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        output.error(CniError(PLUGIN_FAILURE, f"{name}{error.strerror or type(error).__name__}"))
    except Exception as error:
        words = json.loads(failure.explain(error))
        output.error(CniError(words["code"], words["msg"], words["details"]))
    return output.FOUND


def _dispatch(argv: Sequence[str]) -> int:
    program, rest = os.path.basename(argv[0]), list(argv[1:])
    name, arguments = _named(rest)
    if name in COMMANDS:
        return _command(program, name, arguments)
    if rest and rest[0] in _VERSION:
        output.line(_version(program))
        return output.FINE
    if program == _ANNOTATION:
        manual: Callable[[list[str]], int] = importlib.import_module("plugin.ops.manual").run
        return manual(list(argv))
    if not rest:
        output.note(_about(program))
        return output.FINE
    if rest[0] not in _HELP:
        raise _unknown(program, name)
    if not rest[1:]:
        output.line(_overview(program))
        return output.FINE
    name, _ = _named(rest[1:])
    if name not in COMMANDS:
        raise _unknown(program, name)
    return _command(program, name, ["--help"])


def _named(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the command and its arguments. A command with actions does the first of them if none is named."""
    actions = [name for name in COMMANDS if words and name.startswith(f"{words[0]} ")]
    if actions and (not words[1:] or words[1].startswith("-")):
        return actions[0], words[1:]
    count = 2 if actions else 1
    return " ".join(words[:count]), words[count:]


def _unknown(program: str, word: str) -> output.UsageError:
    """Return the error that says which command may have been meant, and lists all."""
    known = (*COMMANDS, "version", "help")
    meant = output.suggestion(word, known)
    details = (f"did you mean {program} {meant}?\n" if meant else "") + f"commands: {', '.join(known)}"
    return output.UsageError(f"unknown command: {word}", details)


def _command(program: str, name: str, arguments: Sequence[str]) -> int:
    module = importlib.import_module(COMMANDS[name])
    parser = argparse.ArgumentParser(
        prog=f"{program} {name}",
        description=module.__doc__,
        epilog="example:\n" + "\n".join(f"  {line}".rstrip() for line in module.EXAMPLE.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as end:  # argparse has printed help or an error
        return end.code if isinstance(end.code, int) else output.USAGE
    status: int = module.run(parsed)
    return status


def _overview(program: str) -> str:
    lines = [
        f"usage: {program} COMMAND [OPTION …]",
        "",
        "CNI IPAM plugins kube-node and node-annotation: addresses for pods from the ranges of this node.",
        "",
        "commands:",
    ]
    for name, module in COMMANDS.items():
        text = importlib.import_module(module).__doc__ or ""
        lines.append(f"  {name:<14} {text.strip().splitlines()[0]}")
    lines += [f"  {'version':<14} Print the version.", "", f"{program} COMMAND --help shows its options."]
    return "\n".join(lines)


def _version(program: str) -> str:
    python = f"Python {'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}"
    return f"{_name(program)} {__version__} (CNI {cni.VERSIONS[0]} to {cni.NEWEST}, {python})"


def _about(program: str) -> str:
    """Return what every CNI plugin prints without a command: its version and CNI versions; and where help is."""
    name = _name(program)
    return (
        f"{name} {__version__}: CNI IPAM plugin, ranges from the Kubernetes Node object\n"
        f"CNI protocol versions supported: {', '.join(cni.VERSIONS)}\n"
        f"A container runtime sets CNI_COMMAND; by hand: {program} help"
    )


def _name(program: str) -> str:
    return program if program in TYPES else "node-ipam"
