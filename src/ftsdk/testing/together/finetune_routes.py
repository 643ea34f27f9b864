"""The routes of fine-tuning that come before a job: limits, price estimates and creation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ftsdk.testing.together.answers import Answer, Refusal, answer_json
from ftsdk.testing.together.files import FileStore, StoredFile
from ftsdk.testing.together.jobs import Job, JobStore, Numbers
from ftsdk.testing.together.offers import ModelOffer
from ftsdk.testing.together.request_rules import check_create, check_estimate, check_training
from ftsdk.testing.together.scenarios import Scenario

__all__ = ["FineTuneRoutes"]


@dataclass(frozen=True, kw_only=True)
class FineTuneRoutes:
    """Limits, estimates and creation."""

    offers: Mapping[str, ModelOffer]
    files: FileStore
    jobs: JobStore

    def limits(self, query: Mapping[str, str]) -> Answer:
        """`GET /v1/fine-tunes/models/limits`, of a model or of what a job made."""
        name = query.get("model_name")
        if not name:
            raise Refusal(422, "model_name is required", param="model_name")
        job = self._job_of(name)
        return answer_json((job.offer if job else self._offer(name)).limits())

    def supported(self) -> Answer:
        """`GET /v1/fine-tunes/models/supported`."""
        return answer_json({"models": list(self.offers)})

    def estimate(self, body: Mapping[str, Any], scenario: Scenario) -> Answer:
        """`POST /v1/fine-tunes/estimate-price`."""
        check_estimate(body)
        offer = self._offer_for(body)
        reason = scenario.unavailable_reason or self._unavailable(body)
        if reason:
            return answer_json({"estimation_available": False, "unavailable_reason": reason})
        training, evaluation = self._tokens(body)
        price = self._price_usd(body, offer, training + evaluation, scenario)
        allowed = {} if scenario.omits_allowed else {"allowed_to_proceed": price <= scenario.user_limit_usd}
        return answer_json(
            {
                "estimation_available": True,
                "estimated_total_price": round(price, 6),
                "user_limit": scenario.user_limit_usd,
                "estimated_train_token_count": training,
                "estimated_eval_token_count": evaluation,
                **allowed,
            }
        )

    def create(self, body: Mapping[str, Any], scenario: Scenario) -> Answer:
        """`POST /v1/fine-tunes`. Whether the estimate allowed it isn't asked."""
        check_create(body)
        offer = self._offer_for(body)
        training, validation = self._usable(body, "training_file"), self._usable(body, "validation_file")
        if training is None:
            raise Refusal(422, "training_file is required", param="training_file")
        check_training(
            body,
            offer,
            data_format=training.report.dataset_format,
            evals_format=validation.report.dataset_format if validation else None,
        )
        batch = body.get("batch_size", "max")
        tokens = sum(self._tokens(body))
        numbers = Numbers(
            tokens=tokens,
            price_usd=self._price_usd(body, offer, tokens, scenario),
            rows=training.report.nlines,
            file_bytes=len(training.content or b""),
            batch=(offer.max_batch_size or offer.batch_size if batch == "max" else batch)
            * (body.get("gradient_accumulation_steps") or offer.accumulation),
        )
        job = self.jobs.create(body=body, scenario=scenario, offer=offer, numbers=numbers)
        return answer_json(job.to_wire(is_short=True))

    def _offer(self, name: str) -> ModelOffer:
        if name not in self.offers:
            raise Refusal(404, f"model {name!r} is not available for fine-tuning", param="model")
        return self.offers[name]

    def _job_of(self, name: str) -> Job | None:
        return next((job for job in self.jobs if name in (job.id, job.output_name)), None)

    def _offer_for(self, body: Mapping[str, Any]) -> ModelOffer:
        """Return the model of a request: the one it names, or that of the job it continues."""
        if not body.get("from_checkpoint"):
            return self._offer(body["model"])
        name, _, step = str(body["from_checkpoint"]).partition(":")
        job = self._job_of(name)
        if job is None:
            raise Refusal(404, f"no checkpoint {name!r}", param="from_checkpoint")
        steps = [str(saved) for saved, _ in job.checkpoints]
        if (step and step not in (*steps, "0")) or (not step and job.status != "completed"):
            raise Refusal(
                400,
                f"job {job.id} is {job.status} and has checkpoints of the steps {', '.join(steps) or 'none'}",
                param="from_checkpoint",
            )
        return job.offer

    def _files_of(self, body: Mapping[str, Any]) -> tuple[tuple[str, StoredFile], ...]:
        named = ((kind, body.get(name)) for kind, name in (("train", "training_file"), ("eval", "validation_file")))
        return tuple((kind, self.files[cast("str", file_id)]) for kind, file_id in named if file_id)

    def _unavailable(self, body: Mapping[str, Any]) -> str:
        for kind, file in self._files_of(body):
            if file.status in ("INVALID_FORMAT", "FAILED"):
                return f"{kind}_file_invalid"
            if file.status != "COMPLETED":
                return f"{kind}_file_not_validated"
        return ""

    def _usable(self, body: Mapping[str, Any], name: str) -> StoredFile | None:
        if not body.get(name):
            return None
        file = self.files[body[name]]
        if file.status != "COMPLETED":
            raise Refusal(400, f"{name} {file.id} is {file.status or 'not a training file'}, not COMPLETED", param=name)
        return file

    def _tokens(self, body: Mapping[str, Any]) -> tuple[int, int]:
        """Count what is billed: epochs times training tokens, and evaluations times validation tokens."""
        found = {kind: file.report.tokens for kind, file in self._files_of(body)}
        return body.get("n_epochs", 1) * found.get("train", 0), (body.get("n_evals") or 0) * found.get("eval", 0)

    def _price_usd(self, body: Mapping[str, Any], offer: ModelOffer, tokens: int, scenario: Scenario) -> float:
        method = (body.get("training_method") or {}).get("method", "sft")
        is_full = (body.get("training_type") or {}).get("type") == "Full"
        return offer.price_usd(tokens, method=method, is_full=is_full) * scenario.price_factor
