"""Reading the service's price estimate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from ftsdk._format import money
from ftsdk.backends.managed.service import JobQuote, NoPriceError
from ftsdk.errors import DatasetError
from ftsdk.protocol.estimates import Quote

__all__ = ["read_quote"]


def read_quote(answer: Mapping[str, Any], *, minimum: Decimal, asked_at: float) -> JobQuote:
    """Read the service's estimate. A price over the account's limit is returned too, with the refusal.

    Args:
        answer: The service's answer.
        minimum: The service's minimum per job, in US dollars, which its estimate doesn't include.
        asked_at: Seconds since the epoch.

    Raises:
        DatasetError: The service can't price the job because it refused a file.
        NoPriceError: The answer has no price.
    """
    if answer.get("estimation_available") is False:
        reason = str(answer.get("unavailable_reason") or "no reason given")
        if reason.endswith("_invalid"):
            raise DatasetError(
                f"Together refused the data ({reason}).", hint="Nothing was created. Check the rows: job.preview()."
            )
        is_early = reason.endswith("_not_validated")
        raise NoPriceError(
            f"Together has no price for the job ({reason}). "
            + (
                "Try again in a few minutes; nothing is uploaded twice."
                if is_early
                else "job.estimate() without live=True has ftsdk's own estimate."
            ),
            retryable=is_early,
        )
    try:
        estimated = Decimal(str(answer["estimated_total_price"]))
    except (KeyError, InvalidOperation):
        estimated = Decimal("NaN")
    if not estimated.is_finite() or estimated < 0:
        raise NoPriceError(
            "Together's estimate has no valid price. Try again in a few minutes, or use job.estimate().", retryable=True
        )
    usd = max(estimated, minimum)
    notes: list[str] = []
    if estimated < minimum:
        notes.append(
            f"the service's estimate is {money(estimated, places=2)}, but a job there costs at least "
            f"{money(minimum, places=2)}"
        )
    refusal = ""
    if answer.get("allowed_to_proceed") is not True:
        limit = answer.get("user_limit")
        refusal = (
            f"the Together account may not spend {money(usd, places=2)} (its limit is "
            f"{'unknown' if limit is None else f'${limit}'})."
        )
        refusal += " Add credits or raise the limit under Settings, Billing."
        notes.append(f"submit() would be refused: {refusal}")
    tokens = [_count(answer.get(name)) for name in ("estimated_train_token_count", "estimated_eval_token_count")]
    counted = {} if tokens[0] is None else {"tokens": tokens[0] + (tokens[1] or 0)}
    quote = Quote(usd=usd, source="Together's own estimate", asked_at=asked_at, notes=tuple(notes), **counted)
    return JobQuote(quote=quote, refusal=refusal)


def _count(value: object) -> int | None:
    """Read a count of tokens, which the client's types declare as a float."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return round(value) if is_number else None  # type: ignore[arg-type]
