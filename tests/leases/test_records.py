"""Records of attachments that are damaged, or that nobody has made so, are no hindrance."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugin.cache import Cache
from plugin.leases import records


@pytest.mark.parametrize(
    ("text", "made", "netns"),
    [
        ("used-1", 0.0, ""),
        ("used-1 ", 0.0, ""),
        ("used-1 12 /run/netns/a b", 12.0, "/run/netns/a b"),
        ("used-1 soon /run/netns/a", 0.0, "/run/netns/a"),
    ],
)
def test_text_of_a_link(tmp_path: Path, text: str, made: float, netns: str) -> None:
    """Time and namespace are missing in version 0.1.0; a time that is no number counts as missing."""
    cache = Cache(str(tmp_path / "cache"))
    cache.write("used-1", b'{"program": "/bin/host-local", "network": "net", "ipam": {}}')
    cache.link("at:c1:eth0:net", text)

    (found,) = records.everything({"NODE_IPAM_CACHE": cache.path})

    assert (found.container, found.interface, found.made, found.netns) == ("c1", "eth0", made, netns)
