"""A plain function as a scorer, for one eval: no decorator, and no name in a registry."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, SupportsFloat, cast

from ftsdk.errors import SpecError
from ftsdk.evals.scorers.scorer import FunctionScorer, Score, check_signature

__all__ = ["JudgingFunction", "scorer_of"]

JudgingFunction = Callable[..., Score | bool | float]
"""Takes an example and the answer, then its options by keyword; returns whether the answer is right, a value between 0
and 1, or a `Score`."""


def scorer_of(function: JudgingFunction) -> FunctionScorer:
    """Return a scorer made of a plain function.

    Args:
        function: Its name becomes that of the scorer.

    Raises:
        SpecError: It can't be called with an example and an answer.
    """
    name = str(getattr(function, "__name__", type(function).__name__)).strip("<>")

    @functools.wraps(function)
    def judge(*given: Any, **options: Any) -> Score:
        found = cast("object", function(*given, **options))
        if isinstance(found, Score):
            return found
        if not isinstance(found, SupportsFloat):
            raise SpecError(
                f"a function that judges must return True or False, a number or a Score; {name!r} returned {found!r}"
            )
        try:
            value = float(found)
        except (OverflowError, TypeError, ValueError) as error:
            raise SpecError(f"what {name!r} returned, a {type(found).__name__}, is no number: {error}") from error
        if value in (0.0, 1.0):
            return Score(value, "right" if value else "wrong")
        return Score(value, "")

    made = FunctionScorer(name, judge)
    try:
        check_signature(made)
    except (TypeError, ValueError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"{function!r} can't judge: it must take (example, answer)") from error
    return made
