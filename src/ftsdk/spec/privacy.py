"""Differential privacy: how little of any one training row the weights may give away."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ftsdk.spec.base import Value

__all__ = ["Privacy"]


class Privacy(Value):
    """Train with differential privacy: DP-SGD (https://arxiv.org/abs/1607.00133), for each row of the data.

    Whoever sees the weights can hardly tell whether any one row was among the training data: with it or without it,
    any outcome is at most `exp(epsilon)` times as likely, but for a probability of `delta`.
    """

    epsilon: Annotated[float, Field(gt=0, le=1000)]
    """The budget of the whole training. Up to 1 is a strong promise, up to about 10 a common compromise, and far above
    that little is promised (https://arxiv.org/abs/2303.00654, section 5.2)."""
    delta: Annotated[float, Field(gt=0, lt=1)]
    """Probability with which the promise may fail: well below 1 / rows, such as 1e-5 for 10,000 rows."""
    max_grad_norm: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Each row's gradient is clipped to this norm, before noise in proportion to it is added."""
