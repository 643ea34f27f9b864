"""A budget as a hard cap: how long an attempt may take and how many there may be, so that the worst case can't cost more."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from ftsdk.errors import BudgetExceededError

__all__ = ["GRACE_S", "MIN_USEFUL_S", "STARTUP_S", "Cap", "cap_for", "worst_case_usd"]

STARTUP_S = 300
"""Most that a container may take to start, in seconds: asked of Modal as `startup_timeout`, and counted as billed."""
GRACE_S = 60
"""Most that a container may live after its time is up, in seconds: it gets 30 s after an interrupt, and a few more were seen."""
MIN_USEFUL_S = 300
"""An attempt shorter than this would load the model and end."""


@dataclass(frozen=True, kw_only=True)
class Cap:
    """What a run is allowed, in all."""

    timeout_s: int
    """Of one attempt."""
    max_attempts: int
    total_s: int
    """Billed time over all attempts, those after a preemption too."""
    reason: str
    """Why so, for people."""


def worst_case_usd(timeout_s: int, max_attempts: int, usd_per_s: Decimal) -> Decimal:
    """What it costs if every attempt takes its longest start, runs to its timeout and dies slowly, and one more is started in vain."""
    return usd_per_s * (max_attempts * (STARTUP_S + timeout_s + GRACE_S) + STARTUP_S)


def cap_for(
    *,
    budget_usd: Decimal | None,
    usd_per_s: Decimal,
    timeout_s: int | None,
    max_attempts: int | None,
    default_timeout_s: int,
    default_attempts: int = 3,
    limit_s: int = 86_400,
) -> Cap:
    """Derive timeout and attempts.

    Args:
        budget_usd: The most that the run may cost; None: no cap but the limits.
        usd_per_s: The most that a second can cost.
        timeout_s: Of one attempt, if the user named it.
        max_attempts: If the user named it.
        default_timeout_s: Of one attempt, without a budget.
        default_attempts: Without a budget, and the most with one.
        limit_s: Modal's longest attempt.

    Raises:
        BudgetExceededError: The budget doesn't pay for one useful attempt, or not for what was named.
    """
    if budget_usd is None:
        timeout, attempts = timeout_s or min(default_timeout_s, limit_s), max_attempts or default_attempts
        return Cap(timeout_s=timeout, max_attempts=attempts, total_s=_total(timeout, attempts), reason="no budget_usd is set: only these limits hold")
    total_s = int((budget_usd / usd_per_s).to_integral_value(ROUND_FLOOR))
    hourly = usd_per_s * 3600
    counts = [max_attempts] if max_attempts is not None else list(range(default_attempts, 0, -1))
    for attempts in counts:
        longest = (total_s - STARTUP_S) // attempts - STARTUP_S - GRACE_S
        if longest >= (timeout_s or MIN_USEFUL_S):
            timeout = timeout_s or min(longest, limit_s)
            each = f"{attempts} x ({STARTUP_S} s to start + {timeout:,} s + {GRACE_S} s to end)"
            reason = f"budget_usd={budget_usd} buys {total_s:,} s at up to ${hourly:.2f} an hour: {each}"
            return Cap(timeout_s=timeout, max_attempts=attempts, total_s=min(total_s, _total(timeout, attempts)), reason=reason)
    fewest = counts[-1]
    needed = worst_case_usd(timeout_s or MIN_USEFUL_S, fewest, usd_per_s)
    named = [f"{name}={value}" for name, value in (("timeout_s", timeout_s), ("max_attempts", max_attempts)) if value is not None]
    what = f"with {' and '.join(named)}, " if named else ""
    each = f"{fewest} x ({STARTUP_S} s to start + {timeout_s or MIN_USEFUL_S:,} s of work)"
    raise BudgetExceededError(
        f"budget_usd={budget_usd} doesn't pay for one useful attempt: {what}{each} may cost ${needed:.2f} at up to ${hourly:.2f} an hour. "
        "Raise the budget, or take a cheaper gpu=" + (", or name less." if named else ".")
    )


def _total(timeout_s: int, attempts: int) -> int:
    return attempts * (STARTUP_S + timeout_s + GRACE_S) + STARTUP_S
