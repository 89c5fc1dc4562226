"""Records of attachments that are damaged, or that nobody has made so, are no hindrance."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugin import entries
from plugin.cache import Cache
from plugin.cni import Request
from plugin.leases import records
from plugin.log import Log
from plugin.plan import Plan
from tests.leases.conftest import ENVIRON


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


@pytest.mark.parametrize(("netns", "recorded"), [("/run/netns/a", "/run/netns/a"), (f"/run/{'x' * 1000}", "")])
def test_path_that_no_link_can_hold(netns: str, recorded: str) -> None:
    """A part of a path would look like a namespace that is gone."""
    assert entries.record_text("used-1", {"CNI_NETNS": netns}).split(" ", 2)[2] == recorded


def test_link_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store is announced as soon as it is known, whether or not the attachment can be recorded."""
    monkeypatch.setattr(Cache, "link", lambda *_: False)
    environ = {**ENVIRON, "NODE_IPAM_CACHE": str(tmp_path / "cache")}
    request = Request("/bin/kube-node", "ADD", environ, b"", {"name": "net"})
    plan = Plan("/bin/host-local", {"name": "net", "ipam": {"dataDir": "/run/x"}})
    assert records.generation(environ)[1] == ""

    assert records.record(request, plan, "/run/x", Log()) == ""
    assert records.generation(environ)[1] != ""
