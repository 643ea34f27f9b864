"""The plan of a sweep: every run with its price, what is refused, and what the budget can pay for."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from swept_backend import SweptBackend, job_on

from ftsdk import DPO, Dataset, DoRA, Eval, FineTuneJob, LoRA, SpecError, plan_sweep, sweep
from ftsdk.protocol import Capabilities
from ftsdk.testing import ScriptedBackend

RANKS = {"tuning.rank": [32, 8]}


def priced(tmp_path: Path, **changes: Any) -> FineTuneJob:
    """A rank costs up to 25 cents."""
    backend = SweptBackend(root=tmp_path / "there", most_usd=lambda spec: getattr(spec.tuning, "rank", 0) / 4)
    return job_on(backend, **{"tuning": LoRA(rank=16), **changes})


def test_a_plan_sends_and_writes_nothing(tmp_path: Path, ftsdk_home: Path) -> None:
    plan = plan_sweep(priced(tmp_path), RANKS, budget_usd=20)
    assert str(plan)
    assert not (tmp_path / "there").exists()
    assert not ftsdk_home.exists()


def test_the_cheapest_comes_first_and_the_costs_add_up(tmp_path: Path) -> None:
    plan = plan_sweep(priced(tmp_path), RANKS, budget_usd=20)
    assert [one.trial.label for one in plan.trials] == ["tuning.rank=8", "unchanged", "tuning.rank=32"]
    assert plan.total is not None
    assert (plan.total.low, plan.total.likely, plan.total.high) == (Decimal("3.5"), Decimal(7), Decimal(14))
    assert all(one.chance == "yes" for one in plan.trials)
    assert "$3.50 to $14.00 together, likely $7.00; at most $20.00, whatever happens" in str(plan)


def test_a_budget_that_is_too_small_says_which_runs_may_be_left_out(tmp_path: Path) -> None:
    plan = plan_sweep(priced(tmp_path), RANKS, budget_usd=7)
    assert [one.chance for one in plan.trials] == ["yes", "yes", "no: over the budget"]
    assert "tuning.rank=32: it may cost $8.00, more than the sweep's budget_usd=7" in str(plan)
    plan = plan_sweep(priced(tmp_path), RANKS, budget_usd=9)
    assert [one.chance for one in plan.trials] == ["yes", "yes", "if earlier ones cost less"]
    plan = plan_sweep(priced(tmp_path, budget_usd=3), RANKS, budget_usd=9)
    assert [one.chance for one in plan.trials] == ["yes", "no: over the budget", "no: over the budget"]


def test_billed_runs_need_a_budget(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"billed \(up to \$4\.00 for unchanged\); pass budget_usd="):
        plan_sweep(priced(tmp_path), RANKS)


def test_free_runs_need_none(tmp_path: Path) -> None:
    plan = plan_sweep(job_on(SweptBackend(root=tmp_path)), RANKS)
    assert plan.total is None
    assert "nothing is billed" in str(plan)


def test_a_refused_run_is_named_with_the_reason_and_the_others_stay(tmp_path: Path) -> None:
    everything = ScriptedBackend(root=tmp_path).capabilities
    backend = SweptBackend(
        root=tmp_path, capabilities=Capabilities.from_dict({**everything.to_dict(), "tunings": ["lora"]})
    )
    plan = plan_sweep(job_on(backend), {"tuning": [{"kind": "dora"}], "tuning.rank": [8]})
    assert [one.chance for one in plan.trials] == ["yes", "yes", "refused"]
    assert "tuning=dora: backend 'scripted'" in str(plan)
    assert "offered: lora" in str(plan) or "'lora'" in str(plan)
    with pytest.raises(SpecError, match=r"(?s)no run of the sweep can start:.*unchanged: "):
        sweep(job_on(backend, tuning=DoRA()), {"epochs": [1]})


def test_what_trains_the_same_is_run_once(tmp_path: Path) -> None:
    plan = plan_sweep(job_on(SweptBackend(root=tmp_path)), {"learning_rate": [2e-4, 1e-4]})
    by_label = {one.trial.label: one for one in plan.trials}
    assert by_label["learning_rate=0.0002"].chance == "same as another"
    assert by_label["learning_rate=0.0002"].reason == "trains exactly what 'unchanged' does, which is run once"
    assert by_label["learning_rate=0.0001"].chance == "yes"


def test_the_job_as_it_is_is_found_in_a_grid(tmp_path: Path) -> None:
    job = job_on(SweptBackend(root=tmp_path))
    settings = {"learning_rate": [1e-4, 2e-4], "tuning.rank": [16, 32]}
    assert plan_sweep(job, settings, grid=True).reference == "learning_rate=0.0002, tuning.rank=16"
    assert plan_sweep(job, {"epochs": [1, 2]}, grid=True).reference == ""


def test_a_sweep_needs_validation_data(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"chooses its winner on validation data.*split\(validation"):
        plan_sweep(job_on(SweptBackend(root=tmp_path), validation=None), RANKS)


def test_losses_that_cannot_be_compared_choose_no_winner(tmp_path: Path) -> None:
    job = job_on(SweptBackend(root=tmp_path))
    with pytest.raises(SpecError, match="max_length can't be swept by the validation loss"):
        plan_sweep(job, {"max_length": [64, 128]})
    with pytest.raises(SpecError, match="for methods that learn from pairs"):
        plan_sweep(job, RANKS, choose_by="reward_accuracy")
    with pytest.raises(SpecError, match="did you mean 'loss'"):
        plan_sweep(job, RANKS, choose_by="los")


def test_beta_is_chosen_by_what_it_does_not_scale(tmp_path: Path) -> None:
    rows = [{"q": f"q{n}", "good": f"yes {n}", "bad": "no"} for n in range(40)]
    pairs = Dataset.from_rows(rows).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")
    train, validation, _ = pairs.split(validation=0.3, seed=1)
    job = job_on(SweptBackend(root=tmp_path), train=train, validation=validation, method=DPO())
    with pytest.raises(SpecError, match="Use choose_by='reward_accuracy'"):
        plan_sweep(job, {"method.beta": [0.1, 0.3]})
    plan = plan_sweep(job, {"method.beta": [0.1, 0.3]}, choose_by="reward_accuracy")
    assert "winner: best reward_accuracy" in str(plan)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"budget_usd": 0}, "budget_usd"),
        ({"budget_usd": "20"}, "budget_usd"),
        ({"parallel": 0}, "parallel"),
        ({"parallel": True}, "parallel"),
        ({"stop": "medain"}, "did you mean 'median'"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        plan_sweep(job_on(SweptBackend(root=tmp_path)), RANKS, **options)


def test_a_plan_fits_a_terminal_and_is_data_and_html(tmp_path: Path) -> None:
    settings = {**RANKS, "learning_rate": [1e-4, 2e-4], "tuning": [{"kind": "dora", "rank": 8, "dropout": 0.1}]}
    plan = plan_sweep(priced(tmp_path), settings, budget_usd=20)
    assert max(len(line) for line in str(plan).splitlines() if not line.startswith("Note")) <= 110
    assert json.loads(json.dumps(plan.to_dict()))["trials"][0]["changes"] == {"tuning.rank": 8}
    assert "<td" in plan.to_html()


def test_a_single_validation_at_the_end_is_said_to_stop_nothing(tmp_path: Path) -> None:
    job = job_on(SweptBackend(root=tmp_path), epochs=1)
    assert "nothing can be stopped early" in str(plan_sweep(job, RANKS))
    assert "nothing can be stopped early" not in str(plan_sweep(job.replace(eval_steps=5), RANKS))


def test_an_eval_on_the_validation_rows_is_no_judge_of_the_winner(tmp_path: Path) -> None:
    job = job_on(SweptBackend(root=tmp_path))
    assert job.validation is not None
    job = job.replace(evals=[Eval.exact_match(job.validation, name="accuracy")])
    assert "the eval 'accuracy' has the rows of validation" in str(plan_sweep(job, RANKS))
