"""Heron, a managed service: `Heron` decides, `HeronClient` talks; the rest is inherited."""

from __future__ import annotations

import json
import os
import time
from decimal import Decimal
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ftsdk.backends.managed.backend import ManagedBackend
from ftsdk.backends.managed.event_mirror import Entry
from ftsdk.backends.managed.service import JobEvents, JobQuote, JobWeights, LostAnswer, ManagedJob
from ftsdk.data import Store
from ftsdk.errors import BackendError, CredentialsError, Diagnosis, RunNotFoundError
from ftsdk.protocol import Adjustment, Capabilities, Plan, find_gaps, read_event, refuse
from ftsdk.protocol.estimates import Quote
from ftsdk.spec import LoRA, default_learning_rate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ftsdk.protocol import RunState
    from ftsdk.spec import JobSpec

STATES: dict[str, RunState] = {
    "waiting": "queued", "fishing": "running", "stopping": "cancelling", "landed": "succeeded", "drowned": "failed",
    "stopped": "cancelled",
}  # fmt: skip


class Heron(ManagedBackend["HeronClient"]):
    """Fine-tuning at Heron. The key comes from HERON_API_KEY."""

    name = "heron"
    capabilities = Capabilities(
        methods=frozenset({"sft"}),
        tunings=frozenset({"lora"}),
        formats=frozenset({"chat"}),
        model_sources=frozenset({"hub"}),
        fields=frozenset({"budget_usd", "epochs", "learning_rate", "tuning.rank"}),
    )

    def __init__(self, *, url: str, timeout_s: float = 60.0, settle_s: float = 60.0) -> None:
        super().__init__(lock_s=timeout_s, poll_s=0.0, settle_s=settle_s, sleep=lambda _: None)
        self.options = {"url": url, "timeout_s": timeout_s, "settle_s": settle_s}

    def plan(self, spec: JobSpec) -> Plan:
        """Decide everything, send nothing."""
        refuse(self.name, find_gaps(spec, self.capabilities))
        rate, reason = default_learning_rate(spec.method, spec.tuning)
        request = {
            "model": spec.model.id,
            "file": spec.train.fingerprint,
            "epochs": spec.epochs,
            "rank": spec.tuning.rank if isinstance(spec.tuning, LoRA) else None,
            "learning_rate": spec.learning_rate or rate,
            "max_usd": None if spec.budget_usd is None else float(spec.budget_usd),
        }
        chosen = () if spec.learning_rate else (Adjustment(field="learning_rate", chosen=rate, reason=reason),)
        return Plan(backend=self.name, spec=spec, request=request, adjustments=chosen)

    def quote(self, plan: Plan) -> Quote:
        """Return the service's price."""
        return self._ask_price(plan)

    def _connect(self) -> HeronClient:
        return HeronClient(self.options["url"], key=os.environ["HERON_API_KEY"], timeout_s=self.options["timeout_s"])


class HeronClient:
    """The wire, as a `ManagedService`."""

    def __init__(self, url: str, *, key: str, timeout_s: float) -> None:
        self._url, self._key, self._timeout_s = url, key, timeout_s

    def prepare(self, plan: Plan, *, drafts: Path) -> Mapping[str, Any]:
        fingerprint = plan.request["file"]
        if not self._ask("GET", f"/files/{fingerprint}")["is_there"]:
            self._ask("PUT", f"/files/{fingerprint}", Store().get(fingerprint).read_bytes())
        return plan.request

    def quote(self, plan: Plan, request: Mapping[str, Any]) -> JobQuote:
        usd = Decimal(self._ask("POST", "/price", request)["usd"])
        return JobQuote(quote=Quote(usd=usd, source="Heron's price", asked_at=time.time()))

    def create_job(self, request: Mapping[str, Any], *, label: str) -> str:
        try:
            return self._ask("POST", "/jobs", {**request, "label": label})["id"]
        except BackendError as error:
            if error.status_code == 429:
                raise
            raise LostAnswer(error) from None

    def find_job(self, label: str) -> ManagedJob | None:
        found = [job for job in self._ask("GET", "/jobs")["jobs"] if job["label"] == label]
        return _job(found[-1]) if found else None

    def get_job(self, job_id: str) -> ManagedJob:
        return _job(self._ask("GET", f"/jobs/{job_id}"))

    def list_events(self, job: ManagedJob) -> JobEvents:
        return JobEvents(entries=[_entry(event) for event in self._ask("GET", f"/jobs/{job.id}/events")["events"]])

    def cancel_job(self, job_id: str) -> None:
        self._ask("POST", f"/jobs/{job_id}/cancel", {})

    def diagnose(self, job: ManagedJob, *, errors: Sequence[str], step: int | None) -> Diagnosis:
        return Diagnosis("provider", errors[-1] if errors else "no reason given", step, ("submit the job again",))

    def describe_weights(self, job_id: str, submission: Mapping[str, Any]) -> JobWeights:
        base = submission["request"]["model"] if submission else self._ask("GET", f"/jobs/{job_id}")["model"]
        return JobWeights(kind="adapter", base=base, facts={"trainer": "heron", "job": job_id})

    def download(self, job_id: str, weights: JobWeights, *, into: Path) -> None:
        into.write_bytes(self._send("GET", f"/jobs/{job_id}/weights"))

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | bytes | None = None) -> dict[str, Any]:
        content = self._send(method, path, body)
        try:
            return json.loads(content)
        except ValueError as error:
            raise BackendError(f"Heron sent no JSON for {path}; check url", status_code=200) from error

    def _send(self, method: str, path: str, body: Mapping[str, Any] | bytes | None = None) -> bytes:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = Request(f"{self._url}{path}", data, {"Authorization": f"Bearer {self._key}"}, method=method)
        try:
            with urlopen(request, timeout=self._timeout_s) as answer:
                return answer.read()
        except HTTPError as error:
            error.close()
            raise _error(error.code, path, error.headers.get("Retry-After")) from None
        except (OSError, HTTPException) as error:
            raise BackendError(f"Heron can't be reached for {path}: {error}", retryable=True) from error


def _error(status: int, path: str, retry_after: str | None) -> Exception:
    if status == 401:
        return CredentialsError("Heron refused the key; set HERON_API_KEY")
    if status == 404:
        return RunNotFoundError(f"Heron has nothing at {path}; check url and the key's account")
    wait_s = None if retry_after is None else float(retry_after)
    return BackendError(
        f"Heron answered {status} for {path}", retryable=status in (429, 503), retry_after_s=wait_s, status_code=status
    )


def _job(job: Mapping[str, Any]) -> ManagedJob:
    state = STATES.get(job["word"], "unknown")
    return ManagedJob(
        id=job["id"], state=state, native=job["word"], label=job["label"], created_at=job["at"], updated_at=job["at"]
    )


def _entry(event: Mapping[str, Any]) -> Entry:
    return Entry(key=event["id"], event=read_event(json.dumps({**event, "seq": 0}), seq=0))
