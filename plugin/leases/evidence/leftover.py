"""Network namespaces that a killed runtime left mounted: their interfaces still answer for the address."""

from __future__ import annotations

import os

_MNT_DETACH = 2  # umount(2)


def remove(path: str) -> None:
    """Unmount a network namespace and remove its file, as the runtime does. Raises OSError."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if os.path.ismount(path) and libc.umount2(os.fsencode(path), _MNT_DETACH):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    if os.path.lexists(path):
        os.unlink(path)
