"""The plan of a sweep: every run it may make, what each and all of them cost, and which the budget can pay for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any, Literal

from ftsdk._format import duration, escaped, html_block, html_table, money, notes_html, text_table
from ftsdk._numbers import as_json_number, exact_amount
from ftsdk._rich_text import rich_text
from ftsdk.errors import FtsdkError, SpecError
from ftsdk.job.sweep.metric import check_metric
from ftsdk.job.sweep.rules import StopRule, read_rule
from ftsdk.job.sweep.settings import UNCHANGED, Settings, Trial, changed, label_of, read_settings, trials_of
from ftsdk.protocol import CostRange, Plan
from ftsdk.protocol.billing import HourlyBilling, NotBilled
from ftsdk.spec import Range
from ftsdk.spec.amounts import check_amount
from ftsdk.spec.positional import by_name_only

if TYPE_CHECKING:
    from ftsdk.job.job import FineTuneJob

__all__ = ["PlannedTrial", "SweepPlan", "need_of", "plan_sweep"]

_MOST_HEADROOM = 2
"""How many times its upper estimate is set aside for a run where the budget has room for all of them."""
_CENT = Decimal("0.01")
Chance = Literal["yes", "if earlier ones cost less", "no: over the budget", "refused", "same as another"]


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """One run that a sweep may make."""

    trial: Trial
    cost: CostRange | None = None
    """None: nothing is billed, or the trial isn't run."""
    seconds: Range | None = None
    """Time, where it can be estimated."""
    need_usd: Decimal = Decimal(0)
    """The most that it may cost by the estimate, in US dollars, which must be left for it to start."""
    chance: Chance = "yes"
    """Whether it will be run."""
    reason: str = ""
    """Why it isn't: the backend's refusal, or the trial that trains the same."""
    plan: Plan | None = None

    @property
    def is_runnable(self) -> bool:
        """Whether it may be run."""
        return self.chance in ("yes", "if earlier ones cost less")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "number": self.trial.number,
            "changes": self.trial.changes,
            "label": self.trial.label,
            "runs": self.chance,
            "reason": self.reason,
            "need_usd": as_json_number(self.need_usd),
            "cost": None if self.cost is None else self.cost.to_dict(),
            "seconds": None if self.seconds is None else self.seconds.to_dict(),
        }


@by_name_only
@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """What a sweep would run, the cheapest first. Print it, or show it in a notebook."""

    job: FineTuneJob
    settings: Settings
    trials: tuple[PlannedTrial, ...]
    """In the order in which they would start; those that aren't run come last."""
    budget_usd: Decimal | None
    headroom: Decimal
    """How many times its upper estimate is set aside for a run, 1 to 2, so that one that takes longer may end."""
    is_grid: bool
    rule: StopRule | None
    choose_by: str
    parallel: int
    reference: str = UNCHANGED
    """The label of the configuration that is the job as it is; empty: none is."""

    @property
    def total(self) -> CostRange | None:
        """The cost of all runs; the ends are the sums of theirs. None: nothing is billed."""
        costs = [one.cost for one in self.trials if one.is_runnable and one.cost is not None]
        if not costs:
            return None
        low, likely, high = (sum((getattr(c, end) for c in costs), Decimal(0)) for end in ("low", "likely", "high"))
        return CostRange(low=low, likely=likely, high=high, source=costs[0].source)

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know before it starts."""
        found: list[str] = []
        if any(one.chance == "if earlier ones cost less" for one in self.trials):
            found.append(
                "the budget doesn't cover all upper estimates; a run starts only if what is left covers its own"
            )
        if self.rule is not None and self._measures() == 1:
            found.append(
                "validation is measured once, at the end, so nothing can be stopped early; set eval_steps, or epochs "
                "over 1"
            )
        if self.job.validation is not None:
            seen = self.job.validation.fingerprint
            found += [
                f"the eval {one.name!r} has the rows of validation, by which the winner is chosen: it can't judge it"
                for one in self.job.evals
                if one.data.fingerprint == seen
            ]
        if "seed" not in self.settings:
            found.append(
                'one run each shows no spread over seeds; add "seed": [1, 2, 3] to tell a difference from chance'
            )
        return tuple(found)

    def _measures(self) -> int | None:
        """Return how often the validation is measured, if that is known."""
        job = self.job
        if job.eval_steps is not None or any(path in self.settings for path in ("eval_steps", "epochs", "max_steps")):
            return None
        return 1 if job.epochs <= 1 else None

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return number, label, cost, time and chance of each trial, for display."""
        return [
            (
                str(one.trial.number),
                one.trial.label,
                "" if one.cost is None else _shown(one.cost),
                "" if one.seconds is None else duration(one.seconds.likely),
                one.chance,
            )
            for one in self.trials
        ]

    @property
    def summary(self) -> str:
        """How many runs, what they cost together, and by which rules, in a few lines."""
        runnable = [one for one in self.trials if one.is_runnable]
        total = self.total
        cost = (
            "nothing is billed"
            if total is None
            else f"{_shown(total)} together"
            + (f", likely {money(total.likely, places=2)}" if total.low < total.high else "")
        )
        cap = "" if self.budget_usd is None else f"; at most {money(self.budget_usd)}, whatever happens"
        kind = "grid" if self.is_grid else "one change each"
        known = [one.seconds.likely for one in runnable if one.seconds is not None]
        time = f", {duration(sum(known))} one after the other" if len(known) == len(runnable) and known else ""
        rule = "none is stopped early" if self.rule is None else f"stopped early by the rule {self.rule.kind!r}"
        beside = f"{self.parallel} at a time" if self.parallel > 1 else "one at a time"
        return (
            f"sweep of {len(runnable)} runs ({kind}) on {self.job.resolved_backend.name}, {beside}, cheapest first\n"
            f"cost: {cost}{cap}{time}\n"
            f"winner: best {self.choose_by} on the validation data; {rule}"
        )

    def __str__(self) -> str:
        rows = self.rows()
        shown = [column for column in range(5) if column in (0, 1, 4) or any(row[column] for row in rows)]
        head = ("#", "CHANGES", "COST (80%)", "TIME", "RUNS")
        table = text_table([[row[c] for c in shown] for row in [head, *rows]], right=(0,))
        # Seeds of one configuration have one reason.
        reasons = {f"{label_of(one.trial.configuration)}: {one.reason}" for one in self.trials if one.reason}
        refused = [
            line if n == 0 else f"  {line}" for text in sorted(reasons) for n, line in enumerate(text.splitlines())
        ]
        parts = [self.summary, "", table, *(["", *refused] if refused else []), *(f"Note: {n}" for n in self.notes)]
        return "\n".join(parts)

    __rich__ = rich_text

    def to_html(self) -> str:
        """Return the plan as a self-contained piece of HTML."""
        rows = [(*row[:4], f"{row[4]}: {one.reason}" if one.reason else row[4]) for row, one in zip(
            self.rows(), self.trials, strict=True
        )]  # fmt: skip
        lead = "".join(f"<p>{escaped(line)}</p>" for line in self.summary.splitlines())
        table = html_table(rows, head=("#", "changes", "cost (80%)", "time", "runs"), right=(0,))
        return html_block(lead, table, notes_html(self.notes), title="Plan of a sweep")

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        total = self.total
        return {
            "backend": self.job.resolved_backend.name,
            "is_grid": self.is_grid,
            "parallel": self.parallel,
            "choose_by": self.choose_by,
            "rule": None if self.rule is None else self.rule.to_dict(),
            "budget_usd": None if self.budget_usd is None else as_json_number(self.budget_usd),
            "headroom": as_json_number(self.headroom),
            "total": None if total is None else total.to_dict(),
            "trials": [one.to_dict() for one in self.trials],
            "notes": list(self.notes),
        }


def plan_sweep(
    job: FineTuneJob,
    settings: Settings,
    *,
    budget_usd: Decimal | float | None = None,
    grid: bool = False,
    stop: StopRule | str | None = "median",
    choose_by: str = "loss",
    parallel: int = 1,
) -> SweepPlan:
    """Plan a sweep: every run, what the backend refuses, and what all of them cost. Pure and offline.

    Args:
        job: The job as it is. Its own `budget_usd` goes on limiting each run.
        settings: Lists of values by dotted path: `{"learning_rate": [1e-4, 2e-4], "tuning.rank": [16, 32]}`. `"seed"`
            repeats each configuration with each of its values.
        budget_usd: The most that all runs may cost together, in US dollars; required where runs are billed.
        grid: False: the job as it is, and one run for each value that changes one thing. True: each combination.
        stop: The rule by which runs are stopped early: `"median"`, `"halving"`, a `MedianRule(...)` or
            `SuccessiveHalving(...)`, or None.
        choose_by: The validation metric that the winner is best in: `"loss"`, or, for methods that learn from pairs,
            `"reward_accuracy"` or `"reward_margin"`.
        parallel: How many runs may go on at the same time.

    Raises:
        SpecError: A path or a value that the job can't have; no validation data; a metric that can't compare the
            trials; or runs that are billed, and no budget, or an unknown price.
    """
    if budget_usd is not None:
        check_amount("budget_usd", budget_usd, above=0)
    check_amount("parallel", parallel, at_least=1, at_most=64, is_whole=True)
    budget = None if budget_usd is None else exact_amount(budget_usd)
    read = read_settings(job, settings)
    check_metric(job, choose_by, read)
    planned: list[PlannedTrial] = []
    for trial in trials_of(job, read, grid=grid):
        planned.append(_same_as_earlier(_planned(job, trial, has_budget=budget is not None), planned))
    reference = _reference(job, read, planned) if grid else UNCHANGED
    planned.sort(key=_order)
    headroom = _headroom([one.need_usd for one in planned if one.is_runnable], budget)
    return SweepPlan(
        job=job,
        settings=read,
        trials=tuple(_within(planned, budget, job.budget_usd)),
        budget_usd=budget,
        headroom=headroom,
        is_grid=grid,
        rule=read_rule(stop),
        choose_by=choose_by,
        parallel=parallel,
        reference=reference,
    )


def need_of(plan: Plan) -> Decimal | None:
    """Return the most that a run may cost by its estimate, in US dollars, in whole cents; None: it isn't known."""
    if isinstance(plan.billing, NotBilled) and plan.cost is None:
        return Decimal(0)
    most = None if plan.cost is None else plan.cost.high
    if most is None and isinstance(plan.billing, HourlyBilling):
        most = plan.billing.most_usd
    return None if most is None else most.quantize(_CENT, rounding=ROUND_CEILING)


def _shown(cost: CostRange) -> str:
    low, high = (money(end, places=2) for end in (cost.low, cost.high))
    return low if low == high else f"{low} to {high}"


def _planned(job: FineTuneJob, trial: Trial, *, has_budget: bool) -> PlannedTrial:
    try:
        # A run's own limit is checked when it starts: here it would only hide the price.
        plan = changed(job, trial.changes, budget_usd=None).plan()
    except FtsdkError as error:
        return PlannedTrial(trial=trial, chance="refused", reason=str(error))
    need = need_of(plan)
    if need is None:
        raise SpecError(
            f"the cost of {trial.label} isn't known ({plan.cost_note or 'no estimate'}), so it can't be kept within "
            "a budget; give the price, such as usd_per_hour= of the backend"
        )
    if need and not has_budget:
        raise SpecError(f"these runs are billed (up to {money(need)} for {trial.label}); pass budget_usd= for all")
    seconds = None if plan.estimate is None else plan.estimate.seconds
    return PlannedTrial(trial=trial, cost=plan.cost, seconds=seconds, need_usd=need, plan=plan)


def _reference(job: FineTuneJob, settings: Settings, planned: Sequence[PlannedTrial]) -> str:
    """Return the label of the point of a grid that is the job as it is; empty if none is."""
    seed = {path: values[0] for path, values in settings.items() if path == "seed"}
    try:
        own = changed(job, seed, budget_usd=None).plan()
    except FtsdkError:
        return ""
    same = (one for one in planned if one.plan is not None and one.plan.request == own.request)
    return next((label_of(one.trial.configuration) for one in same), "")


def _same_as_earlier(one: PlannedTrial, earlier: Sequence[PlannedTrial]) -> PlannedTrial:
    """Mark a trial whose request is that of an earlier one, such as a value that the backend would choose anyway."""
    for other in earlier:
        if one.plan is not None and other.plan is not None and one.plan.request == other.plan.request:
            other_label = label_of(other.trial.configuration)
            reason = f"trains exactly what {other_label!r} does, which is run once"
            return replace(one, chance="same as another", reason=reason)
    return one


def _order(one: PlannedTrial) -> tuple[bool, Decimal, float, int]:
    likely = Decimal(0) if one.cost is None else one.cost.likely
    return not one.is_runnable, likely, 0.0 if one.seconds is None else one.seconds.likely, one.trial.number


def _headroom(needs: Sequence[Decimal], budget: Decimal | None) -> Decimal:
    total = sum(needs, Decimal(0))
    if budget is None or not total:
        return Decimal(1)
    return max(Decimal(1), min(Decimal(_MOST_HEADROOM), (budget / total).quantize(_CENT, rounding="ROUND_FLOOR")))


def _within(planned: Sequence[PlannedTrial], budget: Decimal | None, each: Decimal | None) -> list[PlannedTrial]:
    """Return the trials with their chance to be run, if each costs its upper estimate.

    Args:
        planned: In the order in which they start.
        budget: For all of them.
        each: For each of them: the job's own.
    """
    left = budget
    found: list[PlannedTrial] = []
    for one in planned:
        if left is not None and budget is not None and one.is_runnable:
            most, whose = (budget, "the sweep's") if each is None or each > budget else (each, "the job's")
            if one.need_usd > most:
                reason = f"it may cost {money(one.need_usd)}, more than {whose} budget_usd={most}"
                one = replace(one, chance="no: over the budget", reason=reason)
            elif one.need_usd > left:
                one = replace(one, chance="if earlier ones cost less")
            else:
                left -= one.need_usd
        found.append(one)
    return found
