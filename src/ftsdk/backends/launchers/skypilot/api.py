"""SkyPilot's REST API: each call is a request that the server works on, whose result is fetched by its id.

Answers are JSON. Where the server adds pickled objects to them, only the text beside these is read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

import httpx

from ftsdk._secrets import redact
from ftsdk.errors import BackendError, CredentialsError

__all__ = ["Api", "ControllerDown", "LostAnswer", "StillWorking", "server_address", "shown"]

_DEFAULT = "http://127.0.0.1:46580"
_ENDPOINT = "SKYPILOT_API_SERVER_ENDPOINT"
_TOKEN = "SKYPILOT_SERVICE_ACCOUNT_TOKEN"
_VERSION = "62"
"""Of the API, in SkyPilot 0.14.1; the server answers to older ones, too."""
_REQUEST_ID = "X-Skypilot-Request-ID"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LATER = (408, 429, 502, 503, 504)
_TRANSIENT = frozenset({"RequestInterruptedError", "ConnectionError", "ApiServerConnectionError", "TimeoutError"})


class LostAnswer(BackendError):
    """A request may have arrived; nobody knows."""


class StillWorking(BackendError):
    """The server hasn't finished a request yet."""


class ControllerDown(BackendError):
    """There is no jobs controller that could be asked."""


def server_address(given: str | None) -> str:
    """Return the address of the API server: the given one, else that of the environment, else SkyPilot's default."""
    return (given or os.environ.get(_ENDPOINT) or _DEFAULT).rstrip("/")


class Api:
    """The API server, for one process.

    Args:
        address: Such as `http://127.0.0.1:46580`.
        timeout_s: Seconds that a plain answer may take.
    """

    def __init__(self, address: str, *, timeout_s: float = 60.0) -> None:
        token = os.environ.get(_TOKEN)
        self.address = address
        self.owner = os.getpid()
        self._timeout_s = timeout_s
        headers = {"X-SkyPilot-API-Version": _VERSION}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        # Calls are rare, so no connection is kept open.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(base_url=address, headers=headers, timeout=timeout_s, limits=limits)

    def get(self, path: str, **parameters: Any) -> Any:
        """Return a plain answer's JSON."""
        return _json(self._send("GET", path, params=parameters), self.address)

    def post(self, path: str, body: Mapping[str, Any] | None, *, method: str = "POST") -> str:
        """Hand in a request, and return its id.

        Raises:
            LostAnswer: It may have arrived; retryable.
            BackendError: It was refused.
        """
        answer = self._send(method, path, **({"json": body} if body is not None else {}))
        request_id = answer.headers.get(_REQUEST_ID)
        if not request_id:
            raise BackendError(f"{self.address} gives no request id; is that the address of a SkyPilot API server?")
        return str(request_id)

    def result(self, request_id: str, *, wait_s: float) -> Any:
        """Return a request's result.

        Raises:
            StillWorking: There is none after that time; retryable.
            ControllerDown: Its jobs controller isn't up.
            BackendError: The request failed.
        """
        try:
            answer = self._http.get("/api/get", params={"request_id": request_id}, timeout=max(0.1, wait_s))
        except httpx.ReadTimeout:
            raise StillWorking("SkyPilot hasn't finished the request yet; ask again", retryable=True) from None
        except httpx.HTTPError as error:
            raise self._lost(error) from None
        if answer.status_code == 500:
            raise _failure(answer)
        self._check(answer)
        found = _json(answer, self.address)
        try:
            if found["status"] == "CANCELLED":
                raise BackendError("SkyPilot's request was cancelled by somebody; submit again")
            return json.loads(found["return_value"])
        except (KeyError, TypeError, ValueError) as error:
            raise BackendError(f"the result of {self.address} can't be read", retryable=True) from error

    def ask(
        self, path: str, body: Mapping[str, Any] | None, *, method: str = "POST", wait_s: float | None = None
    ) -> Any:
        """Hand in a request that changes nothing, or may be repeated, and return its result."""
        return self.result(self.post(path, body, method=method), wait_s=self._timeout_s if wait_s is None else wait_s)

    def _send(self, method: str, path: str, **given: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **given)
        except httpx.HTTPError as error:
            raise self._lost(error) from None
        except (httpx.InvalidURL, ValueError):
            raise BackendError(f"{self.address} isn't the address of a SkyPilot API server") from None
        self._check(answer)
        return answer

    def _lost(self, error: Exception) -> LostAnswer:
        what = "timed out" if isinstance(error, httpx.TimeoutException) else type(error).__name__
        return LostAnswer(
            f"the SkyPilot API server at {self.address} doesn't answer ({what}); start it with `sky api start`, or try "
            "again",
            retryable=True,
        )

    def _check(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if status < 300:
            return
        if status in (401, 403) or 300 <= status < 400:
            raise CredentialsError(
                f"the SkyPilot API server at {self.address} wants a login, or refuses this one; set {_TOKEN} in the "
                "environment to a token of a service account"
            )
        if status in _LATER:
            wait = answer.headers.get("Retry-After") or ""
            raise BackendError(
                f"the SkyPilot API server answers with status {status}; try again",
                retryable=True,
                retry_after_s=float(wait) if wait.isdigit() else None,
            )
        if status >= 500:
            raise BackendError(f"the SkyPilot API server answers with status {status}; try again", retryable=True)
        if status == 404:
            raise BackendError(f"{self.address} doesn't know that; is it the address of a SkyPilot API server?")
        raise BackendError(f"the SkyPilot API server refuses the request ({status}): {shown(answer.text)}")


def _failure(answer: httpx.Response) -> BackendError:
    """Return the error of a request that failed."""
    try:
        detail = answer.json()["detail"]
        error = json.loads(detail["error"])
        kind, message = str(error["type"]), shown(str(error["message"]))
    except (ValueError, KeyError, TypeError):
        return BackendError("the SkyPilot API server answers with status 500; try again", retryable=True)
    if kind == "ClusterNotUpError":
        return ControllerDown(f"SkyPilot's jobs controller isn't up: {message}", retryable=True)
    return BackendError(f"SkyPilot says {kind}: {message}", retryable=kind in _TRANSIENT)


def shown(text: str) -> str:
    """Return what the server says as one line, without colours and keys."""
    return redact(" ".join(_COLOURS.sub("", text).split()), limit=500)


def _json(answer: httpx.Response, address: str) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise BackendError(
            f"{address} doesn't answer in JSON; is it the address of a SkyPilot API server? If it is, try again",
            retryable=True,
        ) from None
