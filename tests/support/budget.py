"""How many random examples tests try: the same ones each time, or with FUZZ=N new ones, N times as many.

Among them are words of the modules that are loaded, so that other tests before it may change what a test gets.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("FUZZ", "0"))


def examples(number: int) -> settings:
    """So many examples of a test; no time limit, as the machine may be busy."""
    return settings(
        max_examples=number * max(TIMES, 1),
        derandomize=TIMES == 0,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
