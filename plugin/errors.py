"""Errors as CNI knows them: a code, what is wrong, and what to do about it."""

from __future__ import annotations

# https://www.cni.dev/docs/spec/#error
INCOMPATIBLE_VERSION = 1
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5
DECODE_FAILURE = 6
INVALID_CONFIG = 7
TRY_AGAIN_LATER = 11
NOT_AVAILABLE = 50
# 100 and above are the plugin's own: what retrying will not mend.
PLUGIN_FAILURE = 100


class CniError(Exception):
    """A failure to report to the caller as a CNI error object.

    code: one of the constants above. msg: what is wrong, one line. details: what to do about it.
    Neither may hold a secret: both end up in pod events and logs.
    """

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg
        self.details = details


class Unreachable(CniError):
    """No answer of the API server that can be relied on: what is known of the Node from before may still be true.

    late: there was none in time, so that there may be one with more patience.
    """

    def __init__(self, msg: str, details: str = "", code: int = TRY_AGAIN_LATER, late: bool = False) -> None:
        super().__init__(code, msg, details)
        self.late = late


class Refusal(CniError):
    """A clear no of the API server: what is known of the Node from before is not true any more."""


class NodeMissing(Refusal):
    """The API server knows no Node of this name."""


class Forbidden(Refusal):
    """The API server does not let this credential do that."""
