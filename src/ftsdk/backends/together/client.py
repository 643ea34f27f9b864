"""The wire: the one file that talks through the `together` client. Plain data in, plain data out, our errors only."""

from __future__ import annotations

import json
import os
import re
import shutil
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from ftsdk._secrets import check_key, redact_logs, remove_keys
from ftsdk.backends.managed.service import LostAnswer
from ftsdk.backends.together.mapping import error_for
from ftsdk.backends.together.serving_client import ServingClient
from ftsdk.errors import BackendError, CredentialsError, FtsdkError, MissingExtraError, RunNotFoundError
from ftsdk.spec.urls import check_service_url

__all__ = ["Wire", "clean_base_url", "find_key"]

Json = dict[str, Any]
_LOGGERS = ("together", "together._base_client", "together._response", "together.lib.resources.files")
_T = TypeVar("_T")


def clean_base_url(url: str | None, *, allow_http: bool = False) -> str | None:
    """Take the `/v1` off a base URL: since 3.0 the client adds it by itself, and would ask for `/v1/v1/...`.

    Raises:
        SpecError: The URL isn't one of a service, holds a secret, or would send the key unencrypted.
    """
    if url is None:
        return None
    checked = check_service_url("base_url", url, key_comes_from="TOGETHER_API_KEY", allow_http=allow_http)
    return checked.removesuffix("/v1").rstrip("/")


def find_key(given: str | None) -> str:
    """Return the API key: the one given, or the environment's.

    Raises:
        CredentialsError: There is none.
    """
    key = check_key(given or os.environ.get("TOGETHER_API_KEY", ""), source="TOGETHER_API_KEY")
    if not key:
        raise CredentialsError(
            "Together needs a key: set TOGETHER_API_KEY (create one at api.together.ai, Settings, API keys)"
        )
    return key


class Wire:
    """A connection to the service.

    Args:
        key: The API key.
        base_url: Where the service is; None: the client's own address, or TOGETHER_BASE_URL.
        project_id: The project; None: the key's own, or TOGETHER_PROJECT_ID.
        timeout_s: Seconds to wait for an answer.
        max_retries: Retries of the client. Never used for creating a job.

    Raises:
        MissingExtraError: The client isn't installed.
    """

    def __init__(
        self, *, key: str, base_url: str | None, project_id: str | None, timeout_s: float, max_retries: int
    ) -> None:
        try:
            from together import Together
        except ImportError as error:
            raise MissingExtraError("together", needed_for="backend 'together'", missing=error.name) from error
        self._secrets = (key,)
        redact_logs(key, _LOGGERS)
        base_url = base_url or clean_base_url(os.environ.get("TOGETHER_BASE_URL") or None)
        self._client = Together(
            api_key=key, base_url=base_url, project_id=project_id, timeout=timeout_s, max_retries=max_retries
        )
        # The client has reference cycles: without this it would be collected late, with its sockets open.
        weakref.finalize(self, self._client.close)

    # Files

    def files(self) -> list[Json]:
        """List the uploaded files."""
        return self._list("listing the files", lambda: self._client.files.with_raw_response.list())

    def file(self, file_id: str) -> Json:
        """Return a file; `processing_status` is the progress of its check."""
        return self._read(
            "asked about an uploaded file", lambda: self._client.files.with_raw_response.retrieve(file_id)
        )

    def upload(self, path: Path) -> str:
        """Upload a file for training and return its id. Known content is not sent again."""
        answer = self._ask("uploading the data", lambda: self._client.files.upload(path, purpose="fine-tune"))
        return _id_of(answer, "uploading the data")

    # Jobs

    def limits(self, model: str) -> Json | None:
        """Return the limits of a model; None if the service doesn't tune it."""
        try:
            return self._read(
                "asked for the limits of a model",
                lambda: self._client.fine_tuning.with_raw_response.model_limits(model_name=model),
            )
        except RunNotFoundError:
            return None

    def estimate(self, arguments: Mapping[str, Any]) -> Json:
        """Return the price estimate for a job."""
        return self._read(
            "asked for a price", lambda: self._client.fine_tuning.with_raw_response.estimate_price(**arguments)
        )

    def create(self, arguments: Mapping[str, Any], limits: Mapping[str, Any]) -> str:
        """Create a job with exactly one request, and return its id.

        The client would retry by itself, and each try could create a job.

        Raises:
            LostAnswer: It isn't known whether there is a job now.
            FtsdkError: There is none.
        """
        from together.types.finetune_model_limits import FinetuneModelLimits

        doing = "creating the job"
        failure: FtsdkError
        is_lost = True
        try:
            once = self._client.with_options(max_retries=0)
            answer = once.fine_tuning.create(
                **arguments, model_limits=FinetuneModelLimits.construct(**limits), verbose=False
            )
            return _id_of(answer, doing)
        except BackendError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - whatever the client raises, it ends here
            failure = error_for(error, doing=doing, secrets=self._secrets)
            is_lost = _may_have_created(error)
        # Out of the `except`: the client's error holds the request, and with it the key, and must not be the context of
        # ours.
        if is_lost:
            raise LostAnswer(failure)
        raise failure

    def jobs(self) -> list[Json]:
        """List all jobs; there is no filter and there are no pages."""
        return self._list("listing the jobs", lambda: self._client.fine_tuning.with_raw_response.list())

    def job(self, job_id: str) -> Json:
        """Return a job."""
        job = self._read(
            "asked for the job's status", lambda: self._client.fine_tuning.with_raw_response.retrieve(job_id)
        )
        if not isinstance(job.get("status"), str):
            raise BackendError(
                "Together, asked for the job's status, sent an answer without one. Check base_url.", status_code=200
            )
        return job

    def events(self, job_id: str) -> list[Json]:
        """List a job's events."""
        return self._list(
            "asked for the job's events", lambda: self._client.fine_tuning.with_raw_response.list_events(job_id)
        )

    def metrics(self, job_id: str) -> list[Json]:
        """List a job's metrics."""
        return self._list(
            "asked for the job's metrics",
            lambda: self._client.fine_tuning.with_raw_response.list_metrics(job_id),
            "metrics",
        )

    def checkpoints(self, job_id: str) -> list[Json]:
        """List a job's checkpoints."""
        return self._list(
            "asked for the job's checkpoints",
            lambda: self._client.fine_tuning.with_raw_response.list_checkpoints(job_id),
        )

    def cancel(self, job_id: str) -> None:
        """Request that a job stops."""
        self._ask("cancelling the job", lambda: self._client.fine_tuning.cancel(job_id))

    def download(self, job_id: str, *, checkpoint: str, into: Path) -> None:
        """Download the weights of a finished job; resumes an earlier try, and checks the size.

        Args:
            job_id: The job.
            checkpoint: `adapter`, `merged` or `model_output_path`.
            into: The archive. A file next to it has its full size, which shows whether it is complete.

        Raises:
            BackendError: It broke off; what came is kept.
        """
        self._ask("downloading the weights", lambda: self._download(job_id, checkpoint, into))

    def _download(self, job_id: str, checkpoint: str, into: Path) -> None:
        note = into.with_name(f"{into.name}.json")
        known = _read_note(note)
        have = into.stat().st_size if into.exists() and known.get("total") else 0
        if have and have == known["total"]:
            return
        headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
        if have and known.get("etag"):
            headers["If-Range"] = str(known["etag"])
        content = self._client.fine_tuning.with_streaming_response.content
        with content(ft_id=job_id, checkpoint=cast("Any", checkpoint), extra_headers=headers) as response:
            raw = response.http_response
            start, total = _range_of(raw.status_code, raw.headers)
            if start not in (0, have) or (start and total != known["total"]):
                into.unlink(missing_ok=True)
                raise BackendError(
                    "the weights changed during the download; collect() again starts over", retryable=True
                )
            # The size first: without its note, a piece of an archive would have to be thrown away.
            if total - start > (free := shutil.disk_usage(into.parent).free):
                raise BackendError(
                    f"no space left for the weights ({total:,} bytes, {free:,} are free in {into.parent}); make room, "
                    "then collect() again"
                )
            note.write_text(json.dumps({"total": total, "etag": raw.headers.get("etag")}))
            size = start
            with into.open("r+b" if start else "wb") as file:
                file.seek(start)
                # As it comes: in blocks of a size, what came of a block before the connection broke would be lost.
                for block in raw.iter_raw():
                    size += len(block)
                    if size > total:
                        break
                    file.write(block)
        if size > total:
            into.unlink()
            raise BackendError(
                f"received {size:,} bytes, but Together announced {total:,}; collect() again starts over",
                retryable=True,
            )
        if size < total:
            raise BackendError(
                f"the download was interrupted at {size} of {total} bytes; collect() resumes there", retryable=True
            )

    # Deployments

    def serving(self) -> ServingClient:
        """Return the part that deployments need."""
        return ServingClient(self._client, ask=self._ask)

    # Requests

    def _ask(self, doing: str, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except FtsdkError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the client raises becomes our error
            failure = error_for(error, doing=doing, secrets=self._secrets)
        # Out of the `except`: the client's error holds the request, and with it the key, and must not be the context of
        # ours.
        raise failure

    def _read(self, doing: str, call: Callable[[], Any]) -> Json:
        # Without the key, which a service may repeat in the words that become events and reasons.
        answer = self._ask(doing, lambda: json.loads(remove_keys(call().http_response.text, self._secrets)))
        if not isinstance(answer, dict):
            raise BackendError(
                f"Together, {doing}, sent a {type(answer).__name__} in place of an object. Check base_url.",
                status_code=200,
            )
        return cast("Json", answer)

    def _list(self, doing: str, call: Callable[[], Any], field: str = "data") -> list[Json]:
        answer = self._read(doing, call)
        found: object = answer.get(field)
        if found is None and field in answer:
            return []
        if not isinstance(found, list):
            raise BackendError(f"Together, {doing}, sent an answer without {field!r}. Check base_url.", status_code=200)
        return [cast("Json", item) for item in cast("Sequence[object]", found) if isinstance(item, dict)]


def _read_note(note: Path) -> Json:
    """Return what is known of a download; empty if nothing is, or the note is damaged."""
    try:
        known: object = json.loads(note.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    is_whole = isinstance(known, dict) and isinstance(known.get("total"), int)
    return cast("Json", known) if is_whole else {}


def _id_of(answer: object, doing: str) -> str:
    found = getattr(answer, "id", None)
    if not isinstance(found, str) or not found:
        raise BackendError(
            f"Together, {doing}, sent an answer without an id ({type(answer).__name__}). Check base_url."
        )
    return found


def _may_have_created(error: BaseException) -> bool:
    """Return False for refusals, after which there is no job, and True for everything else."""
    if type(error) is ValueError:
        return False  # the client's own check of the arguments, before it sends anything
    request = getattr(error, "request", None)
    if request is not None and not str(request.url.path).endswith("/fine-tunes"):
        return False  # the price estimate, which the client asks for first
    code = getattr(error, "status_code", None)
    if isinstance(code, int) and 400 <= code < 500 and code not in (408, 409, 425):
        return False
    cause = error.__cause__
    return type(cause).__name__ not in ("ConnectError", "ConnectTimeout")


def _range_of(status_code: int, headers: Mapping[str, str]) -> tuple[int, int]:
    """Return the first byte that comes, and the size of the whole."""
    if status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("content-range", "").strip())
        if found:
            return int(found.group(1)), int(found.group(2))
    elif headers.get("content-length", "").isdigit():
        return 0, int(headers["content-length"])
    raise BackendError(
        "Together sent no size for the weights, so an incomplete download couldn't be detected; nothing was kept. Try "
        "collect() again"
    )
