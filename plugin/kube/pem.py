"""Find the blocks in a PEM text, as Go's encoding/pem does: whole ones, whatever is around them (RFC 7468)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def blocks(text: bytes, label: str) -> Iterator[bytes]:
    """Yield each block with this label. "PRIVATE KEY" is also the end of other labels, such as EC PRIVATE KEY."""
    for part in text.split(b"-----BEGIN ")[1:]:
        found, _, rest = part.partition(b"-----")
        end = b"-----END " + found + b"-----"
        body, ended, _ = rest.partition(end)
        if ended and (found == label.encode() or (label == "PRIVATE KEY" and found.endswith(b" PRIVATE KEY"))):
            yield b"-----BEGIN " + found + b"-----" + body + end + b"\n"


def body(text: bytes, label: str) -> bytes:
    """Return the base64 of the first block with this label; b"" if there is none."""
    return next(blocks(text, label), b"-----" * 2).split(b"-----")[2]
