"""`await`: waiting for runs without blocking the event loop."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from ftsdk.protocol import Plan, RunRef
from ftsdk.run.async_wait import wait_in_thread
from ftsdk.run.ledger import Ledger, Record
from ftsdk.run.run import Run
from ftsdk.run.submission import submit
from ftsdk.testing import ScriptedBackend, a_spec


def _run(tmp_path: Path, script: str) -> Run:
    backend = ScriptedBackend(root=tmp_path / "place", script=script)
    plan: Plan = backend.plan(a_spec())
    ledger = Ledger()
    ref = RunRef(backend=backend.name, id=f"run-{script}")
    record = ledger.intend(Record(ref=str(ref), name=None, plan=plan.to_dict(), options={}))
    return Run(submit(record, plan, backend, ledger), backend, ledger=ledger)


def test_a_run_is_awaited_to_its_end(tmp_path: Path) -> None:
    run = _run(tmp_path, "succeeds")
    assert asyncio.run(run.wait_async(poll_s=0)) is run
    assert asyncio.run(run.status_async()).state == "succeeded"


def test_a_timeout_is_that_of_wait(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="continues in the background"):
        asyncio.run(_run(tmp_path, "never_ends").wait_async(timeout_s=0.05, poll_s=0.01))


def test_cancelling_the_task_ends_its_thread() -> None:
    ended = threading.Event()

    def forever(sleep):
        try:
            while True:
                sleep(60.0)
        finally:
            ended.set()

    async def wait_and_follow() -> None:
        task = asyncio.create_task(wait_in_thread(forever))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(wait_and_follow())
    assert ended.wait(5)
