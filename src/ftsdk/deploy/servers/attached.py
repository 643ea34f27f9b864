"""A server that runs already, at an address: looked at until it has the models, and never stopped from here."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from ftsdk._secrets import check_key
from ftsdk.errors import BackendError, CredentialsError, SpecError
from ftsdk.evals.endpoint import Endpoint
from ftsdk.protocol.serving import ServingStatus
from ftsdk.spec.urls import check_service_url

__all__ = ["AttachedServer", "attach"]

_REQUEST_S = 10.0
_POLL_S = 1.0


class AttachedServer:
    """A server that others have started.

    Args:
        url: Its address, with the version.
        names: What the server calls each model, by our name.
        api_key_env: Environment variable with its key.
        allow_http: Send the key over plain http to another machine.
        on_stop: Called once when it isn't needed any more.
    """

    def __init__(
        self,
        url: str,
        names: Mapping[str, str],
        *,
        api_key_env: str | None = None,
        allow_http: bool = False,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        self._url = url
        self._names = dict(names)
        self._api_key_env = api_key_env
        self._allow_http = allow_http
        self._on_stop = on_stop

    @property
    def log(self) -> Path | None:
        """None: its log is where it runs."""
        return None

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint of a model."""
        model = self._names[name]
        return Endpoint(url=self._url, model=model, api_key_env=self._api_key_env, allow_http=self._allow_http)

    def status(self) -> ServingStatus:
        """Return `ready` if it answers and has all models."""
        try:
            missing = self.missing()
        except BackendError as error:
            return ServingStatus(state="unknown", native="no answer", reason=str(error))
        if missing:
            return ServingStatus(state="starting", native="models missing", reason=f"it lacks {', '.join(missing)}")
        return ServingStatus(state="ready", native="answers")

    def missing(self) -> list[str]:
        """Return the models that the server doesn't list, as it would call them.

        Raises:
            BackendError: It doesn't answer, or not with a list of models.
            CredentialsError: It refused the key, or there is none in the environment.
        """
        there = listed_models(self._url, _key(self._api_key_env), key_name=self._api_key_env)
        return [name for name in self._names.values() if name not in there]

    def stop(self, *, wait_s: float) -> None:  # noqa: ARG002 - of the protocol
        """Leave it running, as it was found."""
        if self._on_stop is not None:
            self._on_stop()  # if it raises, the next call tries again
            self._on_stop = None


def attach(
    url: str,
    names: Mapping[str, str],
    *,
    api_key_env: str | None = None,
    allow_http: bool = False,
    timeout_s: float = 60.0,
    on_stop: Callable[[], None] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> AttachedServer:
    """Wait until a server answers and has all models.

    Raises:
        CredentialsError: It refused the key.
        TimeoutError: It doesn't answer, or lacks a model; names those that it has.
    """
    if api_key_env is not None:
        try:
            check_service_url("url", url, key_comes_from="the variable that api_key_env names", allow_http=allow_http)
        except ValueError as error:
            raise SpecError(f"url {error}") from error
    server = AttachedServer(url, names, api_key_env=api_key_env, allow_http=allow_http, on_stop=on_stop)
    deadline = monotonic() + timeout_s
    while True:
        status = server.status()
        if status.state == "ready":
            return server
        if monotonic() >= deadline:
            raise TimeoutError(f"{url} isn't ready after {timeout_s:g} s: {status.reason}")
        sleep(min(_POLL_S, timeout_s / 10))


def listed_models(url: str, key: str | None, *, key_name: str | None) -> list[str]:
    """Return the models that a server lists.

    Raises:
        BackendError: It doesn't answer, or not with a list.
        CredentialsError: It refused the key.
    """
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        answer = httpx.get(f"{url}/models", headers=headers, timeout=_REQUEST_S, follow_redirects=False)
    except httpx.HTTPError as error:
        raise BackendError(f"{url} doesn't answer ({type(error).__name__})", retryable=True) from error
    if answer.status_code in (401, 403):
        asked = f"refused the key in {key_name}" if key_name else "asks for a key; pass api_key_env="
        raise CredentialsError(f"{url} {asked}")
    try:
        found: Any = json.loads(answer.content)
        return [str(one["id"]) for one in found["data"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BackendError(
            f"{url}/models answered {answer.status_code}, and not with a list of models", retryable=True
        ) from error


def _key(name: str | None) -> str | None:
    if name is None:
        return None
    key = check_key(os.environ.get(name, ""), source=name)
    if not key:
        raise CredentialsError(f"the server needs a key; set the environment variable {name}")
    return key
