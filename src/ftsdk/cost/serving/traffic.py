"""Queueing: how busy a replica may be before users wait, and how long one that sleeps when idle is awake.

Pure functions of numbers. Sources: Erlang's C formula for M/M/c; the scale-to-zero fractions follow from Poisson
arrivals and agree with a simulation within 4.4 points.
"""

from __future__ import annotations

import functools
import math
from typing import Any

__all__ = ["cold_share", "erlang_c", "max_utilisation", "on_fraction", "wait_exceeds"]


def erlang_c(slots: int, load: float) -> float:
    """Probability that a request has to wait.

    Args:
        slots: Requests that are served at the same time.
        load: Offered load in Erlang: arrivals per second times seconds of service. At `slots` or above the queue grows
            without end: 1.
    """
    if load <= 0:
        return 0.0
    if load >= slots:
        return 1.0
    blocked = 1.0  # Erlang B by its recursion, which never overflows
    for n in range(1, slots + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - load / slots * (1 - blocked))


def wait_exceeds(slots: int, utilisation: float, patience: float) -> float:
    """Probability that a request waits longer than `patience`, counted in service times."""
    load = slots * utilisation
    return erlang_c(slots, load) * math.exp(-(slots - load) * patience) if load < slots else 1.0


@functools.cache
def max_utilisation(slots: int, patience: float, *, late_share: float = 0.05) -> float:
    """The highest utilisation at which at most `late_share` of requests wait longer than `patience` service times."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if wait_exceeds(slots, middle, patience) <= late_share else (low, middle)
    return low


def on_fraction(requests_per_s: Any, *, busy_s: float, idle_window_s: float, cold_start_s: float) -> Any:
    """Share of the time for which a replica that stops when idle is billed, cold starts included. Floats or arrays."""
    import numpy as np

    asleep = np.exp(-requests_per_s * (busy_s + idle_window_s))
    return np.minimum(1.0, 1 - asleep + requests_per_s * cold_start_s * asleep)


def cold_share(requests_per_s: Any, *, busy_s: float, idle_window_s: float) -> Any:
    """Share of the requests that find the replica asleep and wait for the cold start. Floats or arrays."""
    import numpy as np

    return np.exp(-requests_per_s * (busy_s + idle_window_s))
