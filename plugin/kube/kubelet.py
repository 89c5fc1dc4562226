"""Find the --kubeconfig of the kubelet that runs on this machine."""

from __future__ import annotations

import os
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plugin.cache import Cache

_NAME = "kubelet"  # of the entry in the cache: PID COMMAND-LINE, or without a kubelet " TIME"
_ABSENT_SECONDS = 60.0  # for which it is remembered that none was found: to look at all processes takes milliseconds
_LONGEST = 1 << 16  # bytes of a command line
_OPTION = b"--kubeconfig"


def kubeconfig(proc: str, cache: Cache | None) -> str:
    """Return the absolute path that the running kubelet has as --kubeconfig; "" if there is none that can be seen.

    Only a process of root that sees the same files counts: any pod can call a process kubelet.
    proc: where /proc is. cache: remembers which process it is; None to look at all of them.
    """
    pid, _, known = ((cache.read(_NAME) if cache else None) or b"").partition(b" ")
    if pid and _command_line(proc, pid.decode()) == known:
        return _option(known)
    if known and not pid and 0 <= time.time() - float(known) < _ABSENT_SECONDS:
        return ""
    path, entry = "", b" %f" % time.time()
    try:
        numbers = [name for name in os.listdir(proc) if name.isdigit()]
    except OSError:
        numbers = []
    for number in numbers:
        line = _command_line(proc, number)
        path = _option(line)
        if path:
            entry = b"%s %s" % (number.encode(), line)
            break
    if cache:
        cache.write(_NAME, entry)
    return path


def _command_line(proc: str, pid: str) -> bytes:
    """Return the arguments of a kubelet of this machine; b"" for any other process."""
    try:
        with open(f"{proc}/{pid}/cmdline", "rb") as file:
            line = file.read(_LONGEST)
        program, _, rest = line.partition(b"\0")
        name = program.rpartition(b"/")[2]
        # https://github.com/kubernetes/kubernetes/tree/v1.18.0/cluster/images/hyperkube: all programs in one file
        if name != b"kubelet" and not (name == b"hyperkube" and rest.startswith(b"kubelet\0")):
            return b""
        is_roots = os.stat(f"{proc}/{pid}").st_uid == 0
        is_setuid = os.stat(f"{proc}/{pid}/exe").st_mode & stat.S_ISUID  # such as su, whose arguments are a user's
        sees_the_same = os.stat(f"{proc}/{pid}/ns/mnt").st_ino == os.stat(f"{proc}/self/ns/mnt").st_ino
        return line if is_roots and not is_setuid and sees_the_same else b""
    except OSError:  # it ended meanwhile, or is another user's
        return b""


def _option(line: bytes) -> str:
    """Return the absolute path that a command line has as --kubeconfig, the last one counts; "" for none."""
    found = b""
    arguments = line.split(b"\0")
    for argument, following in zip(arguments, [*arguments[1:], b""]):
        name, equals, value = argument.partition(b"=")
        if name == _OPTION:
            found = value if equals else following
    return os.fsdecode(found) if found.startswith(b"/") else ""
