"""The time of a training on known hardware, by part: start, loading, steps, validation, checkpoints."""

from __future__ import annotations

import math

from ftsdk._format import gigabytes
from ftsdk.cost.training.calibration import Calibration
from ftsdk.cost.training.fitting import Fit
from ftsdk.cost.training.job_memory import trained_parameters
from ftsdk.cost.training.ranges import around, multiplied, total, within
from ftsdk.cost.training.step_time import UNMEASURED, Factors, passes_of, spread_above, spread_of
from ftsdk.cost.training.tokens import RowTokens
from ftsdk.cost.training.work import Work
from ftsdk.models import ModelFacts
from ftsdk.protocol.estimates import EstimateLine, Range

__all__ = ["checkpoint_seconds", "start_seconds", "time_lines"]

_MEASURED = 0.20
"""Spread of log(next / measured) of starts and writes, on the machine where they were measured."""
_START = {
    "cuda": Range(low=10, likely=25, high=90),
    "mps": Range(low=8, likely=15, high=40),
    "cpu": Range(low=6, likely=12, high=40),
}


def time_lines(
    work: Work, facts: ModelFacts, *, validation: RowTokens | None, calibration: Calibration | None
) -> tuple[EstimateLine, ...]:
    """Return the time of a training by part.

    Args:
        work: What is trained where.
        facts: Facts of the model.
        validation: Tokens of the validation rows.
        calibration: Measurements on the device; None: there are none.
    """
    fit = None if calibration is None else calibration.time_fit(work.tuning.kind, work.device)
    factors = UNMEASURED if fit is None else Factors(device=fit.device, host=fit.host, optimizer=fit.optimizer)
    source = work.device.source if calibration is None else calibration.source
    lines = [*_start(work, facts, calibration), _training(work, fit, factors, source)]
    if validation is not None and work.execution.evaluations:
        lines.append(_evaluation(work, validation, fit, factors))
    lines.append(_checkpoints(work, calibration))
    return tuple(lines)


def _spreads(work: Work, fit: Fit | None, *, tokens_per_row: float) -> tuple[float, float]:
    """Return the spread of the time below the likely one and above it."""
    if fit is not None:
        spread = fit.spread(work.parts(tokens_per_row=tokens_per_row))
        return spread, spread
    step = work.micro_step(tokens_per_row=tokens_per_row)
    spread = spread_of(step, work.time(tokens_per_row=tokens_per_row), work.device)
    return spread, spread_above(step, work.device, spread)


def _start(work: Work, facts: ModelFacts, calibration: Calibration | None) -> list[EstimateLine]:
    start = EstimateLine(
        label="start",
        amount=_START[work.hardware.device],
        unit="s",
        source="worker and imports; where there is one, the container",
    )
    size = work.shape.parameters * 2
    if not facts.is_downloaded:
        fetch = Range(low=size / 1e9, likely=size / 0.2e9, high=size / 0.03e9)
        source = f"{gigabytes(size)} at 0.03 to 1 GB/s from the hub, then read"
        return [
            start,
            EstimateLine(
                label="downloading and loading", amount=total([_reading(work), fetch]), unit="s", source=source
            ),
        ]
    loading = EstimateLine(
        label="loading the model", amount=_reading(work), unit="s", source=f"{gigabytes(size)} at 0.2 to 3 GB/s"
    )
    factor = None if calibration is None else calibration.start_factor
    if calibration is None or factor is None:
        return [start, loading]
    return [
        line.replace(amount=within(line.amount.likely * factor, _MEASURED), source=calibration.source)
        for line in (start, loading)
    ]


def start_seconds(work: Work) -> float:
    """Return the seconds before the first step if the model is downloaded, before any calibration."""
    return _START[work.hardware.device].likely + _reading(work).likely


def _reading(work: Work) -> Range:
    size = work.shape.parameters * 2
    return Range(low=size / 3e9, likely=1 + size / 1e9, high=3 + size / 0.2e9)


def _training(work: Work, fit: Fit | None, factors: Factors, source: str) -> EstimateLine:
    rows, per_row = work.train, work.computed_row(work.train)

    def seconds(factor: float) -> float:
        return work.micro_steps * work.time(tokens_per_row=per_row * factor, factors=factors).total_s

    below, above = _spreads(work, fit, tokens_per_row=per_row)
    amount = around(seconds(1.0), seconds(rows.low_factor), seconds(rows.high_factor), below, above=above)
    passes = passes_of(work.micro_step(tokens_per_row=per_row))
    noun = "row" if rows.sequences_per_row == 1 else "sequence"
    what = (
        f"{per_row:,.0f} of {rows.mean_sequence:,.0f} tokens a {noun}, since what {noun}s share is computed once"
        if work.execution.packed_tokens
        else f"{per_row:,.0f} tokens a row with padding"
    )
    source = f"{work.execution.steps:,} steps, {passes:.3g} passes, {what}; {source}"
    return EstimateLine(label="training", amount=amount, unit="s", source=source)


def _evaluation(work: Work, validation: RowTokens, fit: Fit | None, factors: Factors) -> EstimateLine:
    """Time the evaluations: each is a forward pass over the validation rows."""
    times = work.execution.evaluations
    per_row = work.computed_row(validation)
    step = work.micro_step(tokens_per_row=per_row)
    whole = work.time(tokens_per_row=per_row, factors=factors)
    forward = (1 + step.reference_passes) / passes_of(step)
    rows = len(validation.lengths_N)
    likely = (
        times
        * (whole.total_s - whole.optimizer_s)
        * forward
        * math.ceil(rows / work.rows_at_once / work.execution.devices)
    )
    below, above = _spreads(work, fit, tokens_per_row=per_row)
    amount = around(likely, likely * validation.low_factor, likely * validation.high_factor, below, above=above)
    return EstimateLine(label="validation", amount=amount, unit="s", source=f"{times} x {rows:,} rows, one pass")


def _checkpoints(work: Work, calibration: Calibration | None) -> EstimateLine:
    """Time the checkpoints during the training, and the weights at its end."""
    times = work.execution.checkpoints
    one = checkpoint_seconds(work)
    source = f"{times} of {gigabytes(_checkpoint_bytes(work), places=2)} at 0.15 to 2 GB/s"
    factor = None if calibration is None else calibration.checkpoint_factor
    if calibration is not None and factor is not None:
        return EstimateLine(
            label="checkpoints",
            amount=within(times * one.likely * factor, _MEASURED),
            unit="s",
            source=f"{times}; {calibration.source}",
        )
    return EstimateLine(label="checkpoints", amount=multiplied(one, times), unit="s", source=source)


def checkpoint_seconds(work: Work) -> Range:
    """Return the seconds of one checkpoint, before any calibration."""
    size = _checkpoint_bytes(work)
    return Range(low=0.1 + size / 2e9, likely=0.5 + size / 0.7e9, high=2 + size / 0.15e9)


def _checkpoint_bytes(work: Work) -> float:
    """Count weights and two moments, in 32 bits."""
    return 12 * trained_parameters(work.tuning, work.shape)
