"""What happens at the service before a job is created: limits, upload and check of the data, price. Spends nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.managed.file_cache import FileCache
from ftsdk.backends.together.catalogue import catalogue
from ftsdk.backends.together.client import Wire
from ftsdk.backends.together.limits import gaps_against, read_limits
from ftsdk.backends.together.rows import file_name, render_file, used_features
from ftsdk.backends.together.translate import estimate_arguments
from ftsdk.data import Store
from ftsdk.errors import BackendError, DatasetError, Gap, RunNotFoundError, UnsupportedSpecError
from ftsdk.protocol import Plan, refuse

__all__ = ["Preflight"]

_PROCESSING_S = 3600.0
"""Seconds to wait while the service checks a file.

The check continues at the service, and the next submit waits for the same one.
"""


class Preflight:
    """The requests before a job.

    Args:
        wire: The connection.
        account: Where the ids of uploaded files are valid.
        poll_s: Seconds between two requests about a file.
        clock: Returns seconds since the epoch.
        sleep: Waits for some seconds.
    """

    def __init__(
        self, wire: Wire, *, account: str, poll_s: float, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._wire = wire
        self._cache = FileCache("together", account)
        self._poll_s = poll_s
        self._clock = clock
        self._sleep = sleep

    def limits(self, plan: Plan) -> Mapping[str, Any]:
        """Return the service's limits for the plan's model.

        Raises:
            UnsupportedSpecError: They don't allow the plan, or the service doesn't tune the model.
        """
        spec, create = plan.spec, plan.request["create"]
        answer = self._wire.limits(create["model"])
        if answer is None:
            book = catalogue()
            others = tuple(hub for hub in book.nearest(spec.model.id, count=4) if hub != spec.model.id)[:3]
            raise UnsupportedSpecError(
                "together", [Gap("model", spec.model.id, others, f"the service doesn't tune {create['model']!r}")]
            )
        refuse("together", gaps_against(spec, create, read_limits(answer)))
        return answer

    def price(self, create: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the service's answer to a price estimate for a job whose files are uploaded."""
        arguments = {**estimate_arguments(create), "training_file": create["training_file"]}
        if create["validation_file"]:
            arguments["validation_file"] = create["validation_file"]
        for _ in range(4):
            answer = self._wire.estimate(arguments)
            is_early = str(answer.get("unavailable_reason") or "").endswith("_not_validated")
            if answer.get("estimation_available") is not False or not is_early:
                return answer
            self._sleep(self._poll_s)
        return self._wire.estimate(arguments)

    def files(self, plan: Plan, drafts: Path) -> dict[str, str]:
        """Upload the data, unless they are there already, wait until they are checked, and return the ids of the files.

        Raises:
            DatasetError: The service refused them, or doesn't tune the model with what they use.
        """
        request = plan.request["upload"]
        spec = plan.spec
        store = Store()

        def upload(fingerprint: str, name: str) -> str:
            rows = store.get(fingerprint)
            self._check_features(used_features(rows), plan.request["create"]["model"], name)
            return self._file(rows, name, train_on=request["train_on"], drafts=drafts)

        files = {"training_file": upload(request["train"], spec.train.name), "validation_file": ""}
        if spec.validation is not None:
            files["validation_file"] = upload(request["validation"], spec.validation.name)
        return files

    def _check_features(self, features: Iterable[str], model: str, name: str) -> None:
        for feature in sorted(features):
            if (self._wire.limits(model) or {}).get(f"supports_{feature}") is False:
                raise DatasetError(
                    f"the rows use {feature}, and Together doesn't tune {model!r} with {feature}.",
                    source=name,
                    hint="Choose another model, leave these rows out, or train on another backend.",
                )

    def _file(self, rows: Path, name: str, *, train_on: Any, drafts: Path) -> str:
        draft = drafts / "draft.jsonl"
        draft.parent.mkdir(exist_ok=True)
        sha256 = render_file(rows, draft, train_on=train_on, name=name)
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
            # A file whose upload broke off has the name but not the size, or was never checked; it can't be used.
            if (
                file.get("filename") == path.name
                and file.get("bytes") == size
                and file.get("processing_status") not in ("PENDING", "FAILED")
            ):
                return str(file["id"])
        return None

    def _wait_until_checked(self, file_id: str, name: str) -> None:
        deadline = self._clock() + _PROCESSING_S
        while True:
            file = self._wire.file(file_id)
            status = str(file.get("processing_status") or "COMPLETED")
            if status == "COMPLETED":
                return
            report = file.get("validation_report")
            why = (str(report.get("error") or "") if isinstance(report, Mapping) else "") or "no reason given"
            if status == "INVALID_FORMAT":
                raise DatasetError(
                    f"Together refused the data: {why}.",
                    source=name,
                    hint="Nothing was created. Check the rows: job.preview().",
                )
            if status == "FAILED":
                raise BackendError(f"Together couldn't check the data {name!r} ({why}); try again", retryable=True)
            if self._clock() >= deadline:
                raise BackendError(
                    f"Together is still checking the data {name!r} ({status}); try again, nothing is uploaded twice",
                    retryable=True,
                )
            self._sleep(self._poll_s)
