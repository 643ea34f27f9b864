"""What a sweep has found so far: its configurations, the best of them, and the table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import fmean, stdev, variance
from typing import Any

from ftsdk._format import Html, duration, escaped, html_block, html_page, html_table, money, notes_html, text_table
from ftsdk._numbers import as_json_number
from ftsdk._rich_text import rich_text
from ftsdk.job.sweep.metric import is_lower_better
from ftsdk.job.sweep.plot import Dots, Line, curves_plot, values_plot
from ftsdk.job.sweep.record import SETTLED, SweepRecord, TrialProgress
from ftsdk.job.sweep.settings import Trial, label_of
from ftsdk.spec.positional import by_name_only

__all__ = ["Configuration", "SweepTable", "table_of"]

_WIDEST_LABEL = 34
"""Characters of a label in a table that fits a terminal of 80 columns."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One configuration of a sweep, with its trials: one for each seed."""

    label: str
    """What it differs in from the job."""
    changes: Mapping[str, Any]
    trials: tuple[tuple[Trial, TrialProgress], ...]

    @property
    def values(self) -> tuple[float, ...]:
        """The validation metric of each trial that was trained to its end."""
        return tuple(one.value for _, one in self.trials if one.state == "succeeded" and one.value is not None)

    @property
    def is_complete(self) -> bool:
        """Whether all its trials were trained to their end."""
        return len(self.values) == len(self.trials)

    @property
    def mean(self) -> float | None:
        """The mean of the metric over its seeds."""
        return fmean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """The standard deviation of the metric over its seeds; None: there are fewer than two."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def cost_usd(self) -> Decimal:
        """What its trials cost so far, in US dollars, and at most where nobody has stated it."""
        return sum((one.cost_usd for _, one in self.trials), Decimal(0))

    @property
    def state(self) -> str:
        """The state of its trials, with their number if they differ."""
        states = [one.state for _, one in self.trials]
        if len(set(states)) == 1:
            return states[0]
        return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


@by_name_only
@dataclass(frozen=True, kw_only=True)
class SweepTable:
    """What a sweep has found so far. Print it, or show it in a notebook."""

    record: SweepRecord
    configurations: tuple[Configuration, ...]
    """The best first; those without a result last."""
    verdict: str = ""
    """What the test data say about the winner; empty before `sweep.evaluate()`."""

    @property
    def best(self) -> Configuration | None:
        """The best configuration so far; None: none was trained to its end and measured.

        One of which a seed failed or was stopped counts only if there is no other.
        """
        first = self.configurations[0] if self.configurations else None
        return first if first is not None and first.values else None

    @property
    def unchanged(self) -> Configuration | None:
        """The job as it is, if it is among the configurations."""
        return next((one for one in self.configurations if one.label == self.record.reference), None)

    @property
    def spent_usd(self) -> Decimal:
        """What all trials that are settled cost, in US dollars."""
        return sum((one.cost_usd for one in self.configurations), Decimal(0))

    @property
    def reserved_usd(self) -> Decimal:
        """What is set aside for trials that are running, in US dollars."""
        return sum((one.reserved_usd for each in self.configurations for _, one in each.trials), Decimal(0))

    @property
    def is_over(self) -> bool:
        """Whether every trial has ended."""
        return all(one.state in SETTLED for each in self.configurations for _, one in each.trials)

    @property
    def summary(self) -> str:
        """How far the sweep is and what it has cost, in one sentence."""
        progress = [one for each in self.configurations for _, one in each.trials]
        ran = [one for one in progress if one.state not in ("refused", "not run")]
        text = f"sweep {self.record.id}: {sum(one.state in SETTLED for one in ran)} of {len(ran)} runs ended"
        if len(ran) < len(progress):
            text += f", {len(progress) - len(ran)} not run"
        if self.record.budget_usd is not None:
            at_most = "" if all(one.is_cost_known for one in progress) else "at most "
            aside = f", {money(self.reserved_usd)} set aside" if self.reserved_usd else ""
            text += f"; {at_most}{money(self.spent_usd)} of {money(self.record.budget_usd)} spent{aside}"
        return text

    @property
    def findings(self) -> tuple[str, ...]:
        """What the validation data say about the winner, and how far that can be trusted."""
        best, metric = self.best, self.record.choose_by
        if best is None or best.mean is None:
            return ("no run was trained to its end and measured yet",) if self.is_over else ()
        word = "best" if self.is_over else "best so far"
        found = [f"{word} on the validation data: {best.label}, {metric} {best.mean:.4g}"]
        reference = self.unchanged
        if reference is not None and reference is not best and reference.mean is not None:
            found.append(self._against(best, reference))
        measured = sum(bool(one.values) for one in self.configurations)
        if measured > 1:
            found.append(
                f"the best of {measured} looks better on the validation data than it is, since it was chosen by them; "
                "the verdict is that of the test data" + ("" if self.verdict else ": sweep.evaluate()")
            )
        return tuple(found)

    def _against(self, best: Configuration, reference: Configuration) -> str:
        assert best.mean is not None
        assert reference.mean is not None
        difference = best.mean - reference.mean
        text = f"{self.record.choose_by} {difference:+.4g} against the job as it is"
        spreads = [variance(one.values) for one in self.configurations if len(one.values) > 1]
        if not spreads:
            return f'{text}; one run each, so chance between seeds isn\'t known ("seed": [1, 2, 3] shows it)'
        deviation = math.sqrt(fmean(spreads))
        error = deviation * math.sqrt(1 / len(best.values) + 1 / len(reference.values))
        beyond = "more" if abs(difference) > 2 * error else "no more"
        return f"{text}: {beyond} than two standard errors ({error:.2g}; seeds spread by {deviation:.2g})"

    def rows(self) -> list[tuple[str, str, str, str, str, str]]:
        """Return mark, label, metric, state, cost and time of each configuration, for display."""
        best = self.best
        rows: list[tuple[str, str, str, str, str, str]] = []
        for one in self.configurations:
            value = "" if one.mean is None else f"{one.mean:.4g}"
            if one.spread is not None:
                value += f" ± {one.spread:.2g}"
            at_most = "" if all(progress.is_cost_known for _, progress in one.trials) else "≤"
            seconds = [progress.seconds for _, progress in one.trials if progress.seconds is not None]
            rows.append(
                (
                    "*" if one is best else "",
                    one.label,
                    value,
                    one.state,
                    f"{at_most}{money(one.cost_usd)}" if self.record.budget_usd is not None and one.cost_usd else "",
                    duration(sum(seconds)) if seconds else "",
                )
            )
        return rows

    def _reasons(self) -> list[str]:
        found: list[str] = []
        for one in self.configurations:
            reasons = [p.reason for _, p in one.trials if p.reason and p.state != "succeeded"]
            if len(reasons) == len(one.trials) and len(set(reasons)) == 1:  # the same for all seeds
                found.append(f"{one.label}: {one.state}; {reasons[0]}")
                continue
            found += [f"{t.label}: {p.state}; {p.reason}" for t, p in one.trials if p.reason and p.state != "succeeded"]
        return found

    def __str__(self) -> str:
        rows = [("", "CHANGES", self._metric_head.upper(), "STATE", "COST", "TIME"), *self.rows()]
        shown = [column for column in range(6) if column < 4 or any(row[column] for row in rows[1:])]
        cells = [
            [row[column] if column != 1 else _shortened(row[column]) for column in shown] for row in rows
        ]  # fmt: skip
        notes = [f"- {line}" for line in (*self.findings, *self._reasons())]
        verdict = ["", self.verdict] if self.verdict else []
        return "\n".join([self.summary, "", text_table(cells), *([""] if notes else []), *notes, *verdict])

    __rich__ = rich_text

    @property
    def _metric_head(self) -> str:
        seeds = len(self.record.settings.get("seed", ()))
        name = self.record.choose_by.replace("_", " ")
        return f"{name} ({seeds} seeds)" if seeds > 1 else name

    def to_svg(self) -> str:
        """Return the curves of the validation metric, and where they ended, as the content of an SVG file."""
        return self._picture(is_file=True)

    def _picture(self, *, is_file: bool) -> Html:
        metric = self._metric_head
        below = values_plot(self._dots(), metric=metric)
        return curves_plot(self._lines(), metric=metric, beside=below, is_file=is_file)

    def _lines(self) -> list[Line]:
        best = self.best
        return [
            Line(
                label=one.label,
                curve=progress.curve,
                is_best=one is best,
                is_stopped=progress.state not in ("succeeded", "running"),
            )
            for one in self.configurations
            for _, progress in one.trials
            if progress.curve
        ]

    def _dots(self) -> list[Dots]:
        best = self.best
        return [
            Dots(label=one.label, values=one.values, mean=one.mean, is_best=one is best)
            for one in self.configurations
            if one.mean is not None
        ]

    def to_block(self) -> Html:
        """Return table, plot and verdict as one element, for a notebook."""
        rows = [tuple(cells) for cells in self.rows()]
        head = ("", "changes", self._metric_head, "state", "cost", "time")
        lead = f"<p>{escaped(self.summary)}</p>"
        findings = "".join(f"<p>{escaped(line)}</p>" for line in self.findings)
        verdict = "".join(f"<p>{escaped(line)}</p>" for line in self.verdict.splitlines())
        heading = "<h4>Verdict on the test data</h4>" if verdict else ""
        table = html_table(rows, head=head)
        reasons = notes_html(self._reasons())
        return html_block(lead, table, findings, self._picture(is_file=False), heading, verdict, reasons, title="Sweep")

    def to_html(self) -> str:
        """Return table, plot and verdict as a page."""
        return html_page(self.to_block(), title=f"Sweep {self.record.id}")

    def _repr_html_(self) -> str:
        return self.to_block()

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain data."""
        best = self.best
        budget = self.record.budget_usd
        return {
            "id": self.record.id,
            "is_over": self.is_over,
            "choose_by": self.record.choose_by,
            "budget_usd": None if budget is None else as_json_number(budget),
            "spent_usd": as_json_number(self.spent_usd),
            "reserved_usd": as_json_number(self.reserved_usd),
            "best": None if best is None else best.label,
            "findings": list(self.findings),
            "verdict": self.verdict,
            "configurations": [
                {
                    "label": one.label,
                    "changes": dict(one.changes),
                    "mean": one.mean,
                    "spread": one.spread,
                    "cost_usd": as_json_number(one.cost_usd),
                    "trials": [
                        {"number": trial.number, "seed": trial.seed, **progress.to_dict()}
                        for trial, progress in one.trials
                    ],
                }
                for one in self.configurations
            ],
        }


def table_of(record: SweepRecord, progress: Mapping[int, TrialProgress], *, verdict: str = "") -> SweepTable:
    """Return what a sweep has found so far.

    Args:
        record: What was asked for.
        progress: How far each trial is.
        verdict: What the test data say.
    """
    by_label: dict[str, list[tuple[Trial, TrialProgress]]] = {}
    for trial in sorted(record.trials, key=lambda trial: trial.number):
        by_label.setdefault(label_of(trial.configuration), []).append((trial, progress[trial.number]))
    found = [
        Configuration(label=label, changes=trials[0][0].configuration, trials=tuple(trials))
        for label, trials in by_label.items()
    ]
    return SweepTable(record=record, configurations=tuple(_ranked(found, record.choose_by)), verdict=verdict)


def _ranked(found: Sequence[Configuration], metric: str) -> list[Configuration]:
    sign = 1 if is_lower_better(metric) else -1

    def rank(one: Configuration) -> tuple[bool, bool, float]:
        return one.mean is None, not one.is_complete, sign * (one.mean or 0.0)

    return sorted(found, key=rank)


def _shortened(label: str) -> str:
    return label if len(label) <= _WIDEST_LABEL else f"{label[: _WIDEST_LABEL - 1]}…"
