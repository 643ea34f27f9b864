"""Sweeps on a scripted backend: budgets, rules, winners, seeds, kills, and two processes at once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from swept_backend import SweptBackend, job_on

from ftsdk import (
    BackendError,
    Dataset,
    EarlyStopping,
    Eval,
    FineTuneJob,
    FtsdkError,
    Run,
    RunNotFoundError,
    RunNotReadyError,
    SpecError,
    Sweep,
    sweep,
    sweeps,
)
from ftsdk.job.sweep.record import SweepFolder, sweep_ids
from ftsdk.job.sweep.runner import left_usd
from ftsdk.protocol import RunRef
from ftsdk.spec import JobSpec
from ftsdk.testing.scripts import SCRIPTS

RATES = {"learning_rate": [1e-4, 3e-4, 1e-3]}


def finish(started: Sweep, **options: Any) -> Sweep:
    return started.wait(progress=False, poll_s=0, **options)


def states(found: Sweep) -> dict[str, str]:
    return {one.label: one.state for one in found.table().configurations}


def two_validations(spec: JobSpec) -> list[float]:
    return [2.0, 1.0 + abs((spec.learning_rate or 2e-4) - 3e-4) * 1000]


# Winners.


def test_the_best_on_the_validation_data_wins(tmp_path: Path) -> None:
    found = finish(sweep(job_on(SweptBackend(root=tmp_path)), RATES, stop=None))
    table = found.table()
    assert table.is_over
    assert [one.label for one in table.configurations] == [
        "learning_rate=0.0003",
        "unchanged",
        "learning_rate=0.0001",
        "learning_rate=0.001",
    ]
    best = found.best()
    assert best.plan.spec.learning_rate == 3e-4
    assert best.sweep == {"id": found.id, "trial": 3, "changes": {"learning_rate": 3e-4}}
    assert Run.open(best.ref, backend=best.backend).sweep == best.sweep
    assert "best on the validation data: learning_rate=0.0003, loss 1.002" in str(table)


def test_seeds_give_the_spread_and_the_winner_is_that_of_the_means(tmp_path: Path) -> None:
    # One lucky seed of the worse rate is the best run of all.
    losses = {(1e-4, 1): 1.0, (1e-4, 2): 3.0, (3e-4, 1): 1.4, (3e-4, 2): 1.6}

    def by_seed(spec: JobSpec) -> list[float]:
        return [losses.get((spec.learning_rate or 0.0, spec.seed), 1.8)]

    job = job_on(SweptBackend(root=tmp_path, losses=by_seed))
    found = finish(sweep(job, {"learning_rate": [1e-4, 3e-4], "seed": [1, 2]}))
    table = found.table()
    assert table.best is not None
    assert (table.best.label, table.best.mean) == ("learning_rate=0.0003", 1.5)
    assert table.best.spread == pytest.approx(0.1414, abs=1e-3)
    assert found.best().plan.spec.seed == 1
    assert "1.5 ± 0.14" in str(table)
    assert "no more than two standard errors" in str(table)


def test_weights_of_the_best_validation_count_where_they_are_kept(tmp_path: Path) -> None:
    def late_rise(spec: JobSpec) -> list[float]:
        return [2.0, 1.0, 3.0] if spec.learning_rate == 1e-3 else [2.0, 1.5, 1.4]

    backend = SweptBackend(root=tmp_path, losses=late_rise)
    settings = {"learning_rate": [1e-3]}
    assert finish(sweep(job_on(backend), settings)).to_dict()["best"] == "unchanged"
    keeps = job_on(backend, early_stopping=EarlyStopping(patience=5))
    assert finish(sweep(keeps, settings)).to_dict()["best"] == "learning_rate=0.001"


def test_a_failed_run_stops_no_other_and_wins_nothing(tmp_path: Path) -> None:
    class Mixed(SweptBackend):
        def _entries_for(self, spec: JobSpec) -> Any:
            return SCRIPTS["fails"] if spec.learning_rate == 3e-4 else super()._entries_for(spec)

    found = finish(sweep(job_on(Mixed(root=tmp_path)), {"learning_rate": [1e-4, 3e-4]}))
    assert states(found) == {
        "unchanged": "succeeded",
        "learning_rate=0.0001": "succeeded",
        "learning_rate=0.0003": "failed",
    }
    assert "learning_rate=0.0003: failed; the loss became NaN" in str(found)


def test_nothing_measured_is_no_winner(tmp_path: Path) -> None:
    found = sweep(job_on(SweptBackend(root=tmp_path, losses=lambda _: [])), {"epochs": [1]})
    with pytest.raises(RunNotReadyError, match="measured"):
        found.best()
    finish(found)
    assert "no run was trained to its end and measured yet" in str(found)
    with pytest.raises(RunNotReadyError, match="measured"):
        found.plot(tmp_path / "plot.svg")


# Rules.


def test_a_hopeless_run_is_stopped_early(tmp_path: Path) -> None:
    backend = SweptBackend(root=tmp_path)
    found = finish(sweep(job_on(backend), RATES))
    assert states(found)["learning_rate=0.001"] == "stopped"
    assert "learning_rate=0.001: stopped; at 25% its best is 2.702, worse than the median 2.102 of 3 trials" in str(
        found
    )
    stopped = found.runs[3]
    assert stopped.status().state == "cancelled"
    assert [len(one.curve) for one in SweepFolder.of(found.id).progress().values()] == [4, 4, 4, 1]


def test_halving_stops_more(tmp_path: Path) -> None:
    found = finish(sweep(job_on(SweptBackend(root=tmp_path)), RATES, stop="halving"))
    assert list(states(found).values()).count("stopped") == 2
    assert found.best().plan.spec.learning_rate == 3e-4


def test_without_a_rule_all_run_to_their_end(tmp_path: Path) -> None:
    found = finish(sweep(job_on(SweptBackend(root=tmp_path)), RATES, stop=None))
    assert set(states(found).values()) == {"succeeded"}


# Money.


def test_what_a_run_cost_less_pays_for_later_ones(tmp_path: Path) -> None:
    """Upper estimates of $4 each, and a budget of $9: two fit at first, and four do once each turns out to cost $2."""
    backend = SweptBackend(root=tmp_path, most_usd=lambda _: 4.0, usd=lambda _: 2.0)
    found = finish(sweep(job_on(backend), RATES, budget_usd=9, stop=None))
    table = found.table()
    assert list(states(found).values()) == ["succeeded", "succeeded", "succeeded", "not run"]
    assert (table.spent_usd, table.reserved_usd) == (Decimal(6), Decimal(0))
    assert "not run; $3.00 is left, and it may cost $4.00" in str(table)
    assert len(backend.submitted()) == 3


def test_a_run_may_cost_what_was_set_aside_for_it_and_no_more(tmp_path: Path) -> None:
    backend = SweptBackend(root=tmp_path, most_usd=lambda _: 2.0, usd=lambda _: 1.0)
    found = finish(sweep(job_on(backend), {"epochs": [1]}, budget_usd=5, stop=None))
    # The budget has room for both, so each gets a quarter more than its estimate.
    assert [run.plan.spec.budget_usd for run in found.runs] == [Decimal("2.5"), Decimal("2.5")]
    assert found.table().spent_usd == 2


def test_without_a_price_the_estimate_stays_spent(tmp_path: Path) -> None:
    backend = SweptBackend(root=tmp_path, most_usd=lambda _: 2.0)
    found = finish(sweep(job_on(backend), {"epochs": [1]}, budget_usd=10))
    assert found.table().spent_usd == 4
    assert "at most $4.00 of $10.00 spent" in str(found)


def test_the_budget_of_the_job_goes_on_limiting_each_run(tmp_path: Path) -> None:
    backend = SweptBackend(root=tmp_path, most_usd=lambda _: 2.0, usd=lambda _: 1.0)
    found = finish(sweep(job_on(backend, budget_usd=2), {"epochs": [1]}, budget_usd=10))
    assert [run.plan.spec.budget_usd for run in found.runs] == [2, 2]


def test_a_run_over_its_share_is_cancelled_and_counted(tmp_path: Path) -> None:
    """It ends only when it is cancelled, and the service says on the way that it costs more than was set aside."""

    class Dear(SweptBackend):
        def _entries_for(self, spec: JobSpec) -> Any:
            entries = [dict(entry) for entry in super()._entries_for(spec)]
            entries[0]["price_usd"] = 3.0
            return entries

    backend = Dear(root=tmp_path, most_usd=lambda _: 2.0)
    found = finish(sweep(job_on(backend), {"epochs": [1]}, budget_usd=4))
    assert states(found) == {"unchanged": "over budget", "epochs=1": "not run"}
    assert found.table().spent_usd == 3


@pytest.mark.parametrize("seed", range(4))
def test_no_draw_of_prices_passes_the_budget(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    most = {rate: draw.uniform(0.5, 6.0) for rate in (None, 1e-4, 3e-4, 1e-3, 2e-3)}
    share = {rate: draw.uniform(0.3, 1.0) for rate in most}
    backend = SweptBackend(
        root=tmp_path,
        most_usd=lambda spec: most[spec.learning_rate],
        usd=lambda spec: share[spec.learning_rate] * most[spec.learning_rate],
    )
    settings = {"learning_rate": [rate for rate in most if rate]}
    seen: list[Decimal] = []
    found = sweep(job_on(backend), settings, budget_usd=7.5, parallel=1 + seed % 2)

    def look(_: str) -> None:
        seen.append(left_usd(Decimal("7.5"), SweepFolder.of(found.id).progress()))

    finish(found, on_message=look)
    assert min(seen) >= 0
    assert found.table().spent_usd <= Decimal("7.5")
    assert found.table().is_over
    assert len(set(backend.submitted())) == len(backend.submitted())


# Kills.


class Killed(BaseException):
    """The process dies here."""


class Dying(SweptBackend):
    """Dies with every request, before or after the service has got it, until it has died `times` times."""

    lives = 0

    def _send(self, call: str, **details: str) -> Any:
        if call == "submit" or type(self).lives <= 0:
            return super()._send(call, **details)
        type(self).lives -= 1
        found = super()._send(call, **details)
        if type(self).lives % 2:
            raise Killed
        return found

    def submit(self, plan: Any, *, key: str) -> RunRef:
        if type(self).lives > 0:
            type(self).lives -= 1
            if type(self).lives % 3 == 0:
                raise Killed
            found = super().submit(plan, key=key)
            if type(self).lives % 3 == 1:
                raise Killed
            return found
        return super().submit(plan, key=key)


def test_a_sweep_that_is_killed_again_and_again_starts_nothing_twice(tmp_path: Path) -> None:
    backend = Dying(root=tmp_path, losses=two_validations, most_usd=lambda _: 2.0, usd=lambda _: 1.0)
    Dying.lives = 40
    started: Sweep | None = None
    deaths = 0
    while True:
        try:
            if started is None and sweep_ids():
                started = Sweep.open(sweep_ids()[0], backend=backend)
            started = started or sweep(job_on(backend), RATES, budget_usd=8, stop=None)
            finish(Sweep.open(started.id, backend=backend))
        except Killed:
            deaths += 1
        else:
            break
    assert deaths >= 8
    assert started is not None
    assert set(states(started).values()) == {"succeeded"}
    assert started.table().spent_usd == 4
    assert len(backend.runs) == 4
    assert len(sweep_ids()) == 1


def test_a_lost_answer_is_no_second_run(tmp_path: Path) -> None:
    faults = [{"call": "submit", "first": 2, "loses_answer": True}, {"call": "events", "first": 5, "times": 2}]
    backend = SweptBackend(root=tmp_path, losses=two_validations, faults=faults)
    found = finish(sweep(job_on(backend), RATES, stop=None), sleep=lambda _: None)
    assert set(states(found).values()) == {"succeeded"}
    assert len(backend.runs) == 4
    assert len(backend.submitted()) == 5  # the same key twice is the same run


def test_a_backend_that_refuses_for_good_is_raised_and_the_sweep_goes_on_later(tmp_path: Path) -> None:
    fault = {"call": "submit", "first": 2, "retryable": False, "status_code": 400}
    backend = SweptBackend(root=tmp_path, losses=two_validations, faults=[fault])
    found = sweep(job_on(backend), RATES, stop=None)
    with pytest.raises(BackendError, match="out of order"):
        finish(found)
    assert set(states(finish(found)).values()) == {"succeeded"}


def test_a_process_that_is_killed_leaves_a_sweep_that_another_one_ends(tmp_path: Path, ftsdk_home: Path) -> None:
    script = f"""
from pathlib import Path
from swept_backend import SweptBackend, job_on
from ftsdk import sweep
found = sweep(job_on(SweptBackend(root=Path({str(tmp_path)!r}))), {{"learning_rate": [1e-4, 3e-4]}}, stop=None)
found.wait(progress=False, poll_s=0.2, on_message=lambda text: print(text, flush=True))
"""
    paths = os.pathsep.join([str(Path(__file__).parents[3] / "support"), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("learning_rate=0.0001: started"):
                break
        process.send_signal(signal.SIGKILL)
    backend = SweptBackend(root=tmp_path)
    found = Sweep.open(sweep_ids()[0], backend=backend)
    assert states(found)["learning_rate=0.0001"] == "running"
    finish(found)
    assert set(states(found).values()) == {"succeeded"}
    assert sorted(backend.submitted()) == [f"{found.id}-{n:02d}" for n in (1, 2, 3)]


def test_a_process_that_died_while_it_stopped_a_run_has_it_stopped_later(tmp_path: Path) -> None:
    found = sweep(job_on(SweptBackend(root=tmp_path)), {"epochs": [1]})
    folder = SweepFolder.of(found.id)
    progress = folder.progress()
    folder.write({**progress, 1: replace(progress[1], reason="it was hopeless")})
    assert states(finish(found)) == {"epochs=1": "succeeded", "unchanged": "stopped"}


def test_only_one_process_at_a_time_starts_runs(tmp_path: Path) -> None:
    backend = SweptBackend(root=tmp_path, losses=two_validations)
    found = sweep(job_on(backend), RATES)
    with SweepFolder.of(found.id).driving() as is_driver:
        assert is_driver
        with pytest.raises(TimeoutError, match="another process goes on with it"):
            finish(Sweep.open(found.id, backend=backend), timeout_s=0)
    assert len(backend.submitted()) == 1


def test_waiting_can_be_given_up_and_taken_up_again(tmp_path: Path) -> None:
    backend = SweptBackend(root=tmp_path, losses=two_validations)
    found = sweep(job_on(backend), RATES)
    with pytest.raises(TimeoutError):
        finish(found, timeout_s=0)
    assert states(found)["unchanged"] == "running"
    assert finish(found).table().is_over


# Several at a time, and cancelling.


def test_several_runs_go_on_at_the_same_time_within_the_budget(tmp_path: Path) -> None:
    backend = SweptBackend(root=tmp_path, losses=two_validations, most_usd=lambda _: 2.0, usd=lambda _: 1.0)
    found = sweep(job_on(backend), RATES, budget_usd=5, stop=None, parallel=3)
    # A third one doesn't fit before the first two have cost less than they might.
    assert list(states(found).values()).count("running") == 2
    finish(found)
    assert set(states(found).values()) == {"succeeded"}
    assert found.table().spent_usd == 4


def test_an_error_of_one_run_ends_the_waiting_for_all(tmp_path: Path) -> None:
    fault = {"call": "submit", "first": 3, "retryable": False}
    backend = SweptBackend(root=tmp_path, losses=two_validations, faults=[fault])
    found = sweep(job_on(backend), RATES, parallel=2, stop=None)
    with pytest.raises(BackendError):
        finish(found)
    assert set(states(finish(found)).values()) == {"succeeded"}
    assert len(backend.runs) == 4


def test_cancelling_stops_what_runs_and_starts_no_more(tmp_path: Path) -> None:
    backend = SweptBackend(root=tmp_path)
    found = sweep(job_on(backend), RATES)
    found.cancel()
    found.cancel()
    assert states(found) == {
        "unchanged": "cancelled",
        **{f"learning_rate={r}": "not run" for r in (0.0001, 0.0003, 0.001)},
    }
    assert finish(found).table().is_over
    assert len(backend.submitted()) == 1


# Records.


def test_a_sweep_is_found_again_with_its_rows_whatever_becomes_of_their_file(tmp_path: Path) -> None:
    file = tmp_path / "mails.csv"
    file.write_text("text,label\n" + "".join(f"mail {n},{'ab'[n % 2]}\n" for n in range(60)))
    data = Dataset.from_file(file).as_chat(prompt="{text}", completion="{label}")
    train, validation, _ = data.split(validation=0.3, seed=1)
    backend = SweptBackend(root=tmp_path / "there", losses=two_validations)
    job = job_on(backend, train=train, validation=validation)
    found = sweep(job, RATES)
    file.write_text("text,label\nother,a\n")
    again = Sweep.open(found.id, backend=backend)
    assert again.job.spec() == job.spec()
    assert str(again.plan()) == str(found.plan())
    finish(again)
    assert len({run.plan.spec.train.fingerprint for run in again.runs}) == 1


def test_an_unknown_or_damaged_sweep_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="no sweep '20261128-abcdef'"):
        Sweep.open("20261128-abcdef")
    with pytest.raises(RunNotFoundError, match="can't be the id"):
        Sweep.open("../runs")
    found = sweep(job_on(SweptBackend(root=tmp_path)), RATES)
    (SweepFolder.of(found.id).path / "sweep.json").write_text('{"version": 99}')
    with pytest.raises(FtsdkError, match="newer ftsdk"):
        Sweep.open(found.id)
    assert sweeps() == []


def test_table_plot_and_page_show_what_was_found(tmp_path: Path) -> None:
    found = finish(sweep(job_on(SweptBackend(root=tmp_path)), RATES))
    assert max(map(len, str(found).split("\n\n")[1].splitlines())) <= 80
    plot = found.plot(tmp_path / "sweep.svg")
    shapes = [element.tag.rpartition("}")[2] for element in ElementTree.fromstring(plot.read_text()).iter()]
    assert shapes.count("polyline") == 4
    assert "<svg" in found.to_html()
    assert json.loads(json.dumps(found.to_dict()))["best"] == "learning_rate=0.0003"
    with pytest.raises(SpecError, match=r"\.svg"):
        found.plot(tmp_path / "sweep.png")


def test_a_job_of_files_keeps_its_model_and_evals(tmp_path: Path, model_of_headers: Path, monkeypatch: Any) -> None:
    test = Dataset.from_rows([{"prompt": f"test {n}", "completion": "a"} for n in range(20)])
    monkeypatch.chdir(model_of_headers.parent)
    backend = SweptBackend(root=tmp_path / "there")
    job: FineTuneJob = job_on(backend, model="./model", evals=[Eval.exact_match(test, name="accuracy")])
    found = sweep(job, RATES)
    monkeypatch.chdir(tmp_path.parent)
    again = Sweep.open(found.id, backend=backend)
    assert again.job.spec().model.id == str(model_of_headers.resolve())
    assert [one.name for one in again.job.evals] == ["accuracy"]
    assert [one.name for one in again.runs[0].evals] == ["accuracy"]
