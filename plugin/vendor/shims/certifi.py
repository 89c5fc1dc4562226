"""Stands in for certifi, whose import from an archive writes its bundle to /tmp, and fails where that is read-only."""

# requests turns to it where no verify= is given. No public CA may vouch for an API server: that fails, with words.
_NONE = "/no-public-CA-vouches-for-an-API-server"


def where() -> str:
    """The path of a CA bundle, as certifi has it: here one that does not exist."""
    return _NONE
