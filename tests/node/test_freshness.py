"""How fresh what is known of the Node must be, and what becomes of a question that fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin import deadline
from plugin.cache import Cache
from plugin.config.settings import Settings
from plugin.entries import signature
from plugin.errors import PLUGIN_FAILURE, CniError, NodeMissing, Refusal, Unreachable
from plugin.facts import POD_CIDRS
from plugin.log import Log
from plugin.node import freshness, identity
from plugin.node.memory import Memory
from tests.support.nodes import make_node

LATE = Unreachable("no answer in time", late=True)
AWAY = Unreachable("connection refused")


class Server:
    """What the API server answers: a Node, or what is raised. told: whose the credential is."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node: Any = make_node("a", ["10.0.1.0/24"], {"e/x": "1"})
        self.fails: BaseException | None = None
        self.told = "a"
        self.asked = 0
        self.patience = 0.0
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text("first")
        self.files = {str(self.kubeconfig): ""}
        self.cache = str(directory / "cache")
        monkeypatch.setattr(identity, "identify", self._identify)

    def _identify(
        self, _settings: Settings, known: Any, _has: object, forget: Callable[[], None]
    ) -> tuple[Any, str, dict[str, str]]:
        self.asked += 1
        self.files = {path: signature(path) for path in self.files}
        self.patience = deadline.left()
        if known and known.name != self.told:
            forget()
        if self.fails:
            raise self.fails
        return self.node, "certificate CN", self.files

    def settings(self, *, rate_limited: bool = False, seconds: float = 30.0) -> Settings:
        """The settings of one request."""
        made = Settings({}, Log(), "ipam.kubeconfig")
        made.cache = Cache(self.cache)
        made.cache_seconds = seconds
        made.rate_limited = rate_limited
        return made

    def age(self, seconds: float) -> None:
        """Let what is kept be older."""
        memory = Memory(self.settings())
        facts, failure = memory.facts(), memory.failure()
        for each, prefix in ((facts, "node-"), (failure, "away-")):
            if each:
                each.asked -= seconds
                memory._write(prefix, each)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that knows node a; a request has the usual time."""
    deadline.start(13.0)
    yield Server(tmp_path, monkeypatch)


def test_known_for_a_while(server: Server) -> None:
    """Within cacheSeconds the server is not asked, afterwards it is."""
    assert freshness.facts(server.settings(), POD_CIDRS).pod_cidrs == ["10.0.1.0/24"]
    freshness.facts(server.settings(), POD_CIDRS)
    assert server.asked == 1
    server.age(31)
    freshness.facts(server.settings(), POD_CIDRS)
    assert server.asked == 2


def test_another_kubeconfig_is_asked_by_at_once(server: Server) -> None:
    """A kubeconfig that was replaced may be another node's: what is known by the old one is not fresh any more."""
    freshness.facts(server.settings(seconds=86400.0), POD_CIDRS)
    server.kubeconfig.write_text("another")
    server.told, server.node = "b", make_node("b", ["10.0.2.0/24"])

    assert freshness.facts(server.settings(seconds=86400.0), POD_CIDRS).name == "b"


@pytest.mark.parametrize("fails", [AWAY, LATE])
def test_never_the_ranges_of_another_node(server: Server, fails: Unreachable) -> None:
    """This machine is another node now, and the server is away: there is nothing to fall back on."""
    freshness.facts(server.settings(), POD_CIDRS)
    server.age(31)
    server.told, server.fails = "b", fails
    with pytest.raises(Unreachable):
        freshness.facts(server.settings(), POD_CIDRS)
    server.told = "a"
    with pytest.raises(Unreachable):
        freshness.facts(server.settings(), POD_CIDRS)


def test_fallback(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    """With the server away, what was known before is used, however old, and it is said so."""
    freshness.facts(server.settings(), POD_CIDRS)
    server.age(1e6)
    server.fails = AWAY

    assert freshness.facts(server.settings(), POD_CIDRS).name == "a"
    assert "using what was known of node a 1000000 s ago: connection refused" in capfd.readouterr().err


@pytest.mark.parametrize("refusal", [NodeMissing(PLUGIN_FAILURE, "no Node"), Refusal(PLUGIN_FAILURE, "no")])
def test_clear_no(server: Server, refusal: Refusal) -> None:
    """A clear no is an error, and stays one when the server is away afterwards."""
    freshness.facts(server.settings(), POD_CIDRS)
    for fails in (refusal, AWAY):
        server.age(31)
        server.fails = fails
        with pytest.raises(CniError, match=fails.msg):
            freshness.facts(server.settings(), POD_CIDRS)


def test_clear_no_is_repeated_to_status(server: Server) -> None:
    """Within a period STATUS says what the server said, without asking it again."""
    server.fails = Refusal(PLUGIN_FAILURE, "no", "why not")
    for _ in range(3):
        with pytest.raises(Refusal) as raised:
            freshness.facts(server.settings(rate_limited=True))
    assert (raised.value.code, raised.value.details, server.asked) == (PLUGIN_FAILURE, "why not", 1)


def test_failure_of_this_machine_is_no_clear_no(server: Server) -> None:
    """A kubeconfig that cannot be read is an error, but says nothing about the Node, and is not kept."""
    freshness.facts(server.settings(), POD_CIDRS)
    server.age(31)
    server.fails = CniError(7, "kubeconfig: missing")
    for _ in range(2):
        with pytest.raises(CniError, match="missing"):
            freshness.facts(server.settings(), POD_CIDRS)
    assert server.asked == 3
    server.fails = AWAY
    assert freshness.facts(server.settings(), POD_CIDRS).name == "a"


def test_failure_of_this_machine_is_not_kept_for_status(server: Server) -> None:
    """STATUS sees at once that it is mended."""
    server.fails = CniError(7, "kubeconfig: missing")
    with pytest.raises(CniError, match="missing"):
        freshness.facts(server.settings(rate_limited=True))
    server.fails = None
    assert freshness.facts(server.settings(rate_limited=True)).name == "a"


def test_away_server_is_asked_once_per_period(server: Server) -> None:
    """After a failure, who has something to fall back on does not ask again for a while."""
    freshness.facts(server.settings(), POD_CIDRS)
    server.age(31)
    server.fails = AWAY
    for _ in range(3):
        freshness.facts(server.settings(), POD_CIDRS)
    assert server.asked == 2
    server.age(31)
    freshness.facts(server.settings(), POD_CIDRS)
    assert server.asked == 3


def test_who_can_fall_back_does_not_wait_for_the_lock(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that must wait for an answer holds the lock for long; that does not concern the others."""
    freshness.facts(server.settings(), POD_CIDRS)
    server.age(31)
    server.fails = AWAY
    freshness.facts(server.settings(), POD_CIDRS)
    monkeypatch.setattr(Memory, "lock", None)
    for rate_limited in (False, True):
        assert freshness.facts(server.settings(rate_limited=rate_limited), POD_CIDRS).name == "a"


@pytest.mark.parametrize("fails", [LATE, deadline.DeadlineExceeded()])
def test_slow_server_gets_more_time_once_per_period(server: Server, fails: BaseException) -> None:
    """Who was not waited for long enough gets twice as long the next time, so that its news arrive at last.

    It does not matter whether a call gave up or the deadline ended it.
    """
    freshness.facts(server.settings(), POD_CIDRS)
    server.fails = fails
    given = []
    for _ in range(4):
        server.age(31)
        for _ in range(2):
            freshness.facts(server.settings(), POD_CIDRS)
        given.append(round(server.patience))
    assert (given, server.asked) == ([3, 6, 8, 8], 5)


def test_status_is_patient_at_last_while_nothing_is_known(server: Server) -> None:
    """Without it a node whose server takes over a second would never be ready: no pod would start, and none ask."""
    server.fails = LATE
    given = []
    for _ in range(5):
        with pytest.raises(Unreachable):
            freshness.facts(server.settings(rate_limited=True))
        given.append(round(server.patience))
        server.age(31)
    assert given == [1, 2, 4, 8, 8]


def test_status_of_a_known_node_is_quick(server: Server) -> None:
    """With something to fall back on STATUS never waits for more than its second."""
    freshness.facts(server.settings(), POD_CIDRS)
    server.fails = LATE
    for _ in range(3):
        server.age(31)
        assert freshness.facts(server.settings(rate_limited=True), POD_CIDRS).name == "a"
        assert round(server.patience) == 1


def test_refused_connections_do_not_make_patient(server: Server) -> None:
    """What fails at once would only be tried for longer."""
    freshness.facts(server.settings(), POD_CIDRS)
    server.fails = AWAY
    for _ in range(2):
        server.age(31)
        freshness.facts(server.settings(), POD_CIDRS)
    assert round(server.patience) == 3


@pytest.mark.parametrize(("field", "asked"), [("e/x", 1), ("e/z", 1), ("e/y", 2)])
def test_answer_is_shared_with_who_wanted_the_same(server: Server, field: str, asked: int) -> None:
    """Who waited while another asked takes that answer: if it has what is wanted, or that was looked for in vain.

    Anything else may not have been in the server's cache yet, and is asked for again.
    """
    sought = "e/x" if field == "e/x" else "e/z"
    question = freshness._Query(server.settings(), field)
    freshness.facts(server.settings(), sought)
    server.node = make_node("a", ["10.0.1.0/24"], {"e/x": "1", "e/y": "2"})

    assert question.query(3.0).has(field) == (field != "e/z")
    assert server.asked == asked


def test_file_of_another_layout_is_passed_over(server: Server) -> None:
    """What an older version kept is as good as nothing: it is learnt anew."""
    freshness.facts(server.settings(), POD_CIDRS)
    path = Memory(server.settings()).path
    data = Path(path).read_bytes()
    Path(path).write_bytes(data.replace(b"node-ipam-2 ", b"node-ipam-1 ", 1))

    freshness.facts(server.settings(), POD_CIDRS)
    assert server.asked == 2


def test_what_rests_on_the_facts(server: Server) -> None:
    """A known answer holds until more is learnt, or the kubeconfig is another."""
    known = freshness.facts(server.settings(), POD_CIDRS)
    files = [path for path, _seen in freshness.rests_on(server.settings(), known)]

    assert files[:2] == [Memory(server.settings()).path, str(server.kubeconfig)]
    assert all(os.path.exists(path) for path in files[:2])
    assert tuple(files[2:]) == identity.MACHINE_ID_FILES
