"""Files for probes: `ready` exists while the API server answers, `healthy` is touched in each turn of the loop."""

from __future__ import annotations

import contextlib
import os

READY = "ready"
HEALTHY = "healthy"


class Probes:
    """The two files; without a directory, none. Each method raises OSError if the directory is not writable."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.turn()
        self.set_ready(False)

    def turn(self) -> None:
        """Touch `healthy`."""
        self._touch(HEALTHY)

    def set_ready(self, is_ready: bool) -> None:
        """Create or remove `ready`."""
        if is_ready:
            self._touch(READY)
        elif self._directory:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._directory, READY))

    def _touch(self, name: str) -> None:
        if self._directory:
            with open(os.path.join(self._directory, name), "w"):
                pass
