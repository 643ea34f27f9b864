"""Tasks of lm-eval on our targets."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from remembering_target import RememberingTarget

from ftsdk.errors import MissingExtraError, SpecError
from ftsdk.evals import FunctionTarget
from ftsdk.evals.suites.lm_eval_tasks import TaskScore, _Requests, lm_eval  # pyright: ignore[reportPrivateUsage]

HAS_LM_EVAL = importlib.util.find_spec("lm_eval") is not None
needs_lm_eval = pytest.mark.skipif(not HAS_LM_EVAL, reason="lm-eval isn't installed")

CHOICES = """
task: farm
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: label
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
ANSWERS = """
task: farm_open
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[label]}}"
generation_kwargs: {until: ["!"], max_gen_toks: 32, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


def requests(generator: Any) -> _Requests:
    made = _Requests()
    made.generator, made.name = generator, "tuned"
    return made


def request(*args: Any, doc_id: int = 0) -> SimpleNamespace:
    return SimpleNamespace(args=args, task_name="farm", doc_id=doc_id)


def test_answers_end_at_stop_texts_and_limits() -> None:
    asked = [
        request("cow", {"until": ["!", "\n"], "max_gen_toks": 32}),
        request("hen", {"until": "z", "max_gen_toks": 4}),
        request("cow", {}),
    ]
    found = requests(RememberingTarget({"cow": "moo! and\nmore", "hen": "cluck"})).generate_until(asked)

    assert found == ["moo", "cluc", "moo! and\nmore"]


def test_sampling_is_refused() -> None:
    with pytest.raises(SpecError, match="do_sample"):
        requests(RememberingTarget()).generate_until([request("cow", {"do_sample": True})])


def test_a_single_continuation_may_be_the_greedy_one() -> None:
    asked = [request("cow", " moo"), request("hen", " moo", doc_id=1), request("cow", "oink", doc_id=2)]
    found = requests(RememberingTarget({"cow": "moo", "hen": "cluck"})).loglikelihood(asked)

    assert found[0][0] > found[1][0]
    assert [is_greedy for _, is_greedy in found] == [True, False, False]


def test_likelihoods_of_plain_text_are_refused() -> None:
    with pytest.raises(SpecError, match="plain text"):
        requests(RememberingTarget()).loglikelihood_rolling([request("cow")])
    with (
        FunctionTarget(name="f", function=lambda _: "moo").open() as generator,
        pytest.raises(SpecError, match="likely"),
    ):
        requests(generator).loglikelihood([request("cow", "moo")])


@pytest.mark.skipif(HAS_LM_EVAL, reason="lm-eval is installed")
def test_without_lm_eval_the_extra_is_named() -> None:
    with pytest.raises(MissingExtraError, match="lm-eval"):
        lm_eval(["farm"], RememberingTarget())


@needs_lm_eval
@pytest.mark.filterwarnings("ignore")
def test_local_tasks_run_on_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = [
        {"question": "What does a cow say?", "choices": ["moo", "cluck"], "label": 0},
        {"question": "What does a hen say?", "choices": ["moo", "cluck"], "label": 1},
    ]
    file = tmp_path / "farm.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    for name, text in (("farm", CHOICES), ("farm_open", ANSWERS)):
        (tmp_path / f"{name}.yaml").write_text(text.replace("FILE", str(file)))
    target = RememberingTarget({"What does a cow say?": "moo! Yes", "What does a hen say?": "cluck"})
    found = lm_eval(["farm", "farm_open"], target, include_path=tmp_path)

    assert [(one.task, one.metric, one.value, one.n) for one in found if isinstance(one, TaskScore)] == [
        ("farm", "acc", 1.0, 2),
        ("farm_open", "exact_match", 1.0, 2),
    ]
    score = found[0].eval_score("tuned")
    assert (score.name, score.target, score.low, score.high) == ("farm", "tuned", 1.0, 1.0)
    with pytest.raises(SpecError, match="knows no task 'barn'"):
        lm_eval(["barn"], target, include_path=tmp_path)
