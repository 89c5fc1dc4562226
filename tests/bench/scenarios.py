"""The rows: what is measured, with what happens before and after it unmeasured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.bench.measure import Sample
from tests.bench.stage import COPIED, INSTALLED, OTHER, Place, Stage
from tests.support.runtime import Config, Pod

BARE, HOST_LOCAL, FLOOR = "bare interpreter", "host-local ADD", "floor: the two, in turn"
WARM, WARM_ANNOTATION = "kube-node ADD, known", "node-annotation ADD, known"
PARSED = "kube-node ADD, other bytes"
REFRESH, REFRESH_LARGE = "kube-node ADD, refresh", "kube-node ADD, refresh, large"
FIRST = "first ADD after boot"
BURST_FLOOR, BURST_FIRST, BURST_WARM = "100 floors", "100 ADDs after boot", "100 ADDs, known"
NOTHING = ""  # the variant of what is not a plugin

BURST, WIDTH = 100, 8
OFTEN = 3  # samples in each round where the limit is near
POD = Pod("web-1")


class Row(NamedTuple):
    """One line of the table: measure() takes one sample; times: of each round; rare ones are not taken in each."""

    name: str
    variant: str
    measure: Callable[[], Sample]
    rare: bool = False
    times: int = 1


def rows(stage: Stage) -> Iterator[Row]:
    """All rows, in the order of the table."""
    yield from _floors(stage)
    number = 10
    for name, kind, large, action in _ACTIONS:
        for variant in _VARIANTS.get(name, (INSTALLED, COPIED, OTHER)):
            if variant in stage.variants():
                place = stage.place(number, variant, kind, large)
                number += 1
                times = OFTEN if name in (WARM, WARM_ANNOTATION, REFRESH) else 1
                yield Row(name, variant, _bound(action, stage, place), name in (BURST_FIRST, BURST_WARM), times)


def _floors(stage: Stage) -> Iterator[Row]:
    alone, both, many = (stage.place(number, INSTALLED) for number in range(3))

    def add(place: Place, before: bool) -> Sample:
        call = place.runtime.call("ADD", place.next_plugin, POD)
        sample, _ = stage.time([[stage.bare(call), call] if before else [call]])
        place.take_back(POD)
        return sample

    def burst() -> Sample:
        many.reset()
        calls = [many.runtime.call("ADD", many.next_plugin, pod) for pod in _crowd()]
        return stage.time([[stage.bare(call), call] for call in calls], WIDTH)[0]

    bare = stage.bare(alone.runtime.call("ADD", alone.next_plugin, POD))
    yield Row(BARE, NOTHING, lambda: stage.time([[bare]])[0])
    yield Row(HOST_LOCAL, NOTHING, lambda: add(alone, before=False))
    yield Row(FLOOR, NOTHING, lambda: add(both, before=True), times=OFTEN)
    yield Row(BURST_FLOOR, NOTHING, burst, rare=True)


def _bound(action: Callable[[Stage, Place], Sample], stage: Stage, place: Place) -> Callable[[], Sample]:
    return lambda: action(stage, place)


def _add(stage: Stage, place: Place, config: Config | None = None) -> Sample:
    sample, _ = stage.time([[place.call("ADD", POD, config)]])
    place.take_back(POD)
    return sample


def _add_parsed(stage: Stage, place: Place) -> Sample:
    """As with a capability in use: each pod has a request of its own."""
    place.serial += 1
    return _add(stage, place, {**place.config, "runtimeConfig": {"portMappings": [{"hostPort": place.serial}]}})


def _add_refresh(stage: Stage, place: Place) -> Sample:
    """As on a quiet node: the Node is known, but for longer than cacheSeconds, so the server is asked."""
    return _add(stage, place, {**place.config, "ipam": {**place.config["ipam"], "cacheSeconds": 0.001}})


def _add_first(stage: Stage, place: Place) -> Sample:
    """With an empty cache directory: neither the Node is known nor is there byte code."""
    place.reset()
    return _add(stage, place)


def _delete(stage: Stage, place: Place) -> Sample:
    place.lend(POD)
    return stage.time([[place.call("DEL", POD)]])[0]


def _check(stage: Stage, place: Place) -> Sample:
    place.lend(POD)
    sample, _ = stage.time([[place.call("CHECK", POD)]])
    place.take_back(POD)
    return sample


def _status(stage: Stage, place: Place) -> Sample:
    return stage.time([[place.call("STATUS", None, {**place.config, "cniVersion": "1.1.0"})]])[0]


def _version(stage: Stage, place: Place) -> Sample:
    if not place.serial:  # once, so that there is byte code, which VERSION leaves to others
        place.serial = 1
        stage.do(place.call("STATUS", None, {**place.config, "cniVersion": "1.1.0"}))
    return stage.time([[place.call("VERSION", None)]])[0]


def _burst_first(stage: Stage, place: Place) -> Sample:
    place.reset()
    return _burst(stage, place)


def _burst_warm(stage: Stage, place: Place) -> Sample:
    place.reset()
    stage.do(place.call("ADD", POD))
    return _burst(stage, place)


def _burst(stage: Stage, place: Place) -> Sample:
    return stage.time([[place.call("ADD", pod)] for pod in _crowd()], WIDTH)[0]


def _crowd() -> list[Pod]:
    return [Pod(f"crowd-{number}") for number in range(BURST)]


_KUBE, _ANNOTATION = "kube-node", "node-annotation"
# name, plugin, in the large cluster, how a sample is taken
_ACTIONS: list[tuple[str, str, bool, Callable[[Stage, Place], Sample]]] = [
    (WARM, _KUBE, False, _add),
    (WARM_ANNOTATION, _ANNOTATION, False, _add),
    (PARSED, _KUBE, False, _add_parsed),
    (REFRESH, _KUBE, False, _add_refresh),
    (REFRESH_LARGE, _KUBE, True, _add_refresh),
    (FIRST, _KUBE, False, _add_first),
    ("kube-node DEL", _KUBE, False, _delete),
    ("kube-node CHECK", _KUBE, False, _check),
    ("kube-node STATUS", _KUBE, False, _status),
    ("kube-node VERSION", _KUBE, False, _version),
    (BURST_FIRST, _KUBE, False, _burst_first),
    (BURST_WARM, _KUBE, False, _burst_warm),
]
_VARIANTS = {WARM_ANNOTATION: (INSTALLED, COPIED), REFRESH_LARGE: (COPIED, OTHER)}
