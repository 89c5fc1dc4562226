"""Files for probes: `ready` exists while the API server answers, `healthy` is touched in each turn of the loop."""

from __future__ import annotations

import os

READY = "ready"
HEALTHY = "healthy"


class Probes:
    """Return the paths of the two files; none without a directory."""

    def __init__(self, directory: str) -> None:
        """Raises OSError if the directory is not writable."""
        self._directory = directory
        self.turn()
        self.set_ready(False)

    def turn(self) -> None:
        """Touch `healthy`."""
        if self._directory:
            with open(os.path.join(self._directory, HEALTHY), "w"):
                pass

    def set_ready(self, is_ready: bool) -> None:
        """Create or remove `ready`."""
        if not self._directory:
            return
        path = os.path.join(self._directory, READY)
        if is_ready:
            with open(path, "w"):
                pass
        elif os.path.exists(path):
            os.unlink(path)
