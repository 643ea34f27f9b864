"""`sweep()`: runs of one job that differ in its settings, within one budget."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ftsdk.errors import SpecError
from ftsdk.job.job import FineTuneJob
from ftsdk.job.submitting import new_key, store_data, stored_eval, stored_recipe
from ftsdk.job.sweep.plan import SweepPlan, plan_sweep
from ftsdk.job.sweep.record import SweepFolder, SweepRecord, TrialProgress
from ftsdk.job.sweep.rules import StopRule
from ftsdk.job.sweep.runner import SweepRunner
from ftsdk.job.sweep.settings import Settings
from ftsdk.job.sweep.sweep import Sweep
from ftsdk.run.home_access import check_home

__all__ = ["start_sweep", "sweep"]

_log = logging.getLogger(__name__)


def sweep(
    job: FineTuneJob,
    settings: Settings,
    *,
    budget_usd: Decimal | float | None = None,
    grid: bool = False,
    stop: StopRule | str | None = "median",
    choose_by: str = "loss",
    parallel: int = 1,
) -> Sweep:
    """Start a sweep, and return at once: its first run is submitted, and `sweep.wait()` starts and judges the others.

    Everything is written down before the first request, so the sweep is found again if this process dies:
    `Sweep.open(id).wait()`. All runs together never cost more than `budget_usd`: the upper estimate of a run is set
    aside before it starts, and replaced by what it cost when it has ended.

    Args:
        job: The job as it is; its `budget_usd` goes on limiting each run.
        settings: Lists of values by dotted path: `{"learning_rate": [1e-4, 2e-4], "tuning.rank": [16, 32]}`. `"seed"`
            repeats each configuration with each of its values.
        budget_usd: The most that all runs may cost together, in US dollars; required where runs are billed.
        grid: False: the job as it is, and one run for each value that changes one thing. True: each combination.
        stop: The rule by which runs are stopped early: `"median"`, `"halving"`, a `MedianRule(...)` or
            `SuccessiveHalving(...)`, or None.
        choose_by: The validation metric that the winner is best in: `"loss"`, or, for methods that learn from pairs,
            `"reward_accuracy"` or `"reward_margin"`.
        parallel: How many runs may go on at the same time. Several on one machine slow each other down.

    Raises:
        SpecError: A path or a value that the job can't have; no validation data; or no run can start, with the reasons.
        BackendError: The backend refused the first run, or can't be reached.
    """
    plan = plan_sweep(
        job, settings, budget_usd=budget_usd, grid=grid, stop=stop, choose_by=choose_by, parallel=parallel
    )
    return start_sweep(plan)


def start_sweep(plan: SweepPlan, *, on_message: Callable[[str], None] | None = None) -> Sweep:
    """Start the sweep of a plan. See `sweep`.

    Args:
        plan: From `plan_sweep`.
        on_message: Called with one sentence as runs start.

    Raises:
        SpecError: No run can start, with the reasons.
    """
    if not any(one.is_runnable for one in plan.trials):
        reasons = "\n".join(f"  {one.trial.label}: {one.reason}" for one in plan.trials)
        raise SpecError(f"no run of the sweep can start:\n{reasons}")
    check_home()
    job = plan.job
    store_data(job)
    record = SweepRecord(
        id=new_key(),
        created_at=time.time(),
        job=_stored_job(job),
        settings=plan.settings,
        trials=tuple(one.trial for one in plan.trials),
        first={
            one.trial.number: TrialProgress(
                state="refused" if one.chance == "refused" else "not run", reason=one.reason
            )
            for one in plan.trials
            if not one.is_runnable
        },
        reference=plan.reference,
        budget_usd=plan.budget_usd,
        headroom=plan.headroom,
        is_grid=plan.is_grid,
        rule=None if plan.rule is None else plan.rule.to_dict(),
        choose_by=plan.choose_by,
        parallel=plan.parallel,
    )
    folder = SweepFolder.of(record.id)
    folder.create(record)
    with folder.driving() as is_driver:
        assert is_driver
        SweepRunner(folder=folder, record=record, job=job, on_message=on_message or _log.info).start()
    return Sweep(record, folder, job)


def _stored_job(job: FineTuneJob) -> dict[str, Any]:
    """Return a job as plain data whose rows are in the store: the files that they came from may change."""
    data = job.to_dict()
    # A folder's path must mean the same in a process that was started elsewhere.
    data["model"] = job.spec().model.to_dict()
    data["train"] = stored_recipe(job.train)
    if job.validation is not None:
        data["validation"] = stored_recipe(job.validation)
    if job.evals:
        data["evals"] = [stored_eval(one) for one in job.evals]
    return data
