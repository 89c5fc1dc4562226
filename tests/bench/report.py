"""What was measured, as a table for people or JSON for programs, and whether it is good enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.bench import scenarios
from tests.bench.measure import Series
from tests.bench.options import ROUNDS as DEFAULT
from tests.bench.stage import COPIED, INSTALLED, OTHER

Table = Mapping[tuple[str, str], Series]  # by name and variant

# What has to hold.
WARM_LIMIT = 1.0  # x floor
COPIED_LIMIT = 1.05  # x the same, installed
OTHER_LIMIT = 0.85  # x the other plugin, if one is measured: 0.1.0 as installed
LARGE_LIMIT = 1.15  # x the same in a cluster of one Node: what may be chance
BURST_LIMIT = 1.4  # x as many floors
FEW = 20  # rounds: fewer prove nothing
WARM_PEAK, COLD_PEAK = 16.0, 40.0  # MiB
ARCHIVE_LIMIT = 2.5  # MB

_BAR, _BAR_FLOORS = 24, 6  # characters, and how many floors they stand for
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_MB = 1e6


class Must(NamedTuple):
    """Something that has to hold: what was measured, what is allowed, and for times what the minima say."""

    what: str
    value: float
    limit: float
    unit: str = ""
    least: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.value <= self.limit


def musts(table: Table, archive_bytes: int) -> Iterator[Must]:
    """Everything that has to hold."""
    floor = table[scenarios.FLOOR, ""]
    for name in (scenarios.WARM, scenarios.WARM_ANNOTATION):
        warm = table[name, COPIED]
        yield _ratio(f"{name}, copied", warm, floor, WARM_LIMIT, "x floor")
        yield Must(f"{name}, peak of memory", warm.median("peak"), WARM_PEAK, "MiB")
        yield Must(f"{name}, GETs", warm.most("gets"), 0)
    refresh = table[scenarios.REFRESH, COPIED]
    installed, large = table[scenarios.REFRESH, INSTALLED], table[scenarios.REFRESH_LARGE, COPIED]
    yield _ratio(f"{scenarios.REFRESH}, copied", refresh, installed, COPIED_LIMIT, "x installed")
    yield _ratio(f"{scenarios.REFRESH_LARGE}, copied", large, refresh, LARGE_LIMIT, "x one Node")
    if (scenarios.REFRESH, OTHER) in table:
        other = table[scenarios.REFRESH, OTHER]
        yield _ratio(f"{scenarios.REFRESH}, copied", refresh, other, OTHER_LIMIT, "x other")
    for name in (scenarios.REFRESH, scenarios.FIRST):
        yield Must(f"{name}, peak of memory", table[name, COPIED].median("peak"), COLD_PEAK, "MiB")
        yield Must(f"{name}, GETs", table[name, COPIED].most("gets"), 1)
    burst = table[scenarios.BURST_FIRST, COPIED]
    yield _ratio(f"{scenarios.BURST_FIRST}, copied", burst, table[scenarios.BURST_FLOOR, ""], BURST_LIMIT, "x floors")
    yield Must(f"{scenarios.BURST_FIRST}, GETs", burst.most("gets"), 1)
    yield Must("size of the archive", archive_bytes / _MB, ARCHIVE_LIMIT, "MB")


def text(table: Table, checks: list[Must], head: str, unicode: bool) -> str:
    """A table, a bar for each row, and the verdict."""
    lines = [head, "", *_rows(table, unicode), ""]
    for must in checks:
        line = f"{'holds' if must.holds else 'FAILS'}  {must.what:<50}{must.value:8.2f}  <= {must.limit:g} {must.unit}"
        lines.append((line if must.least is None else f"{line:<92} by the minima {must.least:.2f}").rstrip())
    if len(table[scenarios.BARE, ""].samples) < FEW:
        lines.append(f"\nSo few rounds prove nothing: {FEW} at least, {DEFAULT} by default.")
    return "\n".join(lines) + "\n"


def data(table: Table, checks: list[Must], facts: Mapping[str, object]) -> dict[str, Any]:
    """The same for programs: ms, MiB, and ratios to the floor (of as many ADDs) and to the bare interpreter."""
    bare = table[scenarios.BARE, ""].median("wall")
    rows: list[dict[str, object]] = []
    for (name, variant), series in table.items():
        row: dict[str, object] = {"name": name, "variant": variant, "samples": len(series.samples)}
        for field, key in (("wall", "wall_ms"), ("cpu", "cpu_ms"), ("peak", "peak_mib"), ("gets", "gets")):
            numbers = (series.median(field), series.least(field), series.most(field))
            row |= {each: round(number, 3) for each, number in zip((key, f"{key}_min", f"{key}_max"), numbers)}
        wall = series.median("wall")
        rows.append({**row, "to_floor": round(wall / _floor(table, name), 3), "to_bare": round(wall / bare, 3)})
    held = [{**must._asdict(), "holds": must.holds} for must in checks]
    return {**facts, "rows": rows, "musts": held, "all_hold": all(must.holds for must in checks)}


def _ratio(what: str, series: Series, to: Series, limit: float, unit: str) -> Must:
    median, least = series.median("wall") / to.median("wall"), series.least("wall") / to.least("wall")
    return Must(what, median, limit, unit, least)


def _rows(table: Table, unicode: bool) -> Iterator[str]:
    bare = table[scenarios.BARE, ""].median("wall")
    lowest = min(series.median("peak") for series in table.values())
    yield f"{'':40}{'wall ms':>16}{'CPU ms':>16}{'MiB':>7}{'GETs':>5}{'x floor':>9}{'x bare':>8}"
    yield f"{'':40}{'median':>9}{'min':>7}{'median':>9}{'min':>7}"
    last = ""
    for (name, variant), series in table.items():
        wall, cpu, peak = map(series.median, ("wall", "cpu", "peak"))
        line = f"{name if name != last else '':<30}{variant:<10}"
        line += f"{wall:9.1f}{series.least('wall'):7.1f}{cpu:9.1f}{series.least('cpu'):7.1f}"
        # What is no larger than the meter itself is not seen, see meter.py.
        line += f"{'<' if peak < lowest + 0.1 else '':>2}{peak:5.1f}{series.median('gets'):5.0f}"
        ratio = wall / _floor(table, name)
        line += f"{ratio:9.2f}{'' if _is_burst(name) else f'{wall / bare:.2f}':>8}  {_bar(ratio, unicode)}"
        yield line.rstrip()
        last = name


def _floor(table: Table, name: str) -> float:
    return table[scenarios.BURST_FLOOR if _is_burst(name) else scenarios.FLOOR, ""].median("wall")


def _is_burst(name: str) -> bool:
    return name.startswith(f"{scenarios.BURST} ")


def _bar(floors: float, unicode: bool) -> str:
    if floors > _BAR_FLOORS:
        return ("█" if unicode else "#") * (_BAR - 1) + ("▸" if unicode else ">")
    eighths = max(round(floors / _BAR_FLOORS * _BAR * 8), 1)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip() if unicode else "#" * round(eighths / 8)
