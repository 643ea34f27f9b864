"""Everything that is asked of the service before there is a job: limits, the data and their check, the price. Spends nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.managed.run_state import FileCache
from ftsdk.backends.together.catalogue import catalogue
from ftsdk.backends.together.client import Wire
from ftsdk.backends.together.limits import gaps_against, read_limits
from ftsdk.backends.together.rows import file_name, render_file
from ftsdk.backends.together.translate import estimate_arguments
from ftsdk.data import Store
from ftsdk.errors import BackendError, DatasetError, Gap, RunNotFoundError, UnsupportedSpecError
from ftsdk.protocol import Plan, refuse

__all__ = ["Inquiry"]

_PROCESSING_S = 3600.0
"""How long the service may check a file before we stop waiting; the check goes on there, and so does the next submit."""


class Inquiry:
    """One plan, asked about.

    Args:
        wire: The service.
        plan: What is to be done there.
        place: Where uploaded files live.
        drafts: A folder of this one inquiry, for files on their way.
        poll_s: Seconds between two looks at a file.
        clock: Seconds since the epoch.
        sleep: Waits for some seconds.
    """

    def __init__(
        self, wire: Wire, plan: Plan, *, place: str, drafts: Path, poll_s: float, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._wire = wire
        self._plan = plan
        self._cache = FileCache(place)
        self._drafts = drafts
        self._poll_s = poll_s
        self._clock = clock
        self._sleep = sleep

    def limits(self) -> Mapping[str, Any]:
        """Ask for the model's limits, and hold the plan against them.

        Raises:
            UnsupportedSpecError: They don't allow it, or the service doesn't tune the model.
        """
        spec, create = self._plan.spec, self._plan.request["create"]
        answer = self._wire.limits(create["model"])
        if answer is None:
            book = catalogue()
            others = tuple(hub for hub in book.nearest(spec.model.id, count=4) if hub != spec.model.id)[:3]
            raise UnsupportedSpecError("together", [Gap("model", spec.model.id, others, f"the service doesn't tune {create['model']!r}")])
        refuse("together", gaps_against(spec, create, read_limits(answer)))
        return answer

    def price(self, create: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask for the price of a job whose files are there; gives the service's answer."""
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

    def files(self) -> dict[str, str]:
        """Bring the data there, unless they are, and wait until they are checked; gives the ids of the files.

        Raises:
            DatasetError: The service refused them.
        """
        request = self._plan.request["upload"]
        spec = self._plan.spec
        store = Store()
        files = {"training_file": self._file(store.get(request["train"]), spec.train.name), "validation_file": ""}
        if spec.validation is not None:
            files["validation_file"] = self._file(store.get(request["validation"]), spec.validation.name)
        return files

    def _file(self, rows: Path, name: str) -> str:
        draft = self._drafts / "draft.jsonl"
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
                raise BackendError(f"Together couldn't check the data {name!r} ({said or 'no reason given'}); ask again", retryable=True)
            if self._clock() >= deadline:
                raise BackendError(f"Together is still checking the data {name!r} ({word}); ask again, nothing is uploaded twice", retryable=True)
            self._sleep(self._poll_s)
