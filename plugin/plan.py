"""What a type of plugin decides about a request: which program gets which configuration."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    from plugin.cni import Request
    from plugin.settings import Settings

    class Type(Protocol):
        """What the module of a type offers; all of it raises CniError."""

        NAME: str
        NEEDS_RECORD: bool  # a DEL's request does not say where the lease is

        def setup(self, request: Request) -> Settings:
            """How this request says to reach the Node, and where to log."""

        def plan(self, request: Request, settings: Settings) -> Plan:
            """For ADD and STATUS: with the ranges of this node."""

        def release(self, request: Request, settings: Settings) -> list[Plan]:
            """For DEL and CHECK without a record of the ADD, for each place that leases may be in. Never a server's."""

        def data_dir(self, request: Request) -> str:
            """The dataDir that the request itself names, in which a DEL without a record looks."""

        def collector(self, request: Request, settings: Settings) -> Plan | None:
            """For GC: the next plugin where that is not host-local, which knows no GC."""

        def data_dirs(self, request: Request, settings: Settings) -> list[str]:
            """For GC by host-local's DEL: where leases of this network may be."""


class Plan:
    """A program, the configuration it gets, and for how long that is the answer to the same request."""

    __slots__ = ("config", "files", "program", "until")

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
        self.files = files  # (path, cache.signature()) of what the answer rests on besides the request and the Node
