"""What `ranges assign` has done, one line for each change: as text, or as JSON lines."""

from __future__ import annotations

import datetime
import json
import sys

from plugin.ops import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from plugin.errors import CniError


class Events:
    """Prints lines at once, so that a log has them when they happen."""

    def __init__(self, *, is_json: bool) -> None:
        self._is_json = is_json
        self._troubles: dict[str, str] = {}

    def assigned(self, node: str, annotation: str, ranges: str) -> None:
        """A Node got its ranges."""
        self.tell("assigned", f"{node} {annotation}={ranges}", node=node, annotation=annotation, ranges=ranges)

    def troubles(self, found: Iterable[CniError]) -> None:
        """Tell which errors are new since the last call, and which are gone."""
        now = {each.msg: each.details for each in found}
        for what, remedy in now.items():
            if what not in self._troubles:
                self.tell("problem", f"{what} ({remedy})", what=what, remedy=remedy)
        for what in self._troubles.keys() - now.keys():
            self.tell("solved", what, what=what)
        self._troubles = now

    def tell(self, event: str, text: str, **fields: str) -> None:
        """Print one event; a text line does without the time, which logs have."""
        if self._is_json:
            now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
            output.line(json.dumps({"time": now.replace("+00:00", "Z"), "event": event, **fields}))
        else:
            output.line(f"{event}: {output.printable(text)}")
        sys.stdout.flush()
