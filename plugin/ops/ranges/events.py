"""What `ranges assign` reports: one line for each change, as text or JSON; and with --watch, files for probes."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sys
from collections.abc import Iterable

from plugin.errors import CniError
from plugin.ops import output


class Events:
    """Writes each line at once, so that a log has it in time."""

    def __init__(self, *, is_json: bool) -> None:
        self._is_json = is_json
        self._problems: dict[str, str] = {}

    def assigned(self, node: str, annotation: str, ranges: str) -> None:
        """Write that a Node got its ranges."""
        self.write("assigned", f"{node} {annotation}={ranges}", node=node, annotation=annotation, ranges=ranges)

    def problems(self, found: Iterable[CniError]) -> None:
        """Write which errors are new since the last call, and which are solved."""
        now = {each.msg: each.details for each in found}
        for what, remedy in now.items():
            if what not in self._problems:
                self.write("problem", f"{what} ({remedy})", what=what, remedy=remedy)
        for what in self._problems.keys() - now.keys():
            self.write("solved", what, what=what)
        self._problems = now

    def write(self, event: str, text: str, **fields: str) -> None:
        """Write one event; only JSON lines have a time."""
        if self._is_json:
            now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
            output.line(json.dumps({"time": now.replace("+00:00", "Z"), "event": event, **fields}))
        else:
            output.line(f"{event}: {output.printable(text)}")
        sys.stdout.flush()


class Probes:
    """Files: `ready` exists while the API server answers, `healthy` is touched in each turn of the loop.

    Without a directory there are none. Each method raises OSError if the directory is not writable.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.turn()
        self.set_ready(False)

    def turn(self) -> None:
        """Touch `healthy`."""
        self._touch("healthy")

    def set_ready(self, is_ready: bool) -> None:
        """Create or remove `ready`."""
        if is_ready:
            self._touch("ready")
        elif self._directory:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._directory, "ready"))

    def _touch(self, name: str) -> None:
        if self._directory:
            with open(os.path.join(self._directory, name), "w"):
                pass
