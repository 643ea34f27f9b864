"""From the errors of Modal's client to ours, by one table."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from typing import Any

from ftsdk._secrets import redact
from ftsdk.errors import BackendError, CredentialsError, FtsdkError

__all__ = ["first_line", "translate_error"]


def translate_error(what: str, error: Exception, modal: Any, *, build_log: Callable[[str], str]) -> FtsdkError:
    """Return our error for one of the client's.

    Args:
        what: What was being done: `listing apps`.
        error: The client's error.
        modal: The package.
        build_log: Returns the last lines of an image's build log.
    """
    if isinstance(error, modal.exception.ImageBuildError):
        return _image_failed(what, error, build_log)
    for names, build in _TABLE:
        kinds = tuple(kind for name in names if isinstance(kind := getattr(modal.exception, name, None), type))
        if isinstance(error, kinds):
            return build(what, error)
    if isinstance(error, OSError | builtins.TimeoutError):
        return _retryable(what, error)
    return BackendError(
        f"{what}: Modal's client failed with an error that ftsdk doesn't know ({type(error).__name__}: "
        f"{first_line(error)})"
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, redacted, for the parentheses of ours."""
    return redact(str(error).strip().split("\n")[0], limit=500) or "no reason given"


def _credentials(what: str, error: Exception) -> FtsdkError:
    return CredentialsError(
        f"{what}: Modal refused the token, or there is none ({first_line(error)}). "
        "Log in with `modal token new`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET."
    )


def _forbidden(what: str, error: Exception) -> FtsdkError:
    return CredentialsError(
        f"{what}: the token doesn't permit this ({first_line(error)}). Ask the workspace's owner, or use another "
        "profile: MODAL_PROFILE."
    )


def _rate_limited(what: str, error: Exception) -> FtsdkError:
    return BackendError(
        f"{what}: Modal is limiting requests or has no capacity left ({first_line(error)}). Try again later; about "
        "three apps a minute are allowed.",
        retryable=True,
        retry_after_s=_retry_after_s(error),
        status_code=429,
    )


def _image_failed(what: str, error: Exception, build_log: Callable[[str], str]) -> FtsdkError:
    image_id = getattr(error, "image_id", None)
    log = build_log(image_id) if image_id else ""
    return BackendError(
        f"{what}: the image couldn't be built ({first_line(error)})."
        + (f" The last lines of the build's log:\n{log}" if log else "")
        + (f"\nFor the whole log: modal image logs {image_id}" if image_id else "")
    )


def _retryable(what: str, error: Exception) -> FtsdkError:
    return BackendError(
        f"{what}: Modal didn't answer, or its answer couldn't be read ({type(error).__name__}: {first_line(error)})",
        retryable=True,
        status_code=503,
    )


def _missing(what: str, error: Exception) -> FtsdkError:
    return BackendError(
        f"{what}: not found on Modal ({first_line(error)}). A Secret is created with `modal secret create`.",
        status_code=404,
    )


def _refused(what: str, error: Exception) -> FtsdkError:
    advice = " Add a payment method at https://modal.com/settings." if "payment" in first_line(error).lower() else ""
    return BackendError(
        f"{what}: Modal refused it ({type(error).__name__}: {first_line(error)}).{advice}", status_code=400
    )


_TABLE: Iterable[tuple[tuple[str, ...], Callable[[str, Exception], FtsdkError]]] = (
    # The order matters: special ones before their bases.
    (("AuthError",), _credentials),
    (("PermissionDeniedError",), _forbidden),
    (("ResourceExhaustedError",), _rate_limited),
    (("NotFoundError",), _missing),
    (
        (
            "ServiceError",
            "InternalError",
            "InternalFailure",
            "ConnectionError",
            "TimeoutError",
            "ClientClosed",
            "DataLossError",
        ),
        _retryable,
    ),
    (("Error",), _refused),
)


def _retry_after_s(error: Exception) -> float | None:
    # The client's own property warns that it will be removed; without it, the time to wait would be lost.
    for detail in getattr(error, "_grpc_details", None) or ():
        seconds = getattr(detail, "retry_after_secs", None)
        if seconds:
            return float(seconds)
    return None
