"""The service's price estimate, read and held against what may be spent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from ftsdk._format import money
from ftsdk.errors import BackendError, BudgetExceededError, DatasetError
from ftsdk.protocol.estimates import Quote

__all__ = ["check_price", "read_quote"]


def read_quote(answer: Mapping[str, Any], *, minimum: Decimal, asked_at: float) -> Quote:
    """Read the service's estimate: a number also where it is over a budget, or more than the account may spend, which a note says.

    Args:
        answer: As the service gave it.
        minimum: US dollars that a job costs at least; the service's estimate leaves it out.
        asked_at: Seconds since the epoch.

    Raises:
        DatasetError: The service can't estimate since it refused a file.
        BackendError: It doesn't say what the job would cost.
    """
    if answer.get("estimation_available") is False:
        reason = str(answer.get("unavailable_reason") or "no reason given")
        if reason.endswith("_invalid"):
            raise DatasetError(f"Together refused the data ({reason}).", hint="Nothing was created. Look at the rows: job.preview().")
        is_early = reason.endswith("_not_validated")
        raise BackendError(
            f"Together can't say what the job would cost ({reason}). "
            + ("Ask again in a while; nothing is uploaded twice." if is_early else "job.estimate() says what we think."),
            retryable=is_early,
        )
    try:
        told = Decimal(str(answer["estimated_total_price"]))
    except (KeyError, InvalidOperation):
        told = Decimal("NaN")
    if not told.is_finite() or told < 0:
        raise BackendError("Together didn't say what the job would cost. Ask again in a while, or take job.estimate()'s word.", retryable=True)
    notes: list[str] = []
    if told < minimum:
        notes.append(f"the service's estimate is {money(told, places=2)}, and a job costs at least {money(minimum, places=2)} there")
    if answer.get("allowed_to_proceed") is not True:
        notes.append(
            f"the Together account may not spend that (its limit is {_limit(answer)}), so submit() would be refused: "
            "add credits or raise the limit under Settings, Billing"
        )
    tokens = [_count(answer.get(name)) for name in ("estimated_train_token_count", "estimated_eval_token_count")]
    counted = {} if tokens[0] is None else {"tokens": tokens[0] + (tokens[1] or 0)}
    return Quote(usd=max(told, minimum), source="Together's own estimate", asked_at=asked_at, notes=tuple(notes), **counted)


def check_price(answer: Mapping[str, Any], *, budget: Decimal | None, minimum: Decimal, asked_at: float) -> Quote:
    """Let a job through whose price is known, allowed, and within the budget.

    Args:
        answer: The service's estimate.
        budget: US dollars that the run may cost; None: no limit of ours.
        minimum: US dollars that a job costs at least.
        asked_at: Seconds since the epoch.

    Returns:
        What the job will cost.

    Raises:
        BudgetExceededError: It isn't known, not allowed, or too much.
        DatasetError: The service can't estimate since it refused a file.
    """
    try:
        quote = read_quote(answer, minimum=minimum, asked_at=asked_at)
    except BackendError as error:
        raise BudgetExceededError(f"{error} The job wasn't created, since it could cost anything; submit again once there is a price.") from error
    if budget is not None and quote.usd > budget:
        raise BudgetExceededError(
            f"Together estimates {money(quote.usd, places=2)} for the job (at least {money(minimum, places=2)}), "
            f"more than budget_usd={budget}; it wasn't created. "
            "Train on less, for fewer epochs, on a smaller model, or raise the budget."
        )
    if answer.get("allowed_to_proceed") is not True:
        raise BudgetExceededError(
            f"the Together account may not spend {money(quote.usd, places=2)} (its limit is {_limit(answer)}); the job wasn't created. "
            "Add credits or raise the limit under Settings, Billing; then submit again."
        )
    return quote


def _limit(answer: Mapping[str, Any]) -> str:
    limit = answer.get("user_limit")
    return "unknown" if limit is None else f"${limit}"


def _count(told: object) -> int | None:
    """The client's types say that tokens are a float."""
    is_number = isinstance(told, int | float) and not isinstance(told, bool) and math.isfinite(told) and told >= 0
    return round(told) if is_number else None  # type: ignore[arg-type]
