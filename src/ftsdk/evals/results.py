"""What an evaluation found, as values: one example, one target on one eval, two targets on the same examples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ftsdk.evals.scorers.scorer import Score
from ftsdk.evals.statistics.power import two_digits

__all__ = ["EvalScore", "ExampleResult", "PairedScore", "shown_p"]


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
    label: str | None = None
    """The class that the answer names, where the scorer has classes."""
    expected_label: str | None = None
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    """What the value is made of, by name: the score of each field, or counts that a metric sums up."""
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The values of the row in the columns that the eval names, such as those of its slices."""
    error: str | None = None
    """Why there is no answer, or no verdict on it; it counts as the worst score."""
    is_cut: bool | None = None
    """Whether the answer ended at the limit of its tokens; None: not known."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None
    usd: str | None = None
    """What the answer cost, in US dollars, as decimal text; None: not known."""

    @property
    def score(self) -> Score:
        """The verdict of the scorer."""
        return Score(self.value, self.reason, self.label, self.expected_label, self.parts, self.error)


@dataclass(frozen=True, kw_only=True)
class EvalScore:
    """How one target did on one eval, by one metric."""

    name: str
    """The eval."""
    target: str
    """What was measured, such as `"base"` or `"tuned"`."""
    n: int
    """Examples."""
    correct: int | None
    """How many scored 1, where every score is 0 or 1; else None."""
    value: float
    """The metric over all scores; the share of right answers where every score is 0 or 1."""
    low: float
    """Lower end of the 95% interval; minus infinity if a single example says nothing about it."""
    high: float
    metric: str = "mean"
    interval: str = "wilson"
    """How the interval was computed: `"wilson"`, `"t"`, `"clustered"` (by groups), `"bootstrap"` or `"normal"`."""
    is_bounded: bool = True
    """Whether the value lies between 0 and 1, so that it can be read as a percentage."""
    is_lower_better: bool = False
    errors: int = 0
    """Examples without an answer; they count as the worst score."""
    unkept: int = 0
    """Answers that don't keep to the choices or the schema of the target."""
    wrong_form: int = 0
    """Wrong answers of `exact_match` that have the reference among other text, or in another case."""
    data: str = ""
    """SHA-256 of the rows: only numbers of the same rows can be compared."""


@dataclass(frozen=True, kw_only=True)
class PairedScore:
    """Two targets on the same examples: on how many each did better, and the difference."""

    name: str
    """The eval."""
    metric: str = "mean"
    base: str = "base"
    """The target that the other is compared with."""
    tuned: str = "tuned"
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
    """Lower end of the 95% interval of the difference, which takes into account that the examples are the same."""
    high: float
    interval: str = "tango"
    """How the interval was computed: `"tango"`, `"newcombe"`, `"t"`, `"clustered"` (by groups) or `"bootstrap"`."""
    is_bounded: bool = True
    is_lower_better: bool = False
    p_value: float | None = None
    """Two-sided; None: not tested."""
    p_holm: float | None = None
    """The p-value that allows for all comparisons of the report, by Holm's method."""
    test: str = ""
    """What the p-value is of: `"McNemar's exact test"`, `"paired t"`, `"clustered t"` or `"swapped answers"`."""
    comparisons: int = 1
    """How many comparisons `p_holm` allows for."""
    visible: float | None = None
    """The smallest true difference that these examples show four times in five; None: not known."""
    examples_needed: int | None = None
    """How many examples show a difference like the observed one four times in five; None: not known, or over 10^9."""

    @property
    def verdict(self) -> str:
        """What the difference means, in one sentence."""
        if self.low > 0 or self.high < 0:
            is_better = (self.low > 0) is not self.is_lower_better
            found = f"{'better' if is_better else 'worse'} than {self.base}, "
            if self.p_value is not None and self.p_value > 0.05:
                return f"{found}but narrowly: {self.test}, which is more cautious, leaves it to chance"
            if self.p_holm is not None and self.p_holm > 0.05:
                return f"{found}but among {self.comparisons} comparisons chance would explain one like it"
            return f"{found}and by more than chance would explain"
        return "the interval of the difference includes 0: these examples can't tell the two apart"

    @property
    def significance(self) -> str:
        """The p-values in words; empty if nothing was tested."""
        if self.p_value is None:
            return ""
        by_holm = ""
        if self.comparisons > 1 and self.p_holm is not None:
            by_holm = f"; adjusted for {self.comparisons} comparisons (Holm), p {shown_p(self.p_holm)}"
        return f"p {shown_p(self.p_value)} ({self.test}){by_holm}"

    @property
    def reach(self) -> str:
        """What these examples can see, in one sentence; empty if that isn't known."""
        if self.visible is None or not math.isfinite(self.visible):
            return ""
        least = f"{100 * self.visible:.1f} points" if self.is_bounded else f"{self.visible:.3g}"
        found = f"the smallest difference that these examples can detect is {least} (with 80% power)"
        if self.low > 0 or self.high < 0 or not self.difference:
            return found
        if self.examples_needed is None:
            return f"{found}; the observed one would take over a billion examples"
        return f"{found}; the observed one would take about {two_digits(self.examples_needed):,} examples"

    @property
    def counts(self) -> str:
        """The counts of outcomes in words."""
        if self.both is None:
            return f"{self.tuned} scored higher on {self.higher}, lower on {self.lower}, the same on {self.equal}"
        return (
            f"both right on {self.both}, only {self.base} on {self.only_base}, only {self.tuned} on {self.only_tuned}, "
            f"neither on {self.neither}"
        )


def shown_p(p_value: float) -> str:
    """Return a p-value in words, with the sign: `= 0.012`, `< 0.001`."""
    return f"= {p_value:.2g}" if p_value >= 0.001 else "< 0.001"
