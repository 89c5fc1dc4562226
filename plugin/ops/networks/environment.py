"""The variables that a runtime gives to a plugin: this shell's KUBECONFIG is not among them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

# They decide which kubeconfig and which Node are read, and are often set in an administrator's shell.
PERSONAL = ("KUBECONFIG", "NODE_NAME", "HOME")


def add_shell_environment(parser: argparse.ArgumentParser) -> None:
    """Give a command --shell-environment."""
    text = f"use {', '.join(PERSONAL[:-1])} and {PERSONAL[-1]} of this shell, which must be those of the runtime"
    parser.add_argument("--shell-environment", action="store_true", help=text)


def of_runtime(shell: Mapping[str, str], recorded: Mapping[str, str]) -> dict[str, str]:
    """Return this environment with PERSONAL as recorded at the runtime's last ADD; without a record, unset."""
    environ = {name: value for name, value in shell.items() if name not in PERSONAL}
    environ.update({name: value for name, value in recorded.items() if value})
    return environ


def ignored(shell: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of this shell that could lead to another credential or Node; HOME matters to neither."""
    return {name: shell[name] for name in PERSONAL[:-1] if shell.get(name)}
