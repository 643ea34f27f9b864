"""A limit of time for Python code of others that runs in this process, such as a chat template."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["time_limit"]


class _TimeIsUp(BaseException):
    """Not an `Exception`, so that the code which takes too long doesn't catch it."""


@contextmanager
def time_limit(seconds: float) -> Generator[None]:
    """Raise in this thread if the block takes longer. A single call into C can't be interrupted before it returns.

    Raises:
        TimeoutError: It took longer.
    """
    thread, lock = threading.get_ident(), threading.Lock()
    is_over = is_late = False

    def interrupt() -> None:
        nonlocal is_late
        with lock:
            if not is_over:
                is_late = True
                _raise_in(thread, _TimeIsUp)

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        try:
            yield
        finally:
            timer.cancel()
            with lock:
                is_over = True
            if is_late:
                _raise_in(thread, None)  # what hasn't been raised yet would be raised anywhere
    except _TimeIsUp as error:
        raise TimeoutError(f"took longer than {seconds:g} s") from error
    if is_late:
        raise TimeoutError(f"took longer than {seconds:g} s")


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    raised = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
