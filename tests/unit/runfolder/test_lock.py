"""The lock of a run's folder."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

from ftsdk.runfolder import lock


def _hold_and_wait(folder: Path, ready, leave) -> None:
    with lock.hold(folder) as held:
        assert held
        ready.set()
        leave.wait(30)


def test_a_lock_is_held_by_one_and_free_when_its_holder_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    holder = context.Process(target=_hold_and_wait, args=(tmp_path, ready, leave))
    holder.start()
    assert ready.wait(30)
    assert lock.is_held(tmp_path)
    assert lock.acquire(tmp_path, patience_s=0.05) is None
    found = lock.holder_of(tmp_path)
    assert found is not None
    assert found[0] == holder.pid
    holder.kill()
    holder.join()
    deadline = time.monotonic() + 5
    while lock.is_held(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert lock.holder_of(tmp_path) is None
