"""The validation metric that a sweep chooses its winner by, and where it can't."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ftsdk.errors import SpecError
from ftsdk.protocol import EvalEvent
from ftsdk.spec.base import nearest

if TYPE_CHECKING:
    from ftsdk.job.job import FineTuneJob

__all__ = ["METRICS", "check_metric", "is_lower_better", "metric_in"]

METRICS = ("loss", "reward_accuracy", "reward_margin")
"""What trainers measure on validation data. The last two are those of methods that learn from pairs."""
_NO_COMMON_LOSS = {
    "method": "each method has a loss of its own",
    "max_length": "validation rows that are cut elsewhere have other tokens to predict",
}
"""Fields with which the validation loss becomes another quantity, so that the lower of two isn't the better."""


def is_lower_better(metric: str) -> bool:
    """Return whether less of it is better."""
    return metric == "loss"


def check_metric(job: FineTuneJob, metric: str, paths: Iterable[str]) -> None:
    """Raise unless the trials of a sweep can be compared by a metric.

    Args:
        job: The job.
        metric: One of `METRICS`.
        paths: The fields that are varied.

    Raises:
        SpecError: It isn't measured, or means something else in each trial.
    """
    if metric not in METRICS:
        raise SpecError(f"choose_by={metric!r} isn't measured on validation data{nearest(metric, set(METRICS))}")
    if job.validation is None:
        raise SpecError(
            "a sweep chooses its winner on validation data, and the job has none: pass validation=, for example from "
            "Dataset.split(validation=0.1, test=0.1). The test part stays for the verdict on the winner"
        )
    if metric != "loss" and job.train.format != "preference":
        raise SpecError(f"choose_by={metric!r} is for methods that learn from pairs, such as DPO(); use 'loss'")
    for path in paths:
        why = _NO_COMMON_LOSS.get(path.partition(".")[0])
        if metric == "loss" and why is not None:
            raise SpecError(
                f"{path} can't be swept by the validation loss: {why}. "
                + (
                    "Use choose_by='reward_accuracy'"
                    if job.train.format == "preference"
                    else "Run the jobs one by one, and compare them with run.evaluate(against=[other_run])"
                )
            )


def metric_in(event: EvalEvent, metric: str) -> float | None:
    """Return the metric in an event, or None if it isn't there."""
    return event.metrics.get(metric) if event.name == "validation" else None
