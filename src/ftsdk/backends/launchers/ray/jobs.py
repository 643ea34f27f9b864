"""Ray's Jobs API, through Ray's own client: imported late, with limits of time, and our errors in place of its own.

Ray answers a second job of the same id with the status 500, an unknown id with 404, and forgets all jobs when its head
restarts (2.60, seen 2026-11-27).
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple, cast

from ftsdk._secrets import redact
from ftsdk.backends.launchers.ray.resources import NodeResources
from ftsdk.errors import BackendError, CredentialsError, FtsdkError, MissingExtraError

__all__ = ["Job", "Jobs"]

_TIMEOUT_S = 60.0
_CONNECT_S = 10.0
_HEADERS = "RAY_JOB_HEADERS"
"""Environment variable of Ray's own command line: headers as JSON, for proxies that ask for a token."""
_ENDED = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
"""An unknown state counts as alive: no second job is started beside it."""
_STATUS = re.compile(r"status code (\d{3})")
_LINE = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception): ?(?P<text>.+)$", re.MULTILINE)


class Job(NamedTuple):
    """A job as Ray knows it."""

    id: str
    state: str
    message: str = ""
    run_id: str = ""
    """From its metadata; empty if it isn't ours."""

    @property
    def is_alive(self) -> bool:
        """Whether it runs, waits, or is on its way out."""
        return self.state not in _ENDED


class Jobs:
    """The jobs of a cluster.

    Args:
        address: Of its dashboard: `http://head:8265`.
        timeout_s: Seconds that an answer may take.

    Raises:
        MissingExtraError: Ray isn't installed.
        CredentialsError: The cluster wants a token.
        BackendError: It doesn't answer.
    """

    def __init__(self, address: str, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._address = address
        self._client: Any = self._call(lambda: _client_class()(address, headers=_headers(), timeout_s=timeout_s))
        self.owner = os.getpid()
        """The process that made it: connections don't cross a fork."""

    def find(self, job_id: str) -> Job | None:
        """Return a job, or None if Ray doesn't know it: it was never submitted, or the head has restarted."""
        try:
            found: Any = self._call(lambda: self._client.get_job_info(job_id))
        except _NotFound:
            return None
        return _job(found)

    def submit(self, body: Mapping[str, Any]) -> None:
        """Submit a job.

        Raises:
            BackendError: It was refused, or an id is used twice; or the answer was lost (retryable).
        """
        self._call(lambda: self._client.submit_job(**body))

    def stop(self, job_id: str) -> None:
        """Ask Ray to end a job: it gets TERM, and KILL some time later. Unknown and ended ones don't matter."""
        try:
            self._call(lambda: self._client.stop_job(job_id))
        except _NotFound:
            return

    def ours(self) -> list[Job]:
        """Return the jobs of all runs that the cluster knows."""
        found: Any = self._call(lambda: self._client.list_jobs())
        return [job for job in map(_job, found) if job.run_id]

    def nodes(self) -> list[NodeResources]:
        """Return the live nodes, and what they have."""
        answer: Any = self._call(lambda: self._client.get_json("/api/v0/nodes?detail=true&limit=10000"))
        try:
            rows: list[dict[str, Any]] = answer["data"]["result"]["result"]
            return [
                NodeResources(str(row.get("node_name") or row["node_id"]), dict(row["resources_total"]))
                for row in rows
                if row["state"] == "ALIVE"
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise BackendError("the cluster's list of nodes can't be read; is it an old version of Ray?") from error

    def version(self) -> str:
        """Return the version of Ray on the cluster."""
        answer: Any = self._call(lambda: self._client.get_json("/api/version"))
        return str(answer.get("ray_version") or "of an unknown version")

    def _call(self, call: Any) -> Any:
        try:
            return call()
        except FtsdkError:
            raise
        except ImportError as error:
            raise MissingExtraError("ray", needed_for="backend 'ray'", missing=error.name) from error
        except Exception as error:  # noqa: BLE001 - its client raises RuntimeError, and whatever `requests` does
            raise _translated(error, self._address) from None


class _NotFound(BackendError):
    """Never leaves this module."""


def _translated(error: Exception, address: str) -> FtsdkError:
    """Return our error for one of the client's, which repeat whole tracebacks of the server."""
    text = str(error)
    numbers = [int(number) for number in _STATUS.findall(text)]
    kind = type(error).__name__
    if kind == "AuthenticationError" or {401, 403} & set(numbers):
        return CredentialsError(
            f"the Ray cluster at {address} wants a token, or refuses this one; set RAY_AUTH_MODE=token and "
            f"RAY_AUTH_TOKEN, or {_HEADERS} for a proxy, in the environment"
        )
    if numbers[:1] == [404]:
        return _NotFound("the cluster doesn't know that job")
    # The last line of the server's innermost traceback.
    lines = [match["text"] for match in _LINE.finditer(text) if not _STATUS.search(match["text"])]
    said = redact(" ".join((lines[-1] if lines else text).split()), limit=500).rstrip(" .")
    if numbers and 400 in numbers:
        return BackendError(f"Ray refuses the request: {said}. Change runtime_env=, python= or resources=")
    if numbers and numbers[0] < 500:
        return BackendError(f"{address} answers with status {numbers[0]}; is that the address of a Ray dashboard?")
    if kind in ("InvalidURL", "InvalidSchema", "MissingSchema", "JSONDecodeError", "KeyError"):
        return BackendError(f"{address} isn't the address of a Ray dashboard ({kind}); it is often http://HEAD:8265")
    what = "timed out" if "timeout" in kind.lower() or "timed out" in text else said or kind
    return BackendError(f"the Ray cluster at {address} doesn't answer ({what}); try again", retryable=True)


def _job(found: Any) -> Job:
    metadata: Mapping[str, Any] = found.metadata or {}
    state = getattr(found.status, "value", found.status)
    return Job(
        id=str(found.submission_id or ""),
        state=str(state),
        message=str(found.message or ""),
        run_id=str(metadata.get("ftsdk") or ""),
    )


def _headers() -> dict[str, str] | None:
    given = os.environ.get(_HEADERS)
    if not given:
        return None
    try:
        headers: object = json.loads(given)
    except ValueError:
        headers = None
    if not isinstance(headers, dict):
        raise CredentialsError(f'{_HEADERS} in the environment isn\'t JSON of the form {{"name": "value"}}')
    return {str(name): str(value) for name, value in cast("dict[str, Any]", headers).items()}


def _client_class() -> Any:
    # No Ray is started here, and nothing is reported from here.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    module: Any = import_module("ray.job_submission")
    logging.getLogger("ray.dashboard.modules.dashboard_sdk").setLevel(logging.WARNING)

    class Client(module.JobSubmissionClient):
        """Ray's client waits for ever, unless each request has a limit."""

        def __init__(self, address: str, *, headers: dict[str, str] | None, timeout_s: float) -> None:
            self._timeout_s = timeout_s
            super().__init__(address, headers=headers)

        def _do_request(self, method: str, endpoint: str, **given: Any) -> Any:
            given.setdefault("timeout", (min(_CONNECT_S, self._timeout_s), self._timeout_s))
            answer = super()._do_request(method, endpoint, **given)
            if answer.status_code in (429, 502, 503, 504):
                # A proxy's, which its client takes for the cluster's.
                wait = str(answer.headers.get("Retry-After") or "")
                raise BackendError(
                    f"the Ray cluster answers with status {answer.status_code}; try again",
                    retryable=True,
                    retry_after_s=float(wait) if wait.isdigit() else None,
                )
            return answer

        def get_json(self, endpoint: str) -> Any:
            answer = self._do_request("GET", endpoint)
            if answer.status_code != 200:
                self._raise_error(answer)
            return answer.json()

    return Client
