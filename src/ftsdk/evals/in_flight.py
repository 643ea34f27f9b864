"""Work on many numbers in threads: as much as is allowed at once, and no more before its results are kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import TypeVar

__all__ = ["finished"]

Result = TypeVar("Result")


def finished(
    work: Callable[[int], Result], numbers: Iterable[int], *, concurrency: int, is_over: threading.Event
) -> Generator[tuple[int, Future[Result]]]:
    """Work on each number, and yield it with its future as soon as that has ended, in any order.

    The next one starts when the consumer comes back for more, so whoever is killed loses at most `concurrency` results.

    Args:
        work: Called in threads.
        numbers: What to work on.
        concurrency: The most that is worked on at once.
        is_over: Once it is set, nothing more starts, and what is in flight is still yielded. It is set here if the
            consumer leaves early.
    """
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="ftsdk-ask")
    ended: SimpleQueue[tuple[int, Future[Result]]] = SimpleQueue()
    remaining = iter(numbers)
    in_flight = 0
    is_patient = False

    def start(count: int) -> int:
        started = 0
        for number in islice(remaining, count):
            future = pool.submit(work, number)
            future.add_done_callback(lambda future, number=number: ended.put((number, future)))
            started += 1
        return started

    try:
        in_flight += start(concurrency)
        while in_flight:
            number, future = ended.get()
            in_flight -= 1
            yield number, future
            if not is_over.is_set():
                in_flight += start(1)
        is_patient = True
    finally:
        if not is_patient:
            is_over.set()
        # Wait for threads to end, so that connections close cleanly, but not on Ctrl-C.
        pool.shutdown(wait=is_patient, cancel_futures=True)
