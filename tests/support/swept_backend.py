"""A scripted backend whose runs differ by their settings: the validation losses, the estimate, and the final price."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk import Dataset, FineTuneJob
from ftsdk.protocol import Billing, CostRange, FixedPrice
from ftsdk.spec import JobSpec
from ftsdk.testing import ScriptedBackend
from ftsdk.testing.scripts import ScriptEntry

Losses = Callable[[JobSpec], Sequence[float]]
Usd = Callable[[JobSpec], float]


def falling(spec: JobSpec) -> list[float]:
    """Losses that end the lower, the nearer the learning rate is to 3e-4; the seed shifts them a little."""
    end = 1.0 + abs((spec.learning_rate or 2e-4) - 3e-4) * 1000 + (spec.seed % 10) / 1000
    return [end + 1.0, end + 0.5, end + 0.2, end]


class SweptBackend(ScriptedBackend):
    """Each run has one validation for each of its losses, evenly over its steps, and the price that it ends with."""

    def __init__(
        self,
        *,
        root: Path,
        losses: Losses = falling,
        most_usd: Usd | None = None,
        usd: Usd | None = None,
        **options: Any,
    ) -> None:
        super().__init__(root=root, **options)
        self._losses = losses
        self._most_usd = most_usd
        self._usd = usd

    def _billing_of(self, spec: JobSpec) -> Billing:
        if self._most_usd is None:
            return super()._billing_of(spec)
        most = Decimal(str(self._most_usd(spec)))
        return FixedPrice(cost=CostRange(low=most / 4, likely=most / 2, high=most, source="the test"))

    def _entries_for(self, spec: JobSpec) -> Sequence[ScriptEntry]:
        losses = self._losses(spec)
        total = 10 * len(losses)
        entries: list[Mapping[str, Any]] = [{"kind": "state", "native": "running"}]
        for n, loss in enumerate(losses, start=1):
            entries.append({"kind": "step", "step": 10 * n, "total_steps": total, "epoch": 1.0, "loss": loss})
            entries.append({"kind": "eval", "step": 10 * n, "name": "validation", "metrics": {"loss": loss}})
        price = {} if self._usd is None else {"price_usd": self._usd(spec)}
        return [*entries, {"kind": "state", "native": "done", **price}]

    def submitted(self) -> list[str]:
        """The keys of all requests to submit a run, from all processes."""
        return [request["key"] for request in self.requests if request["call"] == "submit"]


def job_on(backend: ScriptedBackend, **changes: Any) -> FineTuneJob:
    """A job with validation data."""
    rows = [{"text": f"mail {n}", "label": "ab"[n % 2]} for n in range(60)]
    train, validation, _ = (
        Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}").split(validation=0.3, seed=1)
    )
    fields: dict[str, Any] = {"model": "acme/model-7B", "train": train, "validation": validation, "backend": backend}
    return FineTuneJob(**{**fields, **changes})
