"""Root without the capabilities that bypass file modes, for tests of 'permission denied'."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

# linux/capability.h
_VERSION = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1 << 1, 1 << 2

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextlib.contextmanager
def modes_count() -> Iterator[None]:
    """Let file modes apply to root too: a file of mode 0 cannot be read."""
    sets = (_Set * 2)()
    _call(_libc.capget, sets)
    before = sets[0].effective
    sets[0].effective &= ~(_DAC_OVERRIDE | _DAC_READ_SEARCH)
    _call(_libc.capset, sets)
    try:
        yield
    finally:
        sets[0].effective = before
        _call(_libc.capset, sets)


def _call(function: ctypes._NamedFuncPointer, sets: ctypes.Array[_Set]) -> None:
    if function(ctypes.byref(_Header(_VERSION, 0)), sets):
        raise OSError(ctypes.get_errno(), function.__name__)
