"""requests' front: loads its parts when they are used. The original also warns that charset_normalizer is missing."""

from __future__ import annotations

from .__version__ import __version__ as __version__

# https://requests.readthedocs.io/en/latest/api/
_PARTS = {
    "api": ("delete", "get", "head", "options", "patch", "post", "put", "request"),
    "exceptions": (
        "ConnectionError",
        "HTTPError",
        "JSONDecodeError",
        "RequestException",
        "Timeout",
        "TooManyRedirects",
    ),
    "models": ("PreparedRequest", "Request", "Response"),
    "sessions": ("Session", "session"),
    "status_codes": ("codes",),
}


def __getattr__(name: str) -> object:
    for part, names in _PARTS.items():
        if name == part or name in names:
            module = __import__(f"{__name__}.{part}", fromlist=["*"])
            return module if name == part else getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
