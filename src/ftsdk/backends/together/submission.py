"""From a plan to one job: asked about first, and created by a request that is sent once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from ftsdk.backends.managed.run_state import RunFolder
from ftsdk.backends.together.client import LostAnswer, Wire
from ftsdk.backends.together.mapping import seconds
from ftsdk.backends.together.preflight import Inquiry
from ftsdk.backends.together.pricing import check_price
from ftsdk.errors import BackendError, FtsdkError
from ftsdk.protocol import Plan

__all__ = ["Submission", "newest_with"]

_LOOKS_S = (0.0, 1.0, 2.0, 4.0)
"""Seconds before each look for a job whose creation got no answer."""


class Submission:
    """One go at submitting a run. Whoever makes it holds the run's lock."""

    def __init__(
        self,
        wire: Wire,
        folder: RunFolder,
        plan: Plan,
        suffix: str,
        *,
        inquiry: Inquiry,
        settle_s: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._wire = wire
        self._folder = folder
        self._plan = plan
        self._suffix = suffix
        self._inquiry = inquiry
        self._settle_s = settle_s
        self._clock = clock
        self._sleep = sleep

    def run(self, *, minimum: Decimal) -> str:
        """Find the job of this run, or create it; gives its id.

        Args:
            minimum: US dollars that a job costs at least.
        """
        there = self.find()
        if there is not None:
            return there
        limits = self._inquiry.limits()
        create = {**self._plan.request["create"], **self._inquiry.files(), "suffix": self._suffix}
        answer = self._inquiry.price(create)
        quote = check_price(answer, budget=self._plan.spec.budget_usd, minimum=minimum, asked_at=self._clock())
        # Before the job: whoever finds it after a crash finds what it was said to cost, too.
        self._folder.keep_quote(quote)
        # Again, and last: another machine may have submitted the same key while the data went up.
        found = self._look()
        if found is not None:
            return self._adopt(found)
        return self._create(create, limits)

    def find(self) -> str | None:
        """Look for the job of this run; None if there is none, and none can appear any more.

        Raises:
            BackendError: It may still appear.
        """
        found = self._look() or self._look_for_lost_job()
        return None if found is None else self._adopt(found)

    # Create, once

    def _create(self, create: Mapping[str, Any], limits: Mapping[str, Any]) -> str:
        self._folder.keep_intent(self._suffix, self._clock())
        lost: FtsdkError
        try:
            job = self._wire.create(create, limits)
        except LostAnswer as error:
            lost = error.error
        except FtsdkError:
            self._folder.drop_intent()
            raise
        else:
            return self._adopt(job)
        for wait_s in _LOOKS_S:
            self._sleep(wait_s)
            try:
                found = self._look()
            except BackendError:
                continue
            if found is not None:
                return self._adopt(found)
        code = lost.status_code if isinstance(lost, BackendError) else None
        raise BackendError(
            f"the answer to creating the job was lost ({lost}), and no job is listed yet. Nothing is sent twice: "
            f"Run.open('together:{self._folder.key}').wait() looks again under the same key.",
            retryable=True,
            retry_after_s=lost.retry_after_s if isinstance(lost, BackendError) else None,
            status_code=code,
        )

    def _look_for_lost_job(self) -> Mapping[str, Any] | None:
        """A job that isn't listed yet may still appear: until it would have, and a few looks in a row say no, nothing is sent again."""
        intent = self._folder.intent()
        if intent is None:
            return None
        left_s = intent["sent_at"] + self._settle_s - self._clock()
        if left_s > 0:
            raise BackendError(
                f"the answer to creating the job of run {self._folder.key} was lost, and the service doesn't list it yet; so as not to pay twice, "
                f"it isn't sent again for another {left_s:.0f} s. Then submit again, under the same key.",
                retryable=True,
                retry_after_s=left_s,
            )
        for wait_s in _LOOKS_S[1:]:
            self._sleep(wait_s)
            found = self._look()
            if found is not None:
                return found
        return None

    def _look(self) -> Mapping[str, Any] | None:
        return newest_with(self._suffix, self._wire.jobs())

    def _adopt(self, job: Mapping[str, Any]) -> str:
        asked = self._plan.request["create"]["model"]
        if job.get("model") not in (None, "", asked):
            raise BackendError(f"job {job['id']} has this run's suffix {self._suffix!r} but tunes {job['model']!r}, not {asked!r}; it isn't ours")
        self._folder.add_job(str(job["id"]))
        self._folder.drop_intent()
        return str(job["id"])


def newest_with(suffix: str, jobs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Find the newest job with a suffix; the service starts a job that it lost again under another id."""
    found = [job for job in jobs if job.get("suffix") == suffix and job.get("id")]
    return max(found, key=lambda job: seconds(job.get("created_at")), default=None)
