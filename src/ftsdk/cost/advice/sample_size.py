"""How many examples show a share well enough."""

from __future__ import annotations

import math

from ftsdk.cost.advice.inputs import Situation

__all__ = ["examples_to_measure"]


def examples_to_measure(situation: Situation) -> int:
    """Return how many examples give a share to within five points.

    Near 0 and 1 the formula would ask for hardly any.
    """
    score = 0.5 if situation.api_score is None else min(max(situation.api_score, 0.1), 0.9)
    return math.ceil(1.96**2 * score * (1 - score) / 0.05**2)
