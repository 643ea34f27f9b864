"""Work on batches in a few threads, results in order: Arrow, NumPy and rensa let go of the interpreter meanwhile."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_threads"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_MOST = 4
"""More threads wait for the interpreter, and each holds a batch."""


def in_threads(function: Callable[[_In], _Out], batches: Iterable[_In]) -> Iterator[_Out]:
    """Yield what the function makes of each batch, in their order. At most a few batches are in memory at a time."""
    workers = min(_MOST, os.cpu_count() or 1)
    waiting: deque[Future[_Out]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="ftsdk-data") as pool:
        for batch in batches:
            waiting.append(pool.submit(function, batch))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
