"""What is counted while a run goes on: steps, tokens, time at work, memory."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from ftsdk.cost.training.calibration import Probe, learn, software_version
from ftsdk.protocol import CheckpointEvent, EvalEvent, Event, LogEvent, Plan, RunStatus, StateEvent, StepEvent
from ftsdk.protocol.estimates import Estimate, StepParts
from ftsdk.protocol.meter import Meter
from ftsdk.run.ledger import Ledger, Record
from ftsdk.run.outcome import Outcome

__all__ = ["RunStats", "record_end"]

_FEWEST_STEPS = 5
"""The fewest ordinary steps that make a measurement."""


@dataclass(kw_only=True)
class RunStats:
    """Counts a run's events as they come, each once.

    Args:
        meter: Measures the time at work; by default one that bills nothing.
    """

    meter: Meter = field(default_factory=lambda: Meter(terms=None))
    last_at: float = 0.0
    attempts: int = 0
    began_at: float | None = None
    """When the worker's first attempt began."""
    steps: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    """Each step, and when it was done."""
    checkpoints: set[int] = field(default_factory=set[int])
    """Steps after which a checkpoint was written."""
    pauses: set[int] = field(default_factory=set[int])
    """Steps after which a validation ran."""
    total_steps: int | None = None
    tokens: int | None = None
    computed: list[int] = field(default_factory=list[int])
    """Tokens that were computed for each step, where they are counted."""
    peak_memory_gb: float | None = None

    @classmethod
    def of(cls, plan: Plan, *, submitted_at: float | None) -> RunStats:
        """Return stats with the meter that fits the plan's price."""
        terms = None if plan.estimate is None else plan.estimate.billing_terms
        return cls(meter=Meter(terms=terms, submitted_at=submitted_at))

    def saw(self, events: Sequence[Event]) -> None:
        """Count events, in order, each once."""
        self.meter.saw(events)
        for event in events:
            self.last_at = max(self.last_at, event.at)
            match event:
                case StateEvent() if event.state == "running":
                    self.attempts += 1
                    self.began_at = event.at if self.began_at is None else self.began_at
                case StepEvent():
                    self.steps.append((event.step, event.at))
                    self.total_steps = event.total_steps or self.total_steps
                    self.tokens = event.tokens if event.tokens is not None else self.tokens
                    self.computed += [] if event.computed_tokens is None else [event.computed_tokens]
                    self.peak_memory_gb = event.peak_memory_gb or self.peak_memory_gb
                case CheckpointEvent():
                    self.checkpoints.add(event.step)
                case EvalEvent():
                    self.pauses.add(event.step)
                case StateEvent() | LogEvent():
                    pass
                case _:
                    assert_never(event)

    def outcome(self, status: RunStatus) -> Outcome:
        """Return the totals of a run that has ended."""
        terms = self.meter.terms
        cost = status.price_usd
        if cost is None and terms is not None and terms.kind == "per_hour":
            cost = self.meter.owed_usd()
        found = {
            "seconds": self.meter.seconds or None,
            "steps": self.steps[-1][0] if self.steps else None,
            "tokens": self.tokens,
            "peak_memory_gb": self.peak_memory_gb,
            "cost_usd": cost,
        }
        return Outcome(state=status.state, **{name: value for name, value in found.items() if value is not None})  # type: ignore[arg-type]

    def probe(self, plan: Plan) -> Probe | None:
        """Return the measured steps beside the plan's estimate, to calibrate the device; None if there are too few."""
        estimate = plan.estimate
        # With a second attempt the times between steps include the interruption.
        if estimate is None or estimate.step is None or not self.total_steps or self.attempts > 1:
            return None
        gaps = [(a[0], b[1] - a[1]) for a, b in itertools.pairwise(self.steps) if b[0] == a[0] + 1]
        # The first step loads kernels and fills caches; the second may, too.
        plain = [gap for step, gap in gaps[1:] if step not in self.checkpoints | self.pauses]
        if len(plain) < _FEWEST_STEPS:
            return None
        measured_s = statistics.median(plain)
        if measured_s <= 0:
            return None
        tokens = self._token_ratio(estimate)
        computed = self._computed_ratio(estimate.step)
        found: dict[str, Any] = {}
        written = [
            gap - measured_s for step, gap in gaps[1:] if step in self.checkpoints - self.pauses and gap > measured_s
        ]
        if written:
            found |= {"checkpoint_s": statistics.median(written), "predicted_checkpoint_s": estimate.checkpoint_s}
        if self.began_at is not None:
            start_s, predicted = self.steps[0][1] - self.began_at - measured_s, estimate.start_s
            found |= {"start_s": start_s, "predicted_start_s": predicted} if start_s > 0 and predicted else {}
        if estimate.memory is not None and self.peak_memory_gb:
            memory = estimate.memory
            # The memory estimate takes guessed rows at their upper end.
            presumed = (
                1.0
                if estimate.tokens is None or not estimate.tokens.likely
                else estimate.tokens.high / estimate.tokens.likely
            )
            found |= {
                "fixed_gb": memory.fixed_gb,
                "varying_gb": memory.varying_gb * tokens / presumed,
                "peak_gb": self.peak_memory_gb,
            }
        return Probe(
            tuning=plan.spec.tuning.kind,
            step=estimate.step.replace(device_s=estimate.step.device_s * (computed or tokens)),
            measured_s=measured_s,
            steps=len(plain),
            at=self.last_at,
            **found,
        )

    def _computed_ratio(self, step: StepParts) -> float | None:
        """Return the tokens computed over those estimated; None if they weren't counted.

        Rows may share more or less than their sample did, and a model's rows may turn out not to be packed at all.
        """
        if not step.tokens or len(self.computed) != len(self.steps):
            return None
        return min(30.0, max(0.1, statistics.mean(self.computed) / step.tokens))

    def _token_ratio(self, estimate: Estimate) -> float:
        """Return the tokens counted over those estimated: the estimate may have guessed them from the text."""
        if not self.tokens or estimate.tokens is None or not self.total_steps or not self.steps[-1][0]:
            return 1.0
        guessed = estimate.tokens.likely * self.steps[-1][0] / self.total_steps
        return min(3.0, max(0.33, self.tokens / guessed))


def record_end(record: Record, plan: Plan, stats: RunStats, status: RunStatus, ledger: Ledger) -> Record:
    """Record what a run took, once, and calibrate later estimates for its device with it.

    Return the record with the outcome.
    """
    if record.outcome is not None:
        return record
    outcome = stats.outcome(status)
    ledger.ended(record.ref, outcome.to_dict())
    probe = stats.probe(plan) if outcome.state == "succeeded" else None
    if probe is not None and plan.hardware is not None:
        learn(probe, device=plan.hardware.name, software=software_version())
    return replace(record, outcome=outcome.to_dict())
