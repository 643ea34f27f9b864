"""Whatever is in the place of a run's files: an error of ours or a status, and never a hang."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import ftsdk
from ftsdk import FineTuneJob, FtsdkError, Run
from ftsdk.data import Dataset
from ftsdk.run.removal import plan_removal

CONTENTS: dict[str, Callable[[Path], object]] = {
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\xff\xfe garbage"),
    "deep": lambda path: path.write_bytes(b"[" * 100_000),
}


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", ["run.json", "events.jsonl", "cancel", "worker.lock", "record.local.json"])
def test_a_damaged_file_of_a_run_is_an_error_of_ours(
    name: str, content: str, ftsdk_home: Path, model_of_headers: Path
) -> None:
    train = Dataset.from_rows([{"prompt": f"a{n}", "completion": "b"} for n in range(4)])
    run = FineTuneJob(model=str(model_of_headers), train=train, backend="local").submit()
    run.cancel()
    file = ftsdk_home / "runs" / run.ref.split(":")[1] / name
    file.unlink(missing_ok=True)
    CONTENTS[content](file)
    opened = Run.open(run.ref)
    asked: tuple[Callable[[], object], ...] = (
        opened.status,
        opened.events,
        opened.resume,
        lambda: opened.cancel(wait_s=0),
        opened.collect,
        lambda: plan_removal(run.ref),
        lambda: ftsdk.runs().rows(),
    )
    for ask in asked:
        with suppress(FtsdkError):
            ask()
    assert "<table>" in opened._repr_html_()
