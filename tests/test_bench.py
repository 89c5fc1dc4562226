"""The bench measures what it says, and says when something is too slow."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.bench import report, scenarios
from tests.bench.measure import Failed, Meter, Sample, Series, checked
from tests.bench.stage import COPIED, INSTALLED, OTHER
from tests.support.runtime import Call

# Name, variant and what a sample of it is, when everything is as it should be.
GOOD = {
    (scenarios.BARE, ""): Sample(10, 9, 14, 0),
    (scenarios.FLOOR, ""): Sample(16, 15, 14, 0),
    (scenarios.BURST_FLOOR, ""): Sample(1000, 1800, 14, 0),
    (scenarios.WARM, COPIED): Sample(15, 17, 14, 0),
    (scenarios.WARM_ANNOTATION, COPIED): Sample(15, 17, 14, 0),
    (scenarios.REFRESH, INSTALLED): Sample(90, 80, 26, 1),
    (scenarios.REFRESH, COPIED): Sample(90, 80, 27, 1),
    (scenarios.REFRESH, OTHER): Sample(120, 80, 27, 1),
    (scenarios.REFRESH_LARGE, COPIED): Sample(92, 81, 26, 1),
    (scenarios.FIRST, COPIED): Sample(200, 190, 27, 1),
    (scenarios.BURST_FIRST, COPIED): Sample(1200, 2000, 26, 1),
}
SIZE = 1_900_000


@pytest.fixture
def meter() -> Iterator[Meter]:
    """A running meter."""
    running = Meter(sys.executable)
    yield running
    running.close()


def shell(script: str, stdin: bytes = b"") -> Call:
    """A process that does this."""
    return Call(("/bin/sh", "-c", script), {"PATH": "/usr/bin:/bin"}, stdin)


def table(row: tuple[str, str] = ("", ""), sample: Sample | None = None) -> report.Table:
    """What was measured when all was well, but for this row."""
    samples = {**GOOD, row: sample} if sample else GOOD
    made = {key: Series() for key in samples}
    for key, one in samples.items():
        made[key].samples.append(one)
    return made


def test_meter_keeps_order(meter: Meter) -> None:
    """Each sequence gives the answers of its own processes, in their order, whatever ends first."""
    sequences = [[shell("sleep 0.2; cat", b"slow"), shell("echo then")], [shell("cat >&2; exit 3", b"bad")]]
    _, found = meter.run(sequences, 2)
    answers = [[(answer.status, answer.stdout, answer.stderr) for answer, _, _ in each] for each in found]
    assert answers == [[(0, b"slow", ""), (0, b"then\n", "")], [(3, b"", "bad")]]


def test_meter_measures(meter: Meter) -> None:
    """Time passes by the clock, CPU time only for work; several at a time take less than in turn."""
    wall, ([(one, cpu, peak)], [(other, _, _)]) = meter.run([[shell("exec sleep 0.5")]] * 2, 2)
    _, [[(_, busy, _)]] = meter.run([[shell("i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done")]])
    assert min(one.seconds, other.seconds) >= 0.5
    assert 500 <= wall < (one.seconds + other.seconds) * 1000
    assert cpu < busy
    assert 0 < peak < 100


def test_failure_is_told(meter: Meter) -> None:
    """A process that fails stops the measurement with its own words."""
    call = shell("echo why; exit 7")
    _, [[(answer, _, _)]] = meter.run([[call]])
    with pytest.raises(Failed, match="status 7: .*why"):
        checked(call, answer)


@pytest.mark.parametrize(
    ("row", "sample", "what"),
    [
        ((scenarios.WARM, COPIED), Sample(17, 17, 14, 0), f"{scenarios.WARM}, copied"),
        ((scenarios.WARM_ANNOTATION, COPIED), Sample(17, 17, 14, 0), f"{scenarios.WARM_ANNOTATION}, copied"),
        ((scenarios.WARM, COPIED), Sample(15, 17, 17, 0), f"{scenarios.WARM}, peak of memory"),
        ((scenarios.WARM, COPIED), Sample(15, 17, 14, 1), f"{scenarios.WARM}, GETs"),
        ((scenarios.REFRESH, INSTALLED), Sample(80, 80, 26, 1), f"{scenarios.REFRESH}, copied"),
        ((scenarios.REFRESH, OTHER), Sample(100, 80, 26, 1), f"{scenarios.REFRESH}, copied"),
        ((scenarios.REFRESH, COPIED), Sample(90, 80, 41, 1), f"{scenarios.REFRESH}, peak of memory"),
        ((scenarios.REFRESH, COPIED), Sample(90, 80, 26, 2), f"{scenarios.REFRESH}, GETs"),
        ((scenarios.REFRESH_LARGE, COPIED), Sample(109, 80, 26, 1), f"{scenarios.REFRESH_LARGE}, copied"),
        ((scenarios.FIRST, COPIED), Sample(200, 80, 41, 1), f"{scenarios.FIRST}, peak of memory"),
        ((scenarios.FIRST, COPIED), Sample(200, 80, 26, 2), f"{scenarios.FIRST}, GETs"),
        ((scenarios.BURST_FIRST, COPIED), Sample(1401, 2000, 26, 1), f"{scenarios.BURST_FIRST}, copied"),
        ((scenarios.BURST_FIRST, COPIED), Sample(1200, 2000, 26, 2), f"{scenarios.BURST_FIRST}, GETs"),
    ],
)
def test_musts(row: tuple[str, str], sample: Sample, what: str) -> None:
    """Each must holds when all is well, and fails when what it is about is too much."""
    good = [must.what for must in report.musts(table(), SIZE) if not must.holds]
    bad = [must.what for must in report.musts(table(row, sample), SIZE) if not must.holds]
    assert (good, bad) == ([], [what])


def test_size_must() -> None:
    """An archive of more than 2.5 MB is too large."""
    assert [must.what for must in report.musts(table(), 2_500_001) if not must.holds] == ["size of the archive"]


@pytest.mark.parametrize("unicode", [True, False])
def test_table(unicode: bool) -> None:
    """Every row is there with its ratios and a bar, in ASCII where nothing else can be shown."""
    measured = table()
    text = report.text(measured, list(report.musts(measured, SIZE)), "head", unicode)
    (warm,) = (line for line in text.splitlines() if line.startswith(scenarios.WARM) and "<=" not in line)
    assert warm.split()[-3:] == ["0.94", "1.50", "███▊" if unicode else "####"]
    assert text.isascii() is not unicode
    assert "FAILS" not in text


@pytest.mark.parametrize(("rounds", "said"), [(3, True), (report.FEW, False)])
def test_few_rounds(rounds: int, said: bool) -> None:
    """A table of a few rounds says that they prove nothing."""
    measured = table()
    for series in measured.values():
        series.samples[:] = series.samples[:1] * rounds
    assert ("So few rounds prove nothing" in report.text(measured, [], "head", True)) == said
