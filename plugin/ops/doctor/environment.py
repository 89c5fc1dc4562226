"""Who runs doctor, and with which variables: neither is the runtime."""

from __future__ import annotations

import os

from plugin.ops.doctor.context import Machine
from plugin.ops.doctor.finding import Finding, fail, ok


def user(machine: Machine) -> Finding | None:
    """doctor runs as the user as whom the runtime runs the plugin."""
    if machine.is_root:
        return None
    what = "this is not root: what the plugin can read and write as root is unknown"
    return fail("not-root", what, "run it as root: sudo node-ipam.pyz doctor")


def variables(machine: Machine) -> Finding | None:
    """The shell has no variables that would change what is looked at."""
    if not machine.ignored:
        return None
    listed = ", ".join(f"{name}={value}" for name, value in machine.ignored.items())
    return ok(f"ignored, as the runtime has its own: {listed} of this shell; to use that: --shell-environment")


def is_root() -> bool:
    """Return whether this is the user as whom runtimes run plugins."""
    return os.geteuid() == 0
