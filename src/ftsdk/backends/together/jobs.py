"""Together's fine-tuning jobs as a `ManagedService`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ftsdk.backends.managed.event_mirror import Entry
from ftsdk.backends.managed.service import JobEvents, JobQuote, JobWeights, ManagedJob
from ftsdk.backends.together.catalogue import catalogue
from ftsdk.backends.together.client import Wire
from ftsdk.backends.together.mapping import diagnosis_of, entries_of, is_closing, is_restart, job_of
from ftsdk.backends.together.preflight import Preflight
from ftsdk.backends.together.pricing import read_quote
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.errors import Diagnosis, RunNotFoundError
from ftsdk.protocol import CheckpointEvent, Plan

__all__ = ["WEIGHTS", "TogetherJobs", "Weights"]

Weights = Literal["adapter", "merged"]
WEIGHTS: tuple[Weights, ...] = ("adapter", "merged")
"""What can be downloaded of a LoRA job: the adapter, or the whole model with the adapter merged in."""


class TogetherJobs:
    """The jobs of one account. See `ManagedService` for what each method does.

    Args:
        wire: The connection.
        preflight: The requests before a job.
        weights: What is downloaded of a LoRA job; full fine-tuning gives the whole model in any case.
        clock: Returns seconds since the epoch.
    """

    def __init__(self, wire: Wire, preflight: Preflight, *, weights: Weights, clock: Callable[[], float]) -> None:
        self.wire = wire
        self._preflight = preflight
        self._weights: Weights = weights
        self._clock = clock
        self._checkpoint_paths: dict[tuple[str, int], str] = {}

    def prepare(self, plan: Plan, *, drafts: Path) -> dict[str, Any]:
        """Return the arguments of `create`, and the model's limits, which the client wants beside them."""
        limits = self._preflight.limits(plan)
        return {"create": {**plan.request["create"], **self._preflight.files(plan, drafts)}, "limits": limits}

    def quote(self, plan: Plan, request: Mapping[str, Any]) -> JobQuote:
        """Return the service's estimate, at least the minimum price of a job."""
        book = catalogue()
        minimum = book.minimum(book.find(plan.spec.model.id), PriceBook.load())
        return read_quote(self._preflight.price(request["create"]), minimum=minimum.usd, asked_at=self._clock())

    def create_job(self, request: Mapping[str, Any], *, label: str) -> str:
        """Create a job; the label is its suffix."""
        return self.wire.create({**request["create"], "suffix": label}, request["limits"])

    def find_job(self, label: str) -> ManagedJob | None:
        """Return the newest job with this suffix."""
        found = [job_of(job) for job in self.wire.jobs() if job.get("suffix") == label and job.get("id")]
        return max(found, key=lambda job: job.created_at, default=None)

    def get_job(self, job_id: str) -> ManagedJob:
        """Return the job."""
        return job_of({**self.wire.job(job_id), "id": job_id})

    def list_events(self, job: ManagedJob) -> JobEvents:
        """Return events and metrics, merged."""
        events = _listed(self.wire.events, job.id)
        entries = entries_of(job.id, events, _listed(self.wire.metrics, job.id), total_steps=job.total_steps)
        return JobEvents(
            entries=self._with_paths(job.id, entries),
            is_complete=any(is_closing(event) for event in events),
            is_restarting=any(is_restart(event) for event in events),
        )

    def cancel_job(self, job_id: str) -> None:
        """Request that the job stops; the steps made until then are billed."""
        self.wire.cancel(job_id)

    def diagnose(self, job: ManagedJob, *, errors: Sequence[str], step: int | None) -> Diagnosis:
        """Return why a job failed, as the service reported it."""
        return diagnosis_of(job.native, errors, step=step)

    def describe_weights(self, job_id: str, submission: Mapping[str, Any]) -> JobWeights:
        """Return what the job made, by what was submitted here, or else by what the service reports of the job."""
        facts: dict[str, Any] = {"trainer": "together", "job": job_id}
        if submission:
            create = submission["request"]["create"]
            is_adapter, base = bool(create["lora"]), str(submission["spec"]["model"]["id"])
            facts.update(spec=submission["spec"], training=create)
        else:
            job = self.wire.job(job_id)
            name = str(job.get("model") or "")
            known = catalogue().find(name)
            is_adapter, base = (job.get("training_type") or {}).get("type") != "Full", known.hub if known else name
        if not is_adapter:
            return JobWeights(kind="model", base=base, variant="model_output_path", facts=facts)
        return JobWeights(
            kind="model" if self._weights == "merged" else "adapter", base=base, variant=self._weights, facts=facts
        )

    def download(self, job_id: str, weights: JobWeights, *, into: Path) -> None:
        """Download an archive of the weights."""
        self.wire.download(job_id, checkpoint=weights.variant, into=into)

    def _with_paths(self, job_id: str, entries: Iterable[Entry]) -> list[Entry]:
        """Add the paths of checkpoints, which events often lack, from the service's list of checkpoints."""
        found = list(entries)
        steps = {
            entry.event.step for entry in found if isinstance(entry.event, CheckpointEvent) and not entry.event.path
        }
        if any((job_id, step) not in self._checkpoint_paths for step in steps):
            kept = _listed(self.wire.checkpoints, job_id)
            # A LoRA job has an adapter and a merged model of each step; the adapter is what was trained, and wins by
            # coming last.
            rows = sorted(kept, key=lambda row: row.get("checkpoint") == "adapter")
            paths = {row.get("step"): str(row.get("path") or "") for row in rows}
            self._checkpoint_paths.update({(job_id, step): paths.get(step, "") for step in steps})

        def with_path(entry: Entry) -> Entry:
            event = entry.event
            if not isinstance(event, CheckpointEvent) or event.path:
                return entry
            return replace(entry, event=event.replace(path=self._checkpoint_paths[job_id, event.step]))

        return [with_path(entry) for entry in found]


def _listed(ask: Callable[[str], list[dict[str, Any]]], job_id: str) -> list[dict[str, Any]]:
    try:
        return ask(job_id)
    except RunNotFoundError:
        return []  # the job itself exists; it has nothing to list yet
