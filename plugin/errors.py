"""CNI errors: a code, what is wrong, and what to do about it."""

from __future__ import annotations

# https://www.cni.dev/docs/spec/#error
INCOMPATIBLE_VERSION = 1
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5
DECODE_FAILURE = 6
INVALID_CONFIG = 7
TRY_AGAIN_LATER = 11
NOT_AVAILABLE = 50
# 100 and above are the plugin's own: a retry does not help.
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
    """The API server gave no usable answer. Cached facts of the Node may still be true.

    late: it gave none in time, so a longer wait may help.
    """

    def __init__(self, msg: str, details: str = "", code: int = TRY_AGAIN_LATER, late: bool = False) -> None:
        super().__init__(code, msg, details)
        self.late = late


class Refusal(CniError):
    """The API server refused the query. Cached facts of the Node are not true any more."""


class NodeMissing(Refusal):
    """There is no Node of this name."""


class Forbidden(Refusal):
    """The credential is not allowed to do that."""
