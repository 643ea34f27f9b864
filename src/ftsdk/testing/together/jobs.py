"""Jobs: create, read, cancel, list and delete them."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ftsdk.testing.together.answers import Answer, Clock, Refusal, answer_json
from ftsdk.testing.together.offers import ModelOffer
from ftsdk.testing.together.request_rules import SECRETS
from ftsdk.testing.together.scenarios import Scenario
from ftsdk.testing.together.timeline import Course, Stage, plan_course

__all__ = ["TERMINAL", "Job", "JobStore", "Numbers"]

TERMINAL = frozenset({"completed", "error", "user_error", "cancelled"})
"""The statuses that a job never leaves."""

_SHOWN_SHORT = {
    "training_file", "validation_file", "packing", "max_seq_length", "model", "from_checkpoint", "from_hf_model",
    "hf_model_revision",
    "n_epochs", "n_evals", "n_checkpoints", "training_type", "training_method", "learning_rate", "lr_scheduler",
    "warmup_ratio",
    "max_grad_norm", "weight_decay", "random_seed", "wandb_project_name", "wandb_name", "wandb_entity", "suffix",
    "batch_size",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What is known of a job before it starts."""

    tokens: int
    """Tokens that are billed if it completes."""
    price_usd: float
    """The price if it completes."""
    rows: int
    """Rows of the training file."""
    file_bytes: int
    batch: int
    """Sequences per optimizer step."""


@dataclass(kw_only=True)
class Job:
    """A job, with its history."""

    id: str
    body: Mapping[str, Any]
    """The request, without the keys of other services."""
    scenario: Scenario
    offer: ModelOffer
    course: Course
    created_at: str
    updated_at: str
    numbers: Numbers
    status: str = "pending"
    started_at: str | None = None
    step: int = 0
    ahead: deque[Stage] = field(default_factory=deque[Stage])
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    metrics: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    checkpoints: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """Steps with a checkpoint, and when each was saved."""
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    hidden_lists: int = 0
    has_model: bool = True
    """False once somebody has deleted what it made from the registry."""
    successor: str | None = None
    """The id under which it was restarted."""

    @property
    def suffix(self) -> str | None:
        """The suffix of the request."""
        return self.body.get("suffix")

    @property
    def is_lora(self) -> bool:
        """Whether it trains an adapter."""
        return (self.body.get("training_type") or {}).get("type", "Lora") == "Lora"

    @property
    def makes_model(self) -> bool:
        """Whether the result is a whole model: after full fine-tuning, or with a merged adapter."""
        return not self.is_lora or self.offer.merges_lora

    @property
    def output_name(self) -> str:
        """The name of the model that it makes."""
        base = self.offer.name.rpartition("/")[2]
        return "-".join(filter(None, (f"tester/{base}", self.suffix, self.id[-8:])))

    @property
    def model_id(self) -> str:
        """The id of the model that it makes, in the registry."""
        return f"ml_{self.id[3:]}"

    @property
    def price_usd(self) -> float:
        """The price so far: the share of the steps that were made, at least the minimum once there is one.

        Nothing if it failed.
        """
        if self.status in ("error", "user_error") or self.successor or not self.step:
            return 0.0
        return max(self.numbers.price_usd * self.step / self.course.total_steps, self.offer.minimum_usd)

    def to_wire(self, *, is_short: bool = False) -> dict[str, Any]:
        """Return it as the service shows it.

        Short in lists and in the answers to create and cancel, which alone tell the suffix.
        """
        body = {name: value for name, value in self.body.items() if value is not None}
        shown: dict[str, Any] = {
            **({name: value for name, value in body.items() if name in _SHOWN_SHORT} if is_short else body),
            "id": self.id,
            "status": self.status,
            "user_id": "user_tester",
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "model": self.offer.name,
            "model_output_name": self.output_name,
            # There is no price before the tokens are counted; then it is that of the whole job, and at the end of what
            # was trained.
            "total_price": self._price_now(),
            "events": [],
            **self.fields,
        }
        shown.setdefault("training_type", _inherited(self.offer))
        if self.started_at:
            shown["started_at"] = self.started_at
        if is_short:
            # The class of the list knows no "max", and the service no number yet.
            shown["batch_size"] = None if body.get("batch_size", "max") == "max" else body["batch_size"]
            shown["owner_address"] = "tester@example.com"
            return shown
        shown.pop("suffix", None)
        shown["events"] = self.listed_events()
        shown["steps_completed"] = self.step
        shown["queue_depth"] = 1 if self.status == "queued" else 0
        shown["trainingfile_numlines"], shown["trainingfile_size"] = self.numbers.rows, self.numbers.file_bytes
        shown["progress"] = {
            "estimate_available": self.status == "running",
            "seconds_remaining": self.course.total_steps - self.step,
        }
        if self.status == "completed" and self.has_model:
            shown |= self._made()
        return shown

    def _made(self) -> dict[str, str]:
        made: dict[str, str] = {}
        if self.makes_model:
            made |= {
                "model_object_id": self.model_id,
                "model_object_revision_id": f"rv_{self.id[3:]}",
                "model_object_name": self.output_name,
            }
        if self.is_lora:
            made |= {"adapter_object_id": f"{self.model_id}a", "adapter_object_revision_id": f"rv_{self.id[3:]}a"}
        if self.scenario.omits_revisions:
            made = {name: value for name, value in made.items() if not name.endswith("_revision_id")}
        return made

    def _price_now(self) -> int:
        if self.status in TERMINAL or self.successor:
            return round(self.price_usd * 1e9)
        return round(self.numbers.price_usd * 1e9) if "token_count" in self.fields else 0

    def listed_events(self) -> list[dict[str, Any]]:
        """Return the events as the service lists them."""
        events = [event for event in self.events for _ in range(2 if self.scenario.doubles_events else 1)]
        if self.scenario.shuffles_events:
            random.Random(len(events)).shuffle(events)
        return events


def _inherited(offer: ModelOffer) -> dict[str, Any]:
    return {
        "type": "Lora",
        "lora_r": offer.max_rank,
        "lora_alpha": 2 * offer.max_rank,
        "lora_trainable_modules": "all-linear",
    }


class JobStore:
    """All jobs. Two equal requests create two jobs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_id: dict[str, Job] = {}
        self._count = 0

    def __iter__(self) -> Iterator[Job]:
        return iter(tuple(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def __getitem__(self, job_id: str) -> Job:
        if job_id not in self._by_id:
            raise Refusal(404, f"no fine-tuning job {job_id!r}")
        return self._by_id[job_id]

    def create(self, *, body: Mapping[str, Any], scenario: Scenario, offer: ModelOffer, numbers: Numbers) -> Job:
        """Add a new job, `pending`."""
        course = plan_course(body, scenario, rows=numbers.rows, batch=numbers.batch, tokens=numbers.tokens)
        self._count += 1
        now = self._clock.text()
        job = Job(
            id=f"ft-{self._count:08x}",
            body={name: value for name, value in body.items() if name not in SECRETS},
            scenario=scenario,
            offer=offer,
            course=course,
            created_at=now,
            updated_at=now,
            ahead=deque(course.stages),
            hidden_lists=scenario.hidden_lists,
            numbers=numbers,
        )
        self._by_id[job.id] = job
        self._log(
            job,
            {
                "object": "fine-tune-event",
                "type": "job_pending",
                "message": "Fine-tune job is pending",
                "level": "info",
            },
            0,
        )
        return job

    def move(self, job: Job) -> None:
        """Advance the job by one stage."""
        if not job.ahead:
            return
        stage = job.ahead.popleft()
        now = self._clock.text()
        if stage.status != job.status:
            job.started_at = now
        if job.status != "cancel_requested" or stage.status in TERMINAL:
            job.status = stage.status
        job.updated_at, job.step = now, max(stage.step, job.step)
        for number, event in enumerate(stage.events):
            self._log(job, event, number)
        job.metrics += [{**row, "timestamp": round(self._clock.now, 3)} for row in stage.metrics]
        job.checkpoints += [(step, now) for step in stage.checkpoints]
        job.fields.update(stage.fields)
        if stage.respawns:
            again = job.scenario.replace(restarts=False)
            # The same request under a new id, and this one completes.
            job.successor = self.create(body=job.body, scenario=again, offer=job.offer, numbers=job.numbers).id

    def _log(self, job: Job, event: Mapping[str, Any], number: int) -> None:
        job.events.append({"created_at": self._clock.text(plus_s=number / 1000), **event})

    def cancel(self, job: Job) -> Answer:
        """`POST /v1/fine-tunes/{id}/cancel`.

        A job that is over is refused with 400; nothing published says what the service does.
        """
        if job.status in TERMINAL:
            raise Refusal(400, f"job {job.id} is {job.status} and can't be cancelled")
        if job.status != "cancel_requested":
            job.status = "cancel_requested"
            asked = {
                "object": "fine-tune-event",
                "type": "cancel_requested",
                "message": "Cancellation requested",
                "level": "info",
            }
            self._log(job, asked, 0)
            if not job.scenario.cancel_comes_too_late:
                stopped = {
                    "object": "fine-tune-event",
                    "type": "job_stopped",
                    "message": "Job cancelled",
                    "level": "info",
                    "step": job.step,
                }
                job.ahead = deque([Stage(status="cancelled", events=(stopped,), step=job.step)])
        return answer_json(job.to_wire(is_short=True))

    def listing(self) -> Answer:
        """`GET /v1/fine-tunes`: all jobs, without pages or filters; a new one may be missing for a while."""
        shown: list[dict[str, Any]] = []
        for job in self:
            if job.hidden_lists:
                job.hidden_lists -= 1
            else:
                shown.append(job.to_wire(is_short=True))
        return answer_json({"data": shown})

    def delete(self, job: Job) -> Answer:
        """`DELETE /v1/fine-tunes/{id}`."""
        if job.status not in TERMINAL:
            raise Refusal(400, f"job {job.id} is {job.status}; cancel it first")
        del self._by_id[job.id]
        return answer_json({"message": f"Fine-tune job {job.id} was deleted"})

    def checkpoints(self, job: Job) -> Answer:
        """`GET /v1/fine-tunes/{id}/checkpoints`."""
        kinds = [kind for kind, is_made in (("adapter", job.is_lora), ("model", job.makes_model)) if is_made]
        rows: list[dict[str, Any]] = []
        for step, at in job.checkpoints:
            label = "Final" if step == job.course.last_step else "Intermediate"
            for kind in kinds:
                shown = {
                    "step": step,
                    "checkpoint_type": f"{label} {kind.title()}",
                    "checkpoint": kind,
                    "created_at": at,
                }
                rows.append({**shown, "path": f"s3://together/{job.id}/step-{step}/{kind}"})
        return answer_json({"data": rows})

    def metrics(self, job: Job, query: Mapping[str, str]) -> Answer:
        """`GET /v1/fine-tunes/{id}/metrics`."""
        low, high = float(query.get("global_step_from", 0)), float(query.get("global_step_to", "inf"))
        rows = [row for row in job.metrics if low <= cast("float", row["train/global_step"]) <= high]
        resolution = int(query.get("resolution", 0))
        training = [row for row in rows if "train/loss" in row]
        if 0 < resolution < len(training):
            kept = {id(training[number * len(training) // resolution]) for number in range(resolution)}
            rows = [row for row in rows if "train/loss" not in row or id(row) in kept]
        return answer_json({"metrics": rows})
