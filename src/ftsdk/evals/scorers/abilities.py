"""Optional abilities of scorers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from ftsdk.evals.examples import Example
from ftsdk.evals.scorers.scorer import Score, Scorer

__all__ = ["CanJudgeMany", "CanPrepare"]


@runtime_checkable
class CanPrepare(Protocol):
    """An optional ability of a scorer: to see all examples once, before it judges the first answer."""

    def prepared(self, examples: Iterable[Example]) -> Scorer:
        """Return the scorer that judges answers to these examples.

        Args:
            examples: Of the whole eval, without reasoning in their references. They are read when they are iterated.

        Raises:
            SpecError: These examples can't be judged.
        """
        ...


@runtime_checkable
class CanJudgeMany(Protocol):
    """An optional ability of a scorer: many answers at once, such as by requests to a model."""

    def score_all(
        self, examples: Sequence[Example], answers: Sequence[str], *, folder: Path | None
    ) -> Iterator[tuple[int, Score]]:
        """Yield the score of each answer with its position, in any order.

        An answer without a verdict gets a score with an `error`.

        Args:
            examples: Without reasoning in their references.
            answers: One for each, without reasoning.
            folder: Where to keep verdicts, so that none is asked for twice; None: nowhere.

        Raises:
            CredentialsError: A key was refused.
            BackendError: What judges can't be reached, or refuses every request.
            BudgetExceededError: The budget of the scorer doesn't cover the next request.
        """
        ...
