"""What rendering did to the rows: lengths, cuts, and whatever is odd about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from ftsdk._rich_text import rich_text
from ftsdk.errors import DatasetError

__all__ = ["RenderReport", "RowFacts", "summarise"]


class RowFacts(NamedTuple):
    """One rendered row, as the report counts it."""

    tokens: int
    """Before truncation, of the row's longest sequence."""
    kept: int
    """After truncation, of all sequences; a preference row is two, with the prompt in each."""
    trained: int
    """Trained tokens that are left; 0 means that the row is dropped."""
    truncated: int
    lost: int
    flags: frozenset[str]
    sequences: int = 1
    """Training sequences with trained tokens; several where the turns of a conversation are trained one by one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderReport:
    """Counts over all rows of a dataset, rendered for one tokenizer."""

    rows: int
    tokens_total: int
    """Tokens of one epoch: after truncation, without the dropped rows."""
    trained_tokens: int
    """Tokens of one epoch that the loss counts."""
    length_min: int
    """Tokens per row before truncation; of a row that is several sequences, those of the longest."""
    length_median: int
    length_p95: int
    length_max: int
    longest_row: int
    """Position of the longest row, from 0."""
    max_length: int | None
    has_template: bool
    """False: the model has no chat template, and rows are plain prompt, completion and end-of-text."""
    rows_truncated: int
    rows_losing_trained_tokens: int
    """Rows that lost some trained tokens and kept others."""
    rows_without_trained_tokens: int
    """Rows with nothing left to learn; they are dropped."""
    rows_missing_eos: int
    """Rows whose last answer doesn't end with an end-of-text token, even before truncation."""
    rows_double_bos: int
    boundary_mismatch: int
    """Rows whose prompt is tokenised differently alone, as in serving, than in front of its answer."""
    rows_with_special_tokens_in_content: int
    """Rows whose messages spell out special tokens, which then act as such."""

    rows_losing_content: int
    """Rows of which the chat template leaves out or changes what a message says."""

    rows_losing_tools: int = 0
    """Rows of which the chat template leaves out the tools, or calls of them."""

    first_row_losing_tools: int | None = None
    """Position of the first of these, from 0."""

    sequences: int = 0
    """Training sequences of one epoch; a preference pair is one."""

    rows_by_turn: int = 0
    """Rows of which each trained turn is a sequence of its own, because the chat template rewrites earlier turns."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what is noteworthy."""
        cut, lost, gone = self.rows_truncated, self.rows_losing_trained_tokens, self.rows_without_trained_tokens
        sentences: list[tuple[int, str]] = [
            (
                not self.has_template,
                "The model has no chat template: rows are rendered as plain prompt, completion and end-of-text.",
            ),
            (
                self.rows_losing_content,
                f"{_rows(self.rows_losing_content)}: the model's chat template leaves out or changes "
                "what a message says.",
            ),
            (
                self.rows_losing_tools,
                f"{_rows(self.rows_losing_tools)}: the model's chat template leaves out tools, or calls of them.",
            ),
            (
                self.rows_by_turn,
                f"{_rows(self.rows_by_turn)} {_are(self.rows_by_turn)} trained turn by turn, each turn as serving "
                "would ask for it, because the chat template rewrites earlier turns: "
                f"{self.sequences:,} sequences in all.",
            ),
            (
                cut,
                f"{_rows(cut)} longer than {self.max_length:,} tokens {_are(cut)} cut at the end."
                if self.max_length
                else "",
            ),
            (lost, f"{_rows(lost)} {_lose(lost)} a part of what was to be learned."),
            (gone, f"{_rows(gone)} {_have(gone)} nothing left to learn and {_are(gone)} dropped."),
            (
                self.rows_missing_eos,
                f"{_rows(self.rows_missing_eos)}: the answer has no end-of-text token, "
                "so the model won't learn to stop there.",
            ),
            (
                self.rows_double_bos,
                f"{_rows(self.rows_double_bos)} {_have(self.rows_double_bos)} two beginning-of-text tokens.",
            ),
            (
                self.boundary_mismatch,
                f"{_rows(self.boundary_mismatch)}: the prompt is tokenised differently alone, as in serving, "
                "than in front of its answer; blanks or line breaks where the two meet are the usual cause.",
            ),
            (
                self.rows_with_special_tokens_in_content,
                f"{_rows(self.rows_with_special_tokens_in_content)} spell out special tokens of the model, "
                "such as its end-of-turn token.",
            ),
        ]
        return tuple(sentence for count, sentence in sentences if count)

    def check(self, max_truncated: float = 0.01) -> None:
        """Refuse data that loses too much on the way to the model.

        Args:
            max_truncated: Share of the rows, from 0 to 1, that may lose trained tokens; likewise of those whose
                messages the chat template leaves out or changes.

        Raises:
            DatasetError: More rows lose trained tokens or messages, any row loses its tools or calls, or no row has any
                trained token.
        """
        if self.rows_losing_tools:
            first = "" if self.first_row_losing_tools is None else f", first in row {self.first_row_losing_tools + 1}"
            raise DatasetError(
                f"the model's chat template leaves out the tools or the tool calls of {self.rows_losing_tools:,} of "
                f"{self.rows:,} rows{first}; without them something else would be trained. job.preview() shows them.",
                hint="Use a model whose chat template knows tools, pass such a template with "
                "Model(chat_template=...), or leave these rows out.",
            )
        if self.rows_losing_content / self.rows > max_truncated:
            raise DatasetError(
                f"the model's chat template leaves out or changes what a message says in "
                f"{self.rows_losing_content:,} of {self.rows:,} rows, "
                "so that something else would be trained; job.preview() shows them.",
                hint="Use another template with Model(chat_template=...), put a system message or reasoning into the "
                f"user's or the assistant's text, or accept the loss with "
                f"max_truncated={-(-self.rows_losing_content * 1000 // self.rows) / 1000:g}.",
            )
        lost = self.rows_losing_trained_tokens + self.rows_without_trained_tokens
        nothing_left = self.rows_without_trained_tokens == self.rows
        if lost / self.rows <= max_truncated and not nothing_left:
            return
        if self.max_length is None:
            raise DatasetError(
                f"{lost:,} of {self.rows:,} rows have nothing to learn once rendered: "
                "both answers give the same tokens.",
                hint="Remove them: answers that differ only in blanks at their ends are the usual cause.",
            )
        tries = "Raise max_length (or choose a model that reads more), shorten the longest rows"
        if not nothing_left:
            tries += f", or accept the loss with max_truncated={-(-lost * 1000 // self.rows) / 1000:g}"
        raise DatasetError(
            f"{lost:,} of {self.rows:,} rows ({lost / self.rows:.1%}) lose trained tokens to "
            f"max_length={self.max_length}, {self.rows_without_trained_tokens:,} of them all; "
            f"allowed are {max_truncated:.1%}. "
            f"The longest is row {self.longest_row + 1} with {self.length_max:,} tokens; half of the rows have "
            f"more than {self.length_median:,}, 5% more than {self.length_p95:,}.",
            hint=tries + ".",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, notes included."""
        return {**asdict(self), "notes": list(self.notes)}

    def __str__(self) -> str:
        share = self.trained_tokens / self.tokens_total if self.tokens_total else 0.0
        sequences = f" as {self.sequences:,} sequences" if self.rows_by_turn else ""
        lines = [
            f"{_rows(self.rows)}{sequences}, {self.tokens_total:,} tokens an epoch, "
            f"{self.trained_tokens:,} of them trained ({share:.0%})",
            f"tokens per row: {self.length_min:,} at least, {self.length_median:,} median, "
            f"{self.length_p95:,} 95th percentile, {self.length_max:,} at most",
            *self.notes,
        ]
        return "\n".join(lines)

    __rich__ = rich_text


def summarise(facts: Sequence[RowFacts], *, max_length: int | None, has_template: bool) -> RenderReport:
    """Count over rows.

    Raises:
        DatasetError: There are no rows.
    """
    if not facts:
        raise DatasetError("there are no rows to render.")
    lengths = sorted(fact.tokens for fact in facts)
    longest = max(range(len(facts)), key=lambda index: facts[index].tokens)

    def count(is_so: Callable[[RowFacts], bool]) -> int:
        return sum(1 for fact in facts if is_so(fact))

    return RenderReport(
        rows=len(facts),
        tokens_total=sum(fact.kept for fact in facts if fact.trained),
        trained_tokens=sum(fact.trained for fact in facts),
        length_min=lengths[0],
        length_median=lengths[(len(lengths) - 1) // 2],
        length_p95=lengths[-(-len(lengths) * 95 // 100) - 1],
        length_max=lengths[-1],
        longest_row=longest,
        max_length=max_length,
        has_template=has_template,
        rows_truncated=count(lambda fact: fact.truncated > 0),
        rows_losing_trained_tokens=count(lambda fact: fact.lost > 0 and fact.trained > 0),
        rows_without_trained_tokens=count(lambda fact: fact.trained == 0),
        rows_missing_eos=count(lambda fact: "missing_eos" in fact.flags),
        rows_double_bos=count(lambda fact: "double_bos" in fact.flags),
        boundary_mismatch=count(lambda fact: "boundary_mismatch" in fact.flags),
        rows_losing_content=count(lambda fact: "content_missing" in fact.flags),
        rows_losing_tools=count(lambda fact: "tools_missing" in fact.flags),
        first_row_losing_tools=next((n for n, fact in enumerate(facts) if "tools_missing" in fact.flags), None),
        sequences=sum(fact.sequences for fact in facts),
        rows_by_turn=count(lambda fact: fact.sequences > 1),
        rows_with_special_tokens_in_content=count(lambda fact: "special_tokens_in_content" in fact.flags),
    )


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _lose(count: int) -> str:
    return "loses" if count == 1 else "lose"
