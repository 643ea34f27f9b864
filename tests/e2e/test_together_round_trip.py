"""Spec, service, adapter, evaluation: the whole way round, with weights that were really trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ftsdk import Eval, FineTuneJob, Run, Together

pytest.importorskip("together", reason="the extra 'together' isn't installed")
from ftsdk.testing.together import TogetherService, Weights

if TYPE_CHECKING:
    from ftsdk import Dataset

pytestmark = pytest.mark.e2e
HUB_ID = "Qwen/Qwen3.5-0.8B"


@pytest.fixture
def hub_model(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The tiny model where a model of the hub would lie, so that a base that the service tunes is at hand here too."""
    cache = tmp_path / "hub"
    snapshot = cache / f"models--{HUB_ID.replace('/', '--')}" / "snapshots" / "0123456789abcdef"
    shutil.copytree(tiny_model, snapshot)
    refs = snapshot.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text(snapshot.name)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    return HUB_ID


def answers(folder: Path) -> list[str]:
    return [json.loads(line)["output"] for line in (folder / "topic" / "tuned.jsonl").read_text().splitlines()]


def test_a_downloaded_adapter_answers_like_the_one_trained_here(
    make_job: Callable[..., FineTuneJob],
    hub_model: str,
    chat_rows: Callable[[int], Dataset],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topics = [Eval.exact_match(chat_rows(16), name="topic")]
    job = make_job(model=hub_model, evals=topics, allow_leaks=["evals.topic"], max_steps=30, epochs=8)
    here = job.submit().wait(progress=False, poll_s=0.05)
    report_here = here.evaluate(progress=False)
    with TogetherService(weights=Weights(adapter=here.collect().path)) as service:
        monkeypatch.setenv("TOGETHER_API_KEY", service.key)
        job = FineTuneJob(
            model=hub_model,
            train=chat_rows(64),
            epochs=2,
            evals=topics,
            allow_leaks=["evals.topic"],
            backend=Together(base_url=service.base_url, poll_s=0),
        )
        there = job.submit().wait(progress=False, poll_s=0.01)
        found = Run.open(there.ref).collect()
        report_there = there.evaluate(progress=False)
    assert found.kind == "adapter"
    assert found.base == hub_model
    assert report_there.folder is not None
    assert report_here.folder is not None
    assert answers(report_there.folder) == answers(report_here.folder)
    assert report_there.scores == report_here.scores
    tuned = next(score for score in report_there.scores if score.target == "tuned")
    base = next(score for score in report_there.scores if score.target == "base")
    assert tuned.value > base.value
