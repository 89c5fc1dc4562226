"""What a plugin type decides about a request: which program gets which configuration."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    from plugin.cni import Request
    from plugin.config.settings import Settings

    class Type(Protocol):
        """The interface of a type's module. Every function raises CniError."""

        NAME: str
        NEEDS_RECORD: bool  # a DEL's request does not say where the lease is

        def setup(self, request: Request) -> Settings:
            """Return how to reach the Node, and where to log."""

        def plan(self, request: Request, settings: Settings) -> Plan:
            """Return the plan of an ADD or STATUS, with the ranges of this node."""

        def release(self, request: Request, settings: Settings) -> list[Plan]:
            """Return plans for a DEL, CHECK or GC without a record, one for each store. Never contacts a server."""

        def data_dirs(self, request: Request, settings: Settings) -> list[str]:
            """Return every dataDir that may hold leases of this network, for a GC by host-local's DEL."""


class Plan:
    """A program, its configuration, and how long the same request gets the same answer."""

    def __init__(
        self,
        program: str,
        config: dict[str, Any],
        until: float = 0.0,
        files: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.program = program
        self.config = config
        self.until = until  # epoch seconds
        self.files = files  # (path, entries.signature()) of each file that the answer depends on
