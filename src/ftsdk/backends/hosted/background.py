"""Calling a function again and again in a background thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator

__all__ = ["repeating"]


@contextlib.contextmanager
def repeating(action: Callable[[], None], *, every_s: float, name: str) -> Generator[None]:
    """Call a function in a background thread, first after one interval and then once an interval, until the block ends.

    When the block has ended, no call is in progress.

    Args:
        action: The function. It must not raise.
        every_s: The interval, in seconds.
        name: The name of the thread.
    """
    is_over = threading.Event()

    def repeat() -> None:
        while not is_over.wait(every_s):
            action()

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
