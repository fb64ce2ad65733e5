"""Times of several artifacts beside each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import TypeVar

Key = TypeVar("Key")
BURST_S, MOST_CALLS = 0.2, 15
"""Seconds and calls of a burst."""


def measure(
    calls: Mapping[Key, Callable[[], None]],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[Key, float], dict[Key, Exception]]:
    """The median time of each call in milliseconds, and the error of each that failed.

    Calls take turns in bursts, as calls that alternate one by one evict each other's weights from
    the caches. The first call of a burst is not counted where there are several.

    Args:
        calls: the functions to time.
        seconds: the time for all of them, warm-up included. Each is called once at least.
        clock: gives seconds.
    """
    end, share = clock() + seconds, seconds / max(len(calls), 1)
    times: dict[Key, list[float]] = {key: [] for key in calls}
    errors: dict[Key, Exception] = {}
    sizes: dict[Key, int] = {}
    rounds = 0
    while rounds < 1 or (clock() < end and len(errors) < len(calls)):
        for key, call in calls.items():
            if key in errors:
                continue
            try:
                if key in sizes:
                    times[key] += _burst(call, sizes[key], clock)
                else:
                    sizes[key], times[key] = _first_burst(call, share, clock)
            except Exception as error:  # TensorFlow raises many types
                errors[key] = error
        rounds += 1
    return {key: median(times[key]) * 1e3 for key in calls if key not in errors}, errors


def _first_burst(
    call: Callable[[], None], share: float, clock: Callable[[], float]
) -> tuple[int, list[float]]:
    """The number of calls of a burst, and the seconds of the calls of the first.

    `share`: where a call takes more seconds, it counts, although a first call takes longer.
    """
    first = _timed(call, clock)
    if first > share:
        return 1, [first]
    size = max(1, min(MOST_CALLS, int(BURST_S / max(_timed(call, clock), 1e-9))))
    return size, _burst(call, size, clock)


def _burst(call: Callable[[], None], size: int, clock: Callable[[], float]) -> list[float]:
    burst = [_timed(call, clock) for _ in range(size)]
    return burst[1:] or burst


def _timed(call: Callable[[], None], clock: Callable[[], float]) -> float:
    started = clock()
    call()
    return clock() - started
