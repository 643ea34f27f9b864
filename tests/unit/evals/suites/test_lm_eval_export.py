"""Evals as tasks of lm-eval."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from remembering_target import RememberingTarget

from ftsdk.errors import SpecError
from ftsdk.evals import Eval
from ftsdk.evals.suites import general
from ftsdk.evals.suites.lm_eval_export import write_lm_eval_task
from ftsdk.evals.suites.lm_eval_tasks import TaskScore, lm_eval

HAS_LM_EVAL = importlib.util.find_spec("lm_eval") is not None
FARM = [("What does a {{cow}} say?", "moo"), ("What does a hen say?", "cluck"), ("And a \n calf?", "moo")]


def test_an_exact_match_becomes_a_task_that_generates(make_rows: Callable[..., Any], tmp_path: Path) -> None:
    item = Eval.exact_match(make_rows(*FARM), name="farm", max_new_tokens=9, ignore_case=True)
    written = yaml.safe_load(write_lm_eval_task(item, tmp_path / "tasks").read_text())
    (file,) = written["dataset_kwargs"]["data_files"].values()

    assert Path(file).is_absolute()
    assert [json.loads(line)["prompt"] for line in Path(file).read_text().splitlines()] == [one for one, _ in FARM]
    assert written["generation_kwargs"] == {"until": [], "do_sample": False, "max_gen_toks": 9}
    assert written["metric_list"][0]["ignore_case"] is True


def test_a_choice_becomes_multiple_choice(make_rows: Callable[..., Any], tmp_path: Path) -> None:
    written = yaml.safe_load(
        write_lm_eval_task(Eval.of(make_rows(*FARM), "choice", name="sound"), tmp_path).read_text()
    )
    docs = [json.loads(line) for line in (tmp_path / "sound.jsonl").read_text().splitlines()]

    assert written["output_type"] == "multiple_choice"
    assert [(doc["choices"], doc["label"]) for doc in docs] == [(["cluck", "moo"], label) for label in (1, 0, 1)]


def test_what_lm_eval_cannot_do_is_refused(make_rows: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="item_check"):
        write_lm_eval_task(general()[0], tmp_path)
    with pytest.raises(SpecError, match="strip=False"):
        write_lm_eval_task(Eval.exact_match(make_rows(*FARM), strip=False), tmp_path)
    with pytest.raises(SpecError, match="2 to 100 classes"):
        write_lm_eval_task(Eval.of(make_rows(FARM[0]), "choice"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_metric_without_an_error_has_no_interval() -> None:
    with pytest.raises(SpecError, match="no standard error"):
        TaskScore(task="farm", metric="acc", value=1.0, stderr=None, n=2).eval_score("tuned")


@pytest.mark.skipif(not HAS_LM_EVAL, reason="lm-eval isn't installed")
@pytest.mark.filterwarnings("ignore")
def test_lm_eval_runs_what_was_written(
    make_rows: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = make_rows(*FARM)
    write_lm_eval_task(Eval.exact_match(rows, name="farm_text"), tmp_path)
    write_lm_eval_task(Eval.of(rows, "choice", name="farm_choice"), tmp_path)
    memory = {**dict(FARM), FARM[1][0]: "moo"}
    memory[FARM[0][0]] = " moo\n"
    found = lm_eval(["farm_text"], RememberingTarget(memory), include_path=tmp_path)
    memory[FARM[0][0]] = "moo"
    found += lm_eval(["farm_choice"], RememberingTarget(memory), include_path=tmp_path)

    assert [(one.task, one.metric, round(one.value, 3), one.n) for one in found] == [
        ("farm_text", "exact_match", 0.667, 3),
        ("farm_choice", "acc", 0.667, 3),
    ]
