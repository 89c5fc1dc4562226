"""node-annotation's commands for tests by hand, as its shell version has them."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from plugin import cni, deadline, node_annotation, process, stdout, verbs
from plugin.config.settings import Settings
from plugin.errors import INVALID_CONFIG, PLUGIN_FAILURE, CniError
from plugin.node import identity
from plugin.ops import output

HELP = """
 node-annotation --

   An IPAM CNI-plugin that uses annotations on the K8s node object

 Commands;

   ipam
     Act as an ipam CNI-plugin. This is the default command
   error_quit [msg]
     Print an error in standard CNI json format and quit
   my_node
     Print the own node object
   get_annotation [--node=node] <annotation>
     Print the value of the annotation in the K8s node object
"""


def run(argv: list[str]) -> int:
    """Run one command and return the exit status; argv[0] is the program. Errors are CNI error objects on stdout."""
    program, command, arguments = argv[0], (argv[1:] or ["ipam"])[0], argv[2:]
    if command in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if command not in _COMMANDS:
        print(f"ERROR: Invalid command [{command}]", file=sys.stderr)
        if meant := output.suggestion(command, _COMMANDS):
            print(f"did you mean {os.path.basename(program)} {meant}?", file=sys.stderr)
        return 1
    try:
        with deadline.within(deadline.TOTAL):
            return _COMMANDS[command](program, arguments)
    except CniError as error:
        sys.stdout.write(cni.error_answer(error).decode())
    except deadline.DeadlineExceeded:
        print(f"ERROR: no answer within {deadline.TOTAL:.0f} seconds", file=sys.stderr)
    return 1


def _ipam(program: str, _arguments: list[str]) -> int:
    command = os.environ.get("CNI_COMMAND", "")
    raw = b"" if os.isatty(0) else process.read_stdin()
    if command:
        status, answer = verbs.answer(program, command, os.environ, raw)
    elif not raw.strip():
        print(HELP, file=sys.stderr)
        return 0
    else:
        status, answer = _pass_on(program, raw)
    sys.stdout.flush()
    return stdout.finish(status, answer)


def _pass_on(program: str, raw: bytes) -> tuple[int, bytes]:
    """Run the next plugin with what an ADD gives to it, but without CNI_COMMAND: `cat` prints that."""
    request = cni.parse(program, "ADD", os.environ, raw)
    plan = node_annotation.plan(request, node_annotation.setup(request))
    try:
        return process.run(plan.program, [plan.program], os.environ, json.dumps(plan.config, indent=2).encode() + b"\n")
    except OSError as error:
        raise CniError(PLUGIN_FAILURE, f"{plan.program} cannot be run: {error.strerror}") from None


def _error_quit(_program: str, arguments: list[str]) -> int:
    message = " ".join(["FAILED:", *arguments])
    sys.stdout.write(cni.encode({"cniVersion": "0.4.0", "code": 11, "msg": message}).decode())
    return 1


def _my_node(_program: str, _arguments: list[str]) -> int:
    print(json.dumps(_own_node(), indent=2, ensure_ascii=False))
    return 0


def _get_annotation(_program: str, arguments: list[str]) -> int:
    options = [each for each in arguments if each.startswith("--node=")]
    names = [each for each in arguments if each not in options]
    if len(names) != 1 or names[0].startswith("-"):
        raise CniError(INVALID_CONFIG, "Parameter missing", "get_annotation [--node=node] <annotation>")
    named = options[-1].partition("=")[2] if options else ""
    node = _other_node(named) if named else _own_node()
    value = ((node.get("metadata") or {}).get("annotations") or {}).get(names[0])
    if value is None:
        details = "kubectl describe node shows its annotations"
        raise CniError(PLUGIN_FAILURE, f"Annotation not found: {names[0]}", details)
    print(value)
    return 0


def _own_node() -> dict[str, Any]:
    return identity.identify(_settings(), None, lambda _node: True)[0]


def _other_node(name: str) -> dict[str, Any]:
    """Return the Node of this name, whether it is this machine's or not. Raises CniError."""
    from plugin.kube import client

    chosen = _settings()
    return client.connect(chosen.kubeconfig, chosen.environ, chosen.label).get_node(name)


def _settings() -> Settings:
    return node_annotation.setup_from(os.environ, node_annotation.read_config(os.environ))


_COMMANDS = {"ipam": _ipam, "error_quit": _error_quit, "my_node": _my_node, "get_annotation": _get_annotation}
