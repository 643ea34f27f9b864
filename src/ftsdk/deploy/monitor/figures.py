"""Latency, tokens, errors, fallbacks, acceptance and cost of some requests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk._format import printable
from ftsdk._wilson import wilson
from ftsdk.spec import Value

__all__ = ["Figures", "Request", "figures_of", "percentile"]

_LEAST_P99 = 100


@dataclass(slots=True)
class Request:
    """What is kept of a request in memory."""

    id: str
    at: float
    arm: str
    role: str
    slice: str | None
    outcome: str
    error: str | None
    fallback_reason: str | None
    duration_s: float
    first_token_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    shadow_usd: float
    accepted: bool | None
    accepted_by: str | None
    others: tuple[tuple[str, str], ...] = ()
    """Targets that were asked and didn't give the answer, each with `rejected`, `failed` or `cancelled`."""

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Request | None:
        """Read a line of kind `answer`; None if it isn't one of ours."""
        try:
            return cls(
                id=str(line["id"]),
                at=_finite(line["at"]),
                arm=_word(line.get("arm")) or "(none)",
                role=_word(line.get("role")) or "none",
                slice=_word(line.get("slice")),
                outcome=str(line["outcome"]),
                error=_word(line.get("error")),
                fallback_reason=_word(line.get("fallback_reason")),
                duration_s=_finite(line["duration_s"]),
                first_token_s=_number(line.get("first_token_s")),
                input_tokens=_whole(line.get("input_tokens")),
                output_tokens=_whole(line.get("output_tokens")),
                cost_usd=_number(line.get("cost_usd")),
                shadow_usd=sum(
                    _number(one.get("cost_usd")) or 0.0
                    for one in line.get("attempts") or ()
                    if one.get("role") == "shadow"
                ),
                accepted=line.get("accepted") if isinstance(line.get("accepted"), bool) else None,
                accepted_by=_word(line.get("accepted_by")),
                others=tuple(
                    (str(one["arm"]), str(one["outcome"]))
                    for one in line.get("attempts") or ()
                    if one.get("role") != "shadow" and one.get("arm") != line.get("arm")
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return None


class Figures(Value):
    """What some requests did. Times are in seconds, as clients saw them."""

    requests: int
    """Of a target: those in which it was asked."""
    answered: int
    rejected: int = 0
    """Of a target: its answers that the router rejected, so that another target answered."""
    failed: int
    cancelled: int
    """By the client."""
    errors: dict[str, int]
    fallbacks: dict[str, int]
    """Why the first target's answer wasn't used, and how often."""
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    """None under 100 answers."""
    first_p50_s: float | None = None
    first_p95_s: float | None = None
    input_tokens: int
    output_tokens: int
    judged: int
    accepted: int
    acceptance: tuple[float, float, float] | None = None
    """Share of the judged answers that were accepted, and its 95 % interval; rejected ones count as judged."""
    cost_usd: float
    """Of all attempts whose price is known, shadow copies and hours included."""
    hours_usd: float = 0.0
    """Of `cost_usd`: what the hours of own servers cost."""
    unpriced: int
    """Requests whose cost isn't known."""
    usd_per_1k_accepted: tuple[float, float, float] | None = None
    """Cost of a thousand accepted answers, with the 95 % interval that acceptance gives it; judged answers stand for
    the others. None: nothing was judged, or a price is missing."""


def figures_of(
    requests: Iterable[Request], *, hours_usd: float = 0.0, rejected: int = 0, failed_attempts: int = 0
) -> Figures:
    """Return the figures of requests.

    Args:
        requests: In any order.
        hours_usd: What the hours of own servers cost meanwhile, in US dollars.
        rejected: Answers of the target, in other requests, that the router rejected.
        failed_attempts: Other requests in which the target failed, and another one was asked.
    """
    every = list(requests)
    answered = [one for one in every if one.outcome == "answered"]
    times = sorted(one.duration_s for one in answered)
    firsts = sorted(one.first_token_s for one in answered if one.first_token_s is not None)
    judged = [one for one in answered if one.accepted is not None]
    accepted = sum(one.accepted is True for one in judged)
    n_judged = len(judged) + rejected
    acceptance = None if not n_judged else (accepted / n_judged, *wilson(accepted, n_judged))
    # Hours pay for what own targets answer; a fallback without a price stays unknown.
    unpriced = sum(
        one.cost_usd is None and (hours_usd <= 0 or one.role == "fallback") for one in every if one.outcome != "failed"
    )
    cost = sum(one.cost_usd or 0.0 for one in every) + sum(one.shadow_usd for one in every) + hours_usd
    per_accepted = None
    if acceptance is not None and not unpriced and acceptance[1] > 0 and answered:
        each = 1000 * cost / len(answered)
        per_accepted = (each / acceptance[0], each / acceptance[2], each / acceptance[1])
    return Figures(
        requests=len(every) + rejected + failed_attempts,
        answered=len(answered),
        rejected=rejected,
        failed=sum(one.outcome == "failed" for one in every) + failed_attempts,
        cancelled=sum(one.outcome == "cancelled" for one in every),
        errors=_counted(one.error for one in every if one.outcome == "failed"),
        fallbacks=_counted(one.fallback_reason for one in every),
        p50_s=percentile(times, 0.5),
        p95_s=percentile(times, 0.95),
        p99_s=percentile(times, 0.99) if len(times) >= _LEAST_P99 else None,
        first_p50_s=percentile(firsts, 0.5),
        first_p95_s=percentile(firsts, 0.95),
        input_tokens=sum(one.input_tokens or 0 for one in every),
        output_tokens=sum(one.output_tokens or 0 for one in every),
        judged=n_judged,
        accepted=accepted,
        acceptance=acceptance,
        cost_usd=cost,
        hours_usd=hours_usd,
        unpriced=unpriced,
        usd_per_1k_accepted=per_accepted,
    )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least this share of the sorted values don't exceed; None if there are none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _counted(words: Iterable[str | None]) -> dict[str, int]:
    return dict(Counter(word for word in words if word is not None).most_common())


def _word(value: object) -> str | None:
    return None if value is None else printable(str(value), 100)


def _finite(value: object) -> float:
    number = _number(value)
    if number is None:
        raise ValueError("it isn't a number")
    return number


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        return None  # not finite, or too large for a float
    return float(value)


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None or abs(number) > 1e15 else int(number)
