"""What a server's refusal means: our error for it, how long to wait, and which parameter it doesn't take."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Collection
from email.utils import parsedate_to_datetime
from typing import Any, cast

from ftsdk.errors import BackendError, CredentialsError, FtsdkError

__all__ = ["error_of", "message_in", "refused_parameter", "seconds_to_wait"]

_TEMPORARY = frozenset({408, 425, 429})
"""Statuses that are worth a retry, besides every 5xx."""
_ADVICE = {
    400: "check the model's name, and that prompt and max_new_tokens fit into its context",
    402: "the account is out of credit or over its limit; see the provider's billing page",
    404: (
        "check the url (it ends with the version, such as '/v1') and the model's name, and that the model is deployed "
        "and ready"
    ),
    413: "the prompt is too long for the server",
    422: "check the model's name, and that prompt and max_new_tokens fit into its context",
}
_NOT_TAKEN = re.compile(
    r"unsupported|not support|n't support|unrecogni[sz]ed|unknown|unexpected|not permitted|not allowed|not available"
    r"|deprecated|only the default|max_completion_tokens",
    re.IGNORECASE,
)


def error_of(
    status: int,
    message: str,
    *,
    address: str,
    key_name: str = "",
    retry_after_s: float | None = None,
    advice: str | None = None,
) -> FtsdkError:
    """Return our error for an HTTP status.

    Args:
        status: The HTTP status, not 200.
        message: The server's message, redacted.
        address: The server, for the message.
        key_name: The environment variable that held the key.
        retry_after_s: Seconds to wait, from `Retry-After`.
        advice: What to do about a refusal; None: what its status suggests.
    """
    detail = f": {message}" if message else ""
    if status in (401, 403):
        next_step = (
            f"check the environment variable {key_name}"
            if key_name
            else "the server needs a key: Endpoint(api_key_env='...')"
        )
        return CredentialsError(f"{address} refused the key (HTTP {status}){detail}; {next_step}")
    if status in _TEMPORARY or status >= 500:
        return BackendError(
            f"{address} can't answer now (HTTP {status}){detail}; try later, or with less concurrency",
            retryable=True,
            retry_after_s=retry_after_s,
            status_code=status,
        )
    advice = advice or _ADVICE.get(status, "check the url and the request")
    return BackendError(f"{address} refused the request (HTTP {status}){detail}; {advice}", status_code=status)


def seconds_to_wait(retry_after: str | None, now: float) -> float | None:
    """Return the seconds in a `Retry-After` header, a number or a date; None if there is none or it can't be read."""
    if not retry_after:
        return None
    with contextlib.suppress(ValueError):
        seconds = float(retry_after)
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def message_in(content: bytes) -> str:
    """Return the server's error message, as it came; empty for anything but JSON, such as a page of HTML."""
    found = _error_in(content)
    if isinstance(found, dict):
        fields = cast("dict[str, Any]", found)
        found = fields.get("message") or fields.get("detail") or ""
    if isinstance(found, list):  # FastAPI's: one object for each field
        return "; ".join(filter(None, map(_field_problem, cast("list[Any]", found[:10]))))
    return found if isinstance(found, str) else ""


def refused_parameter(content: bytes, sent: Collection[str]) -> str | None:
    """Return the parameter that a refusal says the model doesn't take; None if it is about something else.

    Args:
        content: The body of the refusal.
        sent: Names of parameters that the request could do without.
    """
    found = _error_in(content)
    named = cast("dict[str, Any]", found).get("param") if isinstance(found, dict) else None
    message = message_in(content)
    if _NOT_TAKEN.search(message) is None:
        return None
    mentioned = [name for name in sent if re.search(rf"\b{name}\b", message)]
    return named if isinstance(named, str) and named in sent else next(iter(mentioned), None)


def _error_in(content: bytes) -> Any:
    try:
        body: Any = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    return cast("dict[str, Any]", body).get("error", body) if isinstance(body, dict) else ""


def _field_problem(problem: Any) -> str:
    if not isinstance(problem, dict):
        return ""
    fields = cast("dict[str, Any]", problem)
    path, message = fields.get("loc"), fields.get("msg")
    where = ".".join(map(str, cast("list[Any]", path))) if isinstance(path, list) else ""
    return f"{where}: {message}" if isinstance(message, str) else ""
