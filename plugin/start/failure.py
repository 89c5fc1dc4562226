"""The CNI error for an exception that no other code has put into words: what is wrong with Python, memory or the file.

It imports no more than is there at that time, but in the case of a CniError. It never quotes an exception's text, which
may hold a secret.
"""

from __future__ import annotations

import sys

from plugin import deadline

OWN = ("plugin", "requests", "urllib3", "idna", "yaml", "certifi")
_SHORT = {11: "processes", 12: "memory", 23: "open files", 24: "open files"}  # EAGAIN, ENOMEM, ENFILE, EMFILE
# What the dynamic loader says when it is memory or a descriptor that is missing, and not the file.
_LOADER = ("cannot allocate memory", "failed to map segment", "too many open files", "cannot apply additional memory")
# What to do about a module that is missing.
ADVICE = (
    "install the whole of its standard library (Debian, Ubuntu: apt-get install python3; Fedora, RHEL: dnf install "
    "python3-libs), or name another interpreter: python3.X node-ipam.pyz install --python /usr/bin/python3.X"
)


def explain(error: BaseException, command: str = "") -> bytes:
    """Return the error object for this exception; of a STATUS with the code that says that an ADD would fail."""
    errors = sys.modules.get("plugin.errors")
    if errors and isinstance(error, errors.CniError):
        from plugin import cni

        return cni.error_answer(error)
    code, msg, details = _described(error)
    text = '{{"cniVersion": "1.0.0", "code": {}, "msg": "{}", "details": "{}"}}\n'
    return text.format(50 if command == "STATUS" else code, _plain(msg), _plain(details)).encode()


def _described(error: BaseException) -> tuple[int, str, str]:
    """Return code, what is wrong, and what to do."""
    kind, place = type(error).__name__, _place(error)
    if isinstance(error, deadline.DeadlineExceeded):
        details = f"interrupted at {place}; see whether the API server or a disk hangs"
        return 11, f"no answer within {deadline.REQUEST:.0f} seconds", details
    short = shortage(error)
    if short:
        details = "raise the limits of the container runtime's service, or free some; see ulimit -a and free -m"
        return 11, f"this machine or process is short of {short} ({kind} at {place})", details
    lacking = missing(error)
    if lacking:
        return 100, f"{sys.executable} lacks the module {lacking}", ADVICE
    if _is_import(error):
        msg = f"the plugin file was replaced or is damaged ({kind})"
        return 11, msg, "if this stays, install it again: node-ipam.pyz install"
    return 100, f"unforeseen {kind} at {place}", "please report this"


def missing(error: BaseException) -> str:
    """Return the module of Python itself that could not be imported; "" if it was something else."""
    name = (error.name or "") if isinstance(error, ImportError) else ""
    return "" if name.partition(".")[0] in OWN else name


def shortage(error: BaseException) -> str:
    """Return what this machine or process has too little of; "" if the error says nothing of the kind."""
    if isinstance(error, OSError):
        return _SHORT.get(error.errno or 0, "")
    text = str(error).lower() if isinstance(error, (ImportError, RuntimeError)) else ""
    if isinstance(error, MemoryError) or any(words in text for words in _LOADER):
        return "open files" if "files" in text else "memory"
    return "processes" if "start new thread" in text else ""


def _is_import(error: BaseException) -> bool:
    """Whether it came up while a module was imported; an ImportError has lost importlib's frames."""
    files, trace = [], error.__traceback__
    while trace is not None:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return isinstance(error, ImportError) or any(file.startswith("<frozen importlib") for file in files)


def _place(error: BaseException) -> str:
    place, trace = "?:0", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code is not deadline.interrupt.__code__:
            place = f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _plain(text: str) -> str:
    """The text as the inside of a JSON string, without importing json."""
    return "".join(
        each if each >= " " and each not in '"\\' else "?" for each in text.encode("ascii", "replace").decode()
    )
