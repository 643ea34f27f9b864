"""Submitting a plan as one job: found if it exists, else created by a request that is sent once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ftsdk.backends.managed.quotes import check_quote
from ftsdk.backends.managed.run_state import RunFolder
from ftsdk.backends.managed.service import LostAnswer, ManagedJob, ManagedService
from ftsdk.errors import BackendError, FtsdkError
from ftsdk.protocol import Plan

__all__ = ["Submission", "job_label"]

_LOOKS_S = (0.0, 1.0, 2.0, 4.0)
"""Seconds before each look for a job whose creation got no answer."""


def job_label(key: str, request: Mapping[str, Any], *, name: str | None = None, max_chars: int = 40) -> str:
    """Return the label that a run's job is found by.

    The same for the same key and request, on any machine, and for no other.

    Args:
        key: The run's key.
        request: The plan's request.
        name: The job's name, which makes the label readable; None takes the key.
        max_chars: Characters that the service allows, at least 17.
    """
    content = json.dumps([key, request], sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()[:16]
    readable = re.sub(r"[^a-z0-9]+", "-", (name or key).lower()).strip("-")[: max_chars - 17].strip("-")
    return f"{readable}-{digest}" if readable else digest


class Submission:
    """One attempt to submit a run. Its process must hold the run's lock.

    Args:
        service: The service.
        folder: The run's folder.
        plan: What is to be trained.
        label: The label of the run's job.
        model: The service's name of the model; a job that is found must tune it. Empty: not compared.
        backend: The backend's name, for messages.
        settle_s: Seconds after which a job whose creation got no answer is listed by the service, if it exists.
        clock: Returns seconds since the epoch.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        service: ManagedService,
        folder: RunFolder,
        plan: Plan,
        label: str,
        *,
        model: str,
        backend: str,
        settle_s: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._service = service
        self._folder = folder
        self._plan = plan
        self._label = label
        self._model = model
        self._backend = backend
        self._settle_s = settle_s
        self._clock = clock
        self._sleep = sleep

    def run(self) -> None:
        """Find the job of this run, or create it, and record its id."""
        if self.find():
            return
        request = self._service.prepare(self._plan, drafts=self._folder.path / "upload")
        quote = check_quote(lambda: self._service.quote(self._plan, request), budget_usd=self._plan.spec.budget_usd)
        if quote is not None:
            # Before the job is created, so that after a crash the price is known as well.
            self._folder.keep_quote(quote)
        # Once more, and last: another machine may have submitted the same key while the data were uploaded.
        if not self._adopt_listed():
            self._create(request)

    def find(self) -> bool:
        """Return whether this run has a job, and record its id.

        False if there is none and none can appear any more.

        Raises:
            BackendError: A job whose creation got no answer may still appear.
        """
        return self._adopt_listed() or self._adopt_lost()

    def _create(self, request: Mapping[str, Any]) -> None:
        self._folder.keep_intent(self._label, self._clock())
        lost: FtsdkError
        try:
            job_id = self._service.create_job(request, label=self._label)
        except LostAnswer as error:
            lost = error.error
        except FtsdkError:
            self._folder.drop_intent()
            raise
        else:
            self._adopt(job_id)
            return
        for wait_s in _LOOKS_S:
            self._sleep(wait_s)
            try:
                if self._adopt_listed():
                    return
            except BackendError:
                continue
        raise BackendError(
            f"the answer to creating the job was lost ({lost}), and the service doesn't list it yet. Nothing is sent "
            f"twice: Run.open('{self._backend}:{self._folder.key}').wait() looks for it again.",
            retryable=True,
            retry_after_s=lost.retry_after_s if isinstance(lost, BackendError) else None,
            status_code=lost.status_code if isinstance(lost, BackendError) else None,
        )

    def _adopt_lost(self) -> bool:
        """Look for a job whose creation got no answer.

        It may take `settle_s` to be listed, and until then nothing is sent again.
        """
        intent = self._folder.intent()
        if intent is None:
            return False
        left_s = intent["sent_at"] + self._settle_s - self._clock()
        if left_s > 0:
            raise BackendError(
                f"the answer to creating the job of run {self._folder.key} was lost, and the service doesn't list it "
                "yet. To avoid paying twice, "
                f"it isn't sent again for another {left_s:.0f} s; submit again under the same key after that",
                retryable=True,
                retry_after_s=left_s,
            )
        for wait_s in _LOOKS_S[1:]:
            self._sleep(wait_s)
            if self._adopt_listed():
                return True
        return False

    def _adopt_listed(self) -> bool:
        job = self._service.find_job(self._label)
        if job is None:
            return False
        self._check_model(job)
        self._adopt(job.id)
        return True

    def _check_model(self, job: ManagedJob) -> None:
        if self._model and job.model and job.model != self._model:
            raise BackendError(
                f"job {job.id} has this run's label {self._label!r} but tunes {job.model!r}, not {self._model!r}; it "
                "belongs to another run; submit this job under a new key"
            )

    def _adopt(self, job_id: str) -> None:
        self._folder.add_job(job_id)
        self._folder.drop_intent()
