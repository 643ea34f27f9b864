"""What an evaluation found: shares with intervals, base against tuned on the same examples, as table, page and data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ftsdk._format import escaped, html_table, notes_html, text_table
from ftsdk.evals.statistics import paired_difference_interval, wilson_interval

__all__ = ["EvalReport", "ExampleResult", "PairedScore", "Score"]

_SMALL = 100
"""Below this many examples one example is worth more than a point, and the report says so."""


@dataclass(frozen=True)
class ExampleResult:
    """One example: what was asked, what would have been right, what came."""

    index: int
    prompt: str
    expected: str
    output: str
    is_correct: bool


@dataclass(frozen=True, kw_only=True)
class Score:
    """How one model did on one eval."""

    name: str
    """The eval."""
    subject: str
    """The model: `"base"` or `"tuned"`."""
    n: int
    correct: int
    value: float
    """`correct / n`."""
    low: float
    """Lower end of the 95 % Wilson interval."""
    high: float

    @classmethod
    def of(cls, name: str, subject: str, results: Sequence[ExampleResult]) -> Score:
        """Count."""
        n, correct = len(results), sum(result.is_correct for result in results)
        low, high = wilson_interval(correct, n)
        return cls(name=name, subject=subject, n=n, correct=correct, value=correct / n, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class PairedScore:
    """Two models on the same examples: the counts of the four outcomes, and the difference."""

    name: str
    """The eval."""
    both: int
    only_base: int
    only_tuned: int
    neither: int
    difference: float
    """Share of the tuned model minus share of the base."""
    low: float
    """Lower end of the 95 % interval of the difference, which knows that the examples are the same (Newcombe, method 10)."""
    high: float

    @classmethod
    def of(cls, name: str, base: Sequence[ExampleResult], tuned: Sequence[ExampleResult]) -> PairedScore:
        """Compare example by example."""
        outcomes = [(one.is_correct, other.is_correct) for one, other in zip(base, tuned, strict=True)]
        both, only_base = outcomes.count((True, True)), outcomes.count((True, False))
        only_tuned, neither = outcomes.count((False, True)), outcomes.count((False, False))
        low, high = paired_difference_interval(both, only_base, only_tuned, neither)
        difference = (only_tuned - only_base) / len(outcomes)
        return cls(name=name, both=both, only_base=only_base, only_tuned=only_tuned, neither=neither, difference=difference, low=low, high=high)

    @property
    def verdict(self) -> str:
        """What the difference says, in one sentence."""
        if self.low > 0:
            return "better than the base, and by more than chance would explain"
        if self.high < 0:
            return "worse than the base, and by more than chance would explain"
        return "the interval of the difference includes 0: these examples can't tell the two apart"

    @property
    def counts(self) -> str:
        """The four counts in words."""
        return f"both right on {self.both}, only the base on {self.only_base}, only the tuned on {self.only_tuned}, neither on {self.neither}"


@dataclass(frozen=True, kw_only=True)
class EvalReport:
    """Base against tuned on the same examples. Print it, or show it in a notebook."""

    title: str
    """What was evaluated, such as the ref of the run."""
    scores: tuple[Score, ...]
    pairs: tuple[PairedScore, ...] = ()
    folder: Path | None = None
    """Where every single answer can be read: `<eval>/<subject>.jsonl`."""

    def score(self, name: str, subject: str) -> Score:
        """Find one score.

        Raises:
            KeyError: No such eval or subject in the report.
        """
        for score in self.scores:
            if (score.name, score.subject) == (name, subject):
                return score
        raise KeyError(f"no score of {subject!r} on {name!r}; there are: {', '.join(f'{s.subject} on {s.name}' for s in self.scores)}")

    @property
    def notes(self) -> tuple[str, ...]:
        """What to keep in mind when reading the numbers."""
        found: list[str] = []
        for pair in self.pairs:
            base, tuned = (score for score in self.scores if score.name == pair.name and score.subject in self._compared)
            if base.low <= tuned.high and tuned.low <= base.high:
                found.append(f"{pair.name}: the intervals of base and tuned overlap; the difference on the same examples is the sharper test.")
        for name, n in dict.fromkeys((score.name, score.n) for score in self.scores):
            if n < _SMALL:
                found.append(f"{name}: n = {n} is small, one example is worth {100 / n:.1f} points; use more examples for a firmer answer.")
        return tuple(found)

    @property
    def _compared(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(score.subject for score in self.scores))[:2]

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (score.name, score.subject, str(score.n), str(score.correct), f"{score.value:.1%}", f"{score.low:.1%} to {score.high:.1%}")
            for score in self.scores
        ]

    def _sentences(self) -> list[str]:
        lines: list[str] = []
        for pair in self.pairs:
            interval = f"95 % interval {100 * pair.low:+.1f} to {100 * pair.high:+.1f}"
            lines.append(f"{pair.name}: tuned minus base {100 * pair.difference:+.1f} points ({interval}): {pair.verdict}.")
            lines.append(f"{pair.name}: {pair.counts}.")
        return lines

    def __str__(self) -> str:
        table = [_HEAD, *self._rows()]
        lines = [f"Evaluation of {self.title}" if self.title else "Evaluation", "", text_table(table, right=_NUMERIC, has_rule=True)]
        lines += ["", *self._sentences(), *(f"Note: {note}" for note in self.notes)]
        if self.folder is not None:
            lines.append(f"Every answer: {self.folder}")
        return "\n".join(line for line in lines).rstrip()

    def __rich__(self) -> Any:
        """Show the report in colour where the terminal can."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"Evaluation of {self.title}" if self.title else "Evaluation", title_justify="left")
        for column, name in enumerate(_HEAD):
            table.add_column(name, justify="right" if column in _NUMERIC else "left")
        for row in self._rows():
            # Names are shown as they are, never read as markup.
            table.add_row(*(Text(cell) for cell in row))
        after = [*(Text(line) for line in self._sentences()), *(Text(f"Note: {note}", style="dim") for note in self.notes)]
        where = [Text(f"Every answer: {self.folder}", style="dim")] if self.folder is not None else []
        return Group(table, *after, *where)

    def to_html(self) -> str:
        """Give the report as a piece of HTML that needs nothing else."""
        table = html_table(self._rows(), head=_HEAD, right=_NUMERIC)
        said = "".join(f"<p>{escaped(line)}</p>" for line in self._sentences())
        title = f"Evaluation of {self.title}" if self.title else "Evaluation"
        return f'<div class="ftsdk-eval"><h3>{escaped(title)}</h3>{table}{said}{notes_html(self.notes)}</div>'

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_dict(self) -> dict[str, Any]:
        """Give the report as plain data, without the folder, which is a matter of this machine."""
        return {
            "title": self.title,
            "scores": [asdict(score) for score in self.scores],
            "pairs": [asdict(pair) for pair in self.pairs],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, folder: Path | None = None) -> EvalReport:
        """Read what `to_dict` wrote."""
        scores = tuple(Score(**score) for score in data["scores"])
        return cls(title=data["title"], scores=scores, pairs=tuple(PairedScore(**pair) for pair in data["pairs"]), folder=folder)


_HEAD = ("eval", "model", "n", "right", "share", "95 % interval (Wilson)")
_NUMERIC = frozenset({2, 3, 4})
