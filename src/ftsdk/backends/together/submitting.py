"""From a plan to one job: limits, upload, price, and a create that is sent once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from ftsdk.backends.base import Plan, refuse
from ftsdk.backends.together.catalogue import catalogue
from ftsdk.backends.together.client import LostAnswer, Wire
from ftsdk.backends.together.folder import FileCache, RunFolder
from ftsdk.backends.together.limits import gaps_against, read_limits
from ftsdk.backends.together.mapping import seconds
from ftsdk.backends.together.rows import file_name, render_file
from ftsdk.backends.together.translate import estimate_arguments
from ftsdk.data import Store
from ftsdk.errors import BackendError, BudgetExceededError, DatasetError, FtsdkError, Gap, RunNotFoundError, UnsupportedSpecError

__all__ = ["Submission", "check_price", "newest_with"]

_PROCESSING_S = 3600.0
"""How long the service may check a file before we stop waiting; the check goes on there, and so does the next submit."""
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
        place: str,
        poll_s: float,
        settle_s: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._wire = wire
        self._folder = folder
        self._plan = plan
        self._suffix = suffix
        self._cache = FileCache(place)
        self._poll_s = poll_s
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
        limits = self._limits()
        files = self._upload()
        create = {**self._plan.request["create"], **files, "suffix": self._suffix}
        self._check_price(create, minimum)
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

    # Limits and price

    def _limits(self) -> Mapping[str, Any]:
        spec, create = self._plan.spec, self._plan.request["create"]
        answer = self._wire.limits(create["model"])
        if answer is None:
            book = catalogue()
            others = tuple(hub for hub in book.nearest(spec.model.id, count=4) if hub != spec.model.id)[:3]
            raise UnsupportedSpecError("together", [Gap("model", spec.model.id, others, f"the service doesn't tune {create['model']!r}")])
        refuse("together", gaps_against(spec, create, read_limits(answer)))
        return answer

    def _check_price(self, create: Mapping[str, Any], minimum: Decimal) -> None:
        arguments = {**estimate_arguments(create), "training_file": create["training_file"]}
        if create["validation_file"]:
            arguments["validation_file"] = create["validation_file"]
        for left in (4, 3, 2, 1, 0):
            answer = self._wire.estimate(arguments)
            reason = str(answer.get("unavailable_reason") or "")
            if answer.get("estimation_available") is not False or not reason.endswith("_not_validated") or not left:
                break
            self._sleep(self._poll_s)
        check_price(answer, budget=self._plan.spec.budget_usd, minimum=minimum)  # pyright: ignore[reportPossiblyUnboundVariable]

    # Files

    def _upload(self) -> dict[str, str]:
        request = self._plan.request["upload"]
        spec = self._plan.spec
        store = Store()
        files = {"training_file": self._file(store.get(request["train"]), spec.train.name), "validation_file": ""}
        if spec.validation is not None:
            files["validation_file"] = self._file(store.get(request["validation"]), spec.validation.name)
        return files

    def _file(self, rows: Path, name: str) -> str:
        draft = self._folder.path / "upload" / "draft.jsonl"
        draft.parent.mkdir(exist_ok=True)
        sha256 = render_file(rows, draft, train_on=self._plan.request["upload"]["train_on"], name=name)
        path = draft.replace(draft.with_name(file_name(sha256)))
        try:
            known = self._known_file(path, sha256)
            file_id = known or self._wire.upload(path)
            self._wait_until_checked(file_id, name)
            self._cache.put(sha256, file_id)
            return file_id
        finally:
            path.unlink(missing_ok=True)

    def _known_file(self, path: Path, sha256: str) -> str | None:
        kept = self._cache.get(sha256)
        if kept is not None:
            try:
                self._wire.file(kept)
            except RunNotFoundError:
                self._cache.drop(sha256)
            else:
                return kept
        size = path.stat().st_size
        for file in self._wire.files():
            # A file whose upload broke off has the name but not the size, or was never checked; it isn't taken.
            if file.get("filename") == path.name and file.get("bytes") == size and file.get("processing_status") not in ("PENDING", "FAILED"):
                return str(file["id"])
        return None

    def _wait_until_checked(self, file_id: str, name: str) -> None:
        deadline = self._clock() + _PROCESSING_S
        while True:
            file = self._wire.file(file_id)
            word = str(file.get("processing_status") or "COMPLETED")
            if word == "COMPLETED":
                return
            report = file.get("validation_report")
            said = str(report.get("error") or "") if isinstance(report, Mapping) else ""
            if word == "INVALID_FORMAT":
                raise DatasetError(
                    f"Together refused the data: {said or 'no reason given'}.",
                    source=name,
                    hint="Nothing was created. Look at the rows: job.preview().",
                )
            if word == "FAILED":
                raise BackendError(f"Together couldn't check the data {name!r} ({said or 'no reason given'}); submit again", retryable=True)
            if self._clock() >= deadline:
                raise BackendError(f"Together is still checking the data {name!r} ({word}); submit again, nothing is uploaded twice", retryable=True)
            self._sleep(self._poll_s)


def newest_with(suffix: str, jobs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Find the newest job with a suffix; the service starts a job that it lost again under another id."""
    found = [job for job in jobs if job.get("suffix") == suffix and job.get("id")]
    return max(found, key=lambda job: seconds(job.get("created_at")), default=None)


def check_price(answer: Mapping[str, Any], *, budget: Decimal | None, minimum: Decimal) -> Decimal:
    """Let a job through whose price is known, allowed, and within the budget.

    Args:
        answer: The service's estimate.
        budget: US dollars that the run may cost; None: no limit of ours.
        minimum: US dollars that a job costs at least.

    Returns:
        What the job will cost, in US dollars.

    Raises:
        BudgetExceededError: It isn't known, not allowed, or too much.
        DatasetError: The service can't estimate since it refused a file.
    """
    if answer.get("estimation_available") is False:
        reason = str(answer.get("unavailable_reason") or "no reason given")
        if reason.endswith("_invalid"):
            raise DatasetError(f"Together refused the data ({reason}).", hint="Nothing was created. Look at the rows: job.preview().")
        raise BudgetExceededError(f"Together can't say what the job would cost ({reason}), so it wasn't created. Submit again in a while.")
    try:
        price = max(Decimal(str(answer["estimated_total_price"])), minimum)
    except (KeyError, InvalidOperation) as error:
        raise BudgetExceededError("Together didn't say what the job would cost, so it wasn't created. Submit again in a while.") from error
    if not price.is_finite():
        raise BudgetExceededError("Together didn't say what the job would cost, so it wasn't created. Submit again in a while.")
    if budget is not None and price > budget:
        raise BudgetExceededError(
            f"Together estimates ${price:.2f} for the job (at least ${minimum:.2f}), more than budget_usd={budget}; it wasn't created. "
            "Train on less, for fewer epochs, on a smaller model, or raise the budget."
        )
    if answer.get("allowed_to_proceed") is not True:
        limit = answer.get("user_limit")
        raise BudgetExceededError(
            f"the Together account may not spend ${price:.2f} (its limit is {'unknown' if limit is None else f'${limit}'}); the job wasn't created. "
            "Add credits or raise the limit under Settings, Billing; then submit again."
        )
    return price
