"""Every error of the client becomes one of ours, which says who has to act and what next, and tells no key."""

from __future__ import annotations

import inspect
import json
import pickle

import httpx
import pytest

pytest.importorskip("together", reason="the extra 'together' isn't installed")

from together import _exceptions as client_errors
from together.lib.resources import files as client_files
from together.lib.types import error as client_more

from ftsdk.backends.together.mapping import error_for
from ftsdk.errors import (
    BackendError,
    BudgetExceededError,
    CredentialsError,
    DatasetError,
    FtsdkError,
    RunNotFoundError,
    SpecError,
)

KEY = "tk-0123456789abcdef"
REQUEST = httpx.Request("POST", "http://127.0.0.1:9/v1/fine-tunes", headers={"Authorization": f"Bearer {KEY}"})


def status_error(code: int, *, body: object = None, headers: dict[str, str] | None = None) -> Exception:
    response = httpx.Response(code, request=REQUEST, headers=headers)
    by_code = {400: "BadRequestError", 401: "AuthenticationError", 403: "PermissionDeniedError", 404: "NotFoundError",
        409: "ConflictError",
               422: "UnprocessableEntityError", 429: "RateLimitError"}  # fmt: skip
    name = by_code.get(code, "InternalServerError" if code >= 500 else "APIStatusError")
    return getattr(client_errors, name)(f"Error code: {code}", response=response, body=body)


def made(cls: type[BaseException]) -> BaseException:
    """Make an exception of the client, whatever its constructor wants."""
    if issubclass(cls, client_errors.APIStatusError):
        code = cls.__dict__.get("status_code", 500)
        return cls("boom", response=httpx.Response(code if isinstance(code, int) else 500, request=REQUEST), body=None)
    if issubclass(cls, client_errors.APIResponseValidationError):
        return cls(httpx.Response(200, request=REQUEST), None)
    if issubclass(cls, client_errors.APIConnectionError):
        return cls(request=REQUEST)
    if issubclass(cls, client_errors.APIError):
        return cls("boom", REQUEST, body=None)
    return cls("boom")


CLASSES = sorted(
    {
        found
        for module in (client_errors, client_files, client_more)
        for found in vars(module).values()
        if inspect.isclass(found) and issubclass(found, Exception) and found.__module__.startswith("together")
    },
    key=lambda cls: cls.__name__,
)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_of_the_client_becomes_one_of_ours_that_pickles(cls: type[BaseException]) -> None:
    ours = error_for(made(cls), doing="asked for something", secrets=[KEY])
    assert type(ours) is not FtsdkError
    copy = pickle.loads(pickle.dumps(ours))
    assert (type(copy), str(copy)) == (type(ours), str(ours))


def test_the_client_has_the_errors_that_are_mapped_and_no_more() -> None:
    assert len(CLASSES) >= 15


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (400, SpecError, "Nothing was started"),
        (401, CredentialsError, "Set TOGETHER_API_KEY"),
        (402, BudgetExceededError, "Raise its balance"),
        (403, CredentialsError, "right project"),
        (404, RunNotFoundError, "base_url"),
        (413, DatasetError, "Split the data"),
        (422, SpecError, "Nothing was started"),
        (429, BackendError, "try again in 7 s"),
        (500, BackendError, "the same key is safe"),
        (503, BackendError, "the same key is safe"),
        (529, BackendError, "the same key is safe"),
        (418, BackendError, "answered 418"),
    ],
)
def test_each_status_says_who_has_to_act_and_what_next(code: int, kind: type[FtsdkError], says: str) -> None:
    ours = error_for(
        status_error(code, body={"error": {"message": "boom"}}, headers={"Retry-After": "7"}), doing="creating the job"
    )
    assert type(ours) is kind
    assert says in str(ours)
    if isinstance(ours, BackendError):
        assert (ours.retryable, ours.status_code, ours.retry_after_s) == (code != 418, code, 7.0)


def test_the_clients_credit_hint_of_a_refused_key_is_not_passed_on() -> None:
    response = httpx.Response(401, request=REQUEST)
    error = client_errors.AuthenticationError(
        "This job would exceed your free trial credits.", response=response, body=None
    )
    ours = error_for(error, doing="uploading the data")
    assert isinstance(ours, CredentialsError)
    assert "trial" not in str(ours)


def test_a_refused_file_is_the_datas_fault() -> None:
    assert isinstance(error_for(status_error(422), doing="uploading the data"), DatasetError)


@pytest.mark.parametrize(
    "error", [httpx.ReadError("x"), httpx.RemoteProtocolError("x"), httpx.ConnectTimeout("x"), OSError("x")]
)
def test_what_breaks_below_the_client_can_be_tried_again(error: Exception) -> None:
    ours = error_for(error, doing="uploading the data")
    assert isinstance(ours, BackendError)
    assert ours.retryable


def test_refused_arguments_are_spec_errors_and_garbage_is_not() -> None:
    assert isinstance(
        error_for(ValueError("Warmup ratio should be between 0 and 1"), doing="creating the job"), SpecError
    )
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("<html>")
    ours = error_for(caught.value, doing="asked for the job's status")
    assert isinstance(ours, BackendError)
    assert "base_url" in str(ours)


@pytest.mark.parametrize(
    "body",
    [{"error": {"message": f"bad key {KEY}"}}, {"error": f"bad key {KEY}"}, {"detail": [f"{KEY}"]}, f"<p>{KEY}</p>"],
)
@pytest.mark.parametrize("code", [400, 403, 404, 413, 418, 500])
def test_a_key_that_the_service_repeats_is_not_passed_on(code: int, body: object) -> None:
    ours = error_for(status_error(code, body=body), doing="asked for something", secrets=[KEY])
    assert KEY not in f"{ours} {ours!r} {ours.args} {vars(ours)}"
