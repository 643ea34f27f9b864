"""Waiting for a run in a thread of its own, for `await`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["wait_in_thread"]

T = TypeVar("T")


class _Stopped(BaseException):
    """Leaves the thread; derived from `BaseException` so that no retry catches it."""


async def wait_in_thread(wait: Callable[[Callable[[float], None]], T]) -> T:
    """Run a blocking wait in a thread, and stop it where it sleeps once the task is cancelled.

    The thread isn't one of asyncio's own few, so that a hundred runs can be waited for at once.

    Args:
        wait: Called in the thread with the function that it must sleep by.
    """
    stop = threading.Event()

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise _Stopped

    with_one_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ftsdk-wait")
    waiting = asyncio.get_running_loop().run_in_executor(with_one_thread, wait, sleep)
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        stop.set()
        # The result is fetched, or else asyncio complains about an exception that nobody saw.
        waiting.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        raise
    finally:
        with_one_thread.shutdown(wait=False)
