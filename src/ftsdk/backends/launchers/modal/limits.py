"""A budget as a hard cap.

How long an attempt may take and how many there may be, so that the worst case can't cost more.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from ftsdk._format import money, money_over
from ftsdk.errors import BudgetExceededError

__all__ = ["GRACE_S", "MIN_USEFUL_S", "STARTUP_S", "UNKNOWN_NEED_S", "RunLimits", "run_limits", "worst_case_usd"]

STARTUP_S = 300
"""The most that a container may take to start, in seconds: Modal's `startup_timeout`, and counted as billed."""
GRACE_S = 60
"""The most that a container may live after its timeout, in seconds.

It gets 30 s after an interrupt, and a few more were measured.
"""
MIN_USEFUL_S = 300
"""The shortest useful attempt, in seconds: a shorter one would load the model and end."""
UNKNOWN_NEED_S = 3600
"""Assumed where the time that a run needs is unknown, in seconds.

A second attempt is planned only if each has an hour.
"""


@dataclass(frozen=True, kw_only=True)
class RunLimits:
    """The limits of a run."""

    timeout_s: int
    """Of one attempt, in seconds."""
    max_attempts: int
    total_s: int
    """Billed seconds over all attempts, those after a preemption too."""
    reason: str
    """How it was derived."""


def worst_case_usd(timeout_s: int, max_attempts: int, usd_per_s: Decimal) -> Decimal:
    """Return the cost in US dollars if every attempt, and one more, has the longest start, timeout and shutdown."""
    return usd_per_s * (max_attempts * (STARTUP_S + timeout_s + GRACE_S) + STARTUP_S)


def run_limits(
    *,
    budget_usd: Decimal | None,
    usd_per_s: Decimal,
    timeout_s: int | None,
    max_attempts: int | None,
    default_timeout_s: int,
    needed_s: int | None = None,
    default_attempts: int = 3,
    limit_s: int = 86_400,
) -> RunLimits:
    """Derive timeout and attempts from a budget, or from the defaults.

    Args:
        budget_usd: The most that the run may cost; None means that only the other limits hold.
        usd_per_s: The most that a second can cost.
        timeout_s: Of one attempt, if the user set it.
        max_attempts: If the user set it.
        default_timeout_s: Of one attempt, without a budget.
        needed_s: What the whole run may take at most, download and loading included; None: not known. Attempts are
            added only while each of them could do the whole run: a second one must not make the first too short.
        default_attempts: Without a budget, and the most with one.
        limit_s: Modal's longest attempt.

    Raises:
        BudgetExceededError: The budget doesn't pay for one useful attempt, or not for what the user set.
    """
    if budget_usd is None:
        timeout, attempts = timeout_s or min(default_timeout_s, limit_s), max_attempts or default_attempts
        return RunLimits(
            timeout_s=timeout,
            max_attempts=attempts,
            total_s=_total(timeout, attempts),
            reason="no budget_usd is set, so only these limits apply",
        )
    total_s = int((budget_usd / usd_per_s).to_integral_value(ROUND_FLOOR))
    hourly = usd_per_s * 3600
    each_s = timeout_s or max(MIN_USEFUL_S, min(UNKNOWN_NEED_S if needed_s is None else needed_s, limit_s))
    attempts = max_attempts or _attempts(total_s, each_s, most=default_attempts, limit_s=limit_s)
    longest = _longest(total_s, attempts)
    if longest >= (timeout_s or MIN_USEFUL_S):
        timeout = timeout_s or min(longest, limit_s)
        if max_attempts is None and attempts < default_attempts and timeout_s is None:
            # No longer than what the next attempt will leave all of them, so that no larger budget buys less time.
            timeout = min(timeout, max(each_s, (attempts + 1) * each_s // attempts))
        each = f"{attempts} x ({STARTUP_S} s to start + {timeout:,} s + {GRACE_S} s to end)"
        reason = f"budget_usd={budget_usd} buys {total_s:,} s at up to {money(hourly, places=2)} an hour: {each}"
        return RunLimits(
            timeout_s=timeout, max_attempts=attempts, total_s=min(total_s, _total(timeout, attempts)), reason=reason
        )
    fewest = attempts
    needed = worst_case_usd(timeout_s or MIN_USEFUL_S, fewest, usd_per_s)
    named = [
        f"{name}={value}"
        for name, value in (("timeout_s", timeout_s), ("max_attempts", max_attempts))
        if value is not None
    ]
    what = f"with {' and '.join(named)}, " if named else ""
    each = f"{fewest} x ({STARTUP_S} s to start + {timeout_s or MIN_USEFUL_S:,} s of work)"
    raise BudgetExceededError(
        f"budget_usd={budget_usd} doesn't pay for one useful attempt: {what}{each} may cost "
        f"{money_over(needed, budget_usd)} "
        f"at up to {money(hourly, places=2)} an hour. Raise the budget, or choose a cheaper gpu="
        + (", or set less." if named else ".")
    )


def _longest(total_s: int, attempts: int) -> int:
    """Return how many seconds each of so many attempts may work."""
    return (total_s - STARTUP_S) // attempts - STARTUP_S - GRACE_S


def _attempts(total_s: int, each_s: int, *, most: int, limit_s: int) -> int:
    """Return as many as can each do the whole run; if not even one can, as many as have the most time in total."""
    whole = [attempts for attempts in range(1, most + 1) if _longest(total_s, attempts) >= each_s]
    if whole:
        return whole[-1]
    return max(
        range(1, most + 1), key=lambda attempts: (attempts * min(_longest(total_s, attempts), limit_s), -attempts)
    )


def _total(timeout_s: int, attempts: int) -> int:
    return attempts * (STARTUP_S + timeout_s + GRACE_S) + STARTUP_S
