"""What an evaluation found, as values: one example, one target on one eval, two targets on the same examples."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EvalScore", "ExampleResult", "PairedScore"]


@dataclass(frozen=True)
class ExampleResult:
    """One example: what was asked, the reference, the answer, and its score."""

    index: int
    """Position of the row in the dataset, from 0."""
    prompt: str
    expected: str
    output: str
    value: float
    """The score: between 0 and 1 unless the scorer is unbounded."""
    reason: str
    """Why the scorer gave this value."""


@dataclass(frozen=True, kw_only=True)
class EvalScore:
    """How one target did on one eval."""

    name: str
    """The eval."""
    target: str
    """What was measured: `"base"` or `"tuned"`."""
    n: int
    """Examples."""
    correct: int | None
    """How many scored 1, where every score is 0 or 1; else None."""
    value: float
    """The metric over all scores; the share of right answers where every score is 0 or 1."""
    low: float
    """Lower end of the 95 % interval; minus infinity if a single example says nothing about it."""
    high: float
    metric: str = "mean"
    interval: str = "wilson"
    """How the interval was computed: `"wilson"`, `"t"` or `"bootstrap"`."""
    is_bounded: bool = True
    """Whether scores lie between 0 and 1, so that they can be read as percentages."""


@dataclass(frozen=True, kw_only=True)
class PairedScore:
    """Two targets on the same examples: on how many each did better, and the difference."""

    name: str
    """The eval."""
    both: int | None = None
    """Examples that both got right, where every score is 0 or 1; else None, as the next three."""
    only_base: int | None = None
    only_tuned: int | None = None
    neither: int | None = None
    lower: int
    """Examples on which the tuned model scored lower than the base."""
    equal: int
    higher: int
    difference: float
    """The metric of the tuned model minus that of the base."""
    low: float
    """Lower end of the 95 % interval of the difference, which takes into account that the examples are the same."""
    high: float
    interval: str = "newcombe"
    """How the interval was computed: `"newcombe"` (method 10), `"t"` or `"bootstrap"`."""
    is_bounded: bool = True

    @property
    def verdict(self) -> str:
        """What the difference means, in one sentence."""
        if self.low > 0:
            return "better than the base, and by more than chance would explain"
        if self.high < 0:
            return "worse than the base, and by more than chance would explain"
        return "the interval of the difference includes 0: these examples can't tell the two apart"

    @property
    def counts(self) -> str:
        """The counts of outcomes in words."""
        if self.both is None:
            return f"the tuned scored higher on {self.higher}, lower on {self.lower}, the same on {self.equal}"
        return (
            f"both right on {self.both}, only the base on {self.only_base}, only the tuned on {self.only_tuned}, "
            f"neither on {self.neither}"
        )
