"""Another kernel, for what this machine's lacks: user-mode Linux, which is a process and sees this machine's files.

https://docs.kernel.org/virt/uml/user_mode_linux_howto_v2.html; Debian and Ubuntu have the package user-mode-linux.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence

import pytest

from tests.support.netns import require

PROGRAM = "linux.uml"
_MODULES = "/usr/lib/uml/modules"
_TMP = "/run/tmp"
_UNABLE = "ptrace set fp regs failed"  # arch/um/os-Linux/skas/process.c
_BOOT = "mem=1G rootfstype=hostfs rootflags=/ ro con=null con0=fd:0,fd:1 quiet"
# As process 1 of that kernel: nothing of this machine can be written to; TMPDIR, in memory, is for what has to be.
_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
for directory in /run /dev; do mount -t tmpfs tmpfs $directory; done
mkdir /dev/shm {tmp}
mknod -m 666 /dev/null c 1 3
mknod -m 666 /dev/urandom c 1 9
for module in {modules}; do busybox insmod $module; done
cd {directory}
env -i {environ} {command}
echo "status $?"
echo o >/proc/sysrq-trigger
sleep 60
"""


def run(command: Sequence[str], modules: Sequence[str], directory: str) -> tuple[int, str]:
    """Run a command from this directory on the other kernel, with these modules; its exit status and what it printed.

    Skips on a processor that it does not support, and where there is no such kernel; the latter is a failure in CI.
    """
    if os.uname().machine != "x86_64":
        pytest.skip("user-mode Linux is for x86 alone")
    require(PROGRAM, "busybox")
    script = os.path.join(directory, "init")
    with open(script, "w", encoding="utf-8") as file:
        file.write(_init(command, modules, os.getcwd()))
    os.chmod(script, 0o755)
    boot = [PROGRAM, *_BOOT.split(), f"init={script}", f"uml_dir={directory}"]
    # Killed, it leaves processes behind: a namespace of its own takes them along.
    printed = _boot(["unshare", "--pid", "--fork", "--kill-child", *boot])
    if _UNABLE in printed:
        pytest.skip("user-mode Linux cannot run on this processor: its state (AMX) is larger than that kernel knows")
    status = re.findall(r"^status (\d+)\r?$", printed, re.MULTILINE)
    return (int(status[-1]) if status else -1), printed


def _boot(argv: Sequence[str]) -> str:
    """Run the kernel and return what it printed. One that panics would spin for ever: it is killed then."""
    lines = []
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as kernel:
        assert kernel.stdout is not None
        for line in kernel.stdout:
            lines.append(line)
            if line.startswith("Kernel panic"):
                kernel.kill()
                break
    return "".join(lines)


def _init(command: Sequence[str], modules: Sequence[str], directory: str) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": _TMP, "TMPDIR": _TMP, "PYTHONDONTWRITEBYTECODE": "1"}
    environ.update({name: value for name, value in os.environ.items() if name in ("CI", "CNI_PATH", "NODE_IPAM_DIST")})
    files = [path for module in modules for path in _needed(module)]
    return _INIT.format(
        tmp=_TMP,
        modules=shlex.join(dict.fromkeys(files)),
        directory=shlex.quote(directory),
        environ=shlex.join(f"{name}={value}" for name, value in environ.items()),
        command=shlex.join(command),
    )


def _needed(module: str) -> list[str]:
    """The files of a module and of what it needs, in the order of loading: modules.dep has the reverse."""
    (version,) = os.listdir(_MODULES)
    folder = os.path.join(_MODULES, version)
    with open(os.path.join(folder, "modules.dep"), encoding="utf-8") as file:
        for line in file:
            own, _, others = line.partition(":")
            if own.endswith(f"/{module}.ko"):
                return [os.path.join(folder, path) for path in reversed([own, *others.split()])]
    raise LookupError(f"no module {module} in {folder}")
