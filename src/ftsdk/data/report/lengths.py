"""How many tokens the rows have: guessed from their text, or counted by rendering them as training will."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftsdk.data.report.excerpts import Excerpts
from ftsdk.data.report.finding import Finding, make_finding
from ftsdk.data.rows import Rows

if TYPE_CHECKING:
    from ftsdk.spec import TrainOn

__all__ = ["Lengths", "TokenCounter", "counted_lengths", "guessed_lengths", "length_findings"]

_BINS = 24
_FLAGS = {
    "content_missing": "template_loses_text",
    "tools_missing": "template_loses_tools",
    "special_tokens_in_content": "special_tokens",
    "missing_eos": "missing_eos",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenCounter:
    """How a job renders its rows."""

    tokenizer: Any
    """A Hugging Face fast tokenizer."""
    train_on: TrainOn = "assistant"
    max_length: int | None = None
    """Tokens that are kept of a row; None keeps all."""
    eos_token_ids: tuple[int, ...] | None = None
    chat_template: str | None = None
    embedding_rows: int | None = None
    name: str = ""
    """The model's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """Tokens of a row, template included; of a preference row, those of its longer sequence."""

    counted_by: str
    """The model whose tokenizer counted them; empty: they are guessed."""
    max_length: int | None
    shortest: int
    median: int
    p95: int
    longest: int
    total: int
    truncated: int
    """Rows longer than `max_length`."""
    bins: tuple[tuple[int, int], ...]
    """A histogram: the upper end of each bin, and how many rows are in it."""


def guessed_lengths(dataset: Rows, max_length: int | None = None) -> tuple[Lengths, Any]:
    """Guess the tokens of each row; also return them as a NumPy array."""
    import numpy as np

    from ftsdk.data.token_guess import guess_rows

    if dataset.format == "table":
        guesses = guess_rows({"messages": [{"role": "user", "content": _table_text(row)}]} for row in dataset.rows)
    else:
        guesses = dataset.token_guesses
    tokens = np.rint(guesses.sequences[:, :, 1].max(axis=1)).astype(np.int64)
    return _lengths(tokens, max_length, ""), tokens


def counted_lengths(dataset: Rows, counter: TokenCounter) -> tuple[Lengths, Any, dict[str, list[int]]]:
    """Render each row; return also its tokens as a NumPy array, and the rows that rendering has something to say about.

    Raises:
        ModelError: The tokenizer or its template can't be used.
    """
    import numpy as np

    from ftsdk.data.rendering import render_rows
    from ftsdk.data.text_model import TextModel
    from ftsdk.data.training_sequences import facts_of

    model = TextModel(
        counter.tokenizer,
        eos_token_ids=counter.eos_token_ids,
        chat_template=counter.chat_template,
        embedding_rows=counter.embedding_rows,
    )
    tokens: list[int] = []
    found: dict[str, list[int]] = {}
    for row, rendered in enumerate(
        render_rows(dataset.rows, model, train_on=counter.train_on, max_length=counter.max_length)
    ):
        facts = facts_of(rendered)
        tokens.append(facts.tokens)
        if facts.trained == 0:
            found.setdefault("untrained", []).append(row)
        for flag in facts.flags & _FLAGS.keys():
            found.setdefault(_FLAGS[flag], []).append(row)
    counted = np.asarray(tokens, dtype=np.int64)
    return _lengths(counted, counter.max_length, counter.name or "the tokenizer"), counted, found


def length_findings(
    lengths: Lengths, tokens: Any, rendered: dict[str, list[int]], excerpts: Excerpts, *, max_truncated: float
) -> Iterator[Finding]:
    """Yield findings about rows that are too long, or that rendering changes.

    Args:
        lengths: The lengths.
        tokens: Tokens of each row.
        rendered: Rows by code, as `counted_lengths` returns them.
        excerpts: Makes examples.
        max_truncated: The share of rows above which truncation is an error.
    """
    import numpy as np

    if lengths.truncated and lengths.max_length is not None:
        rows = np.flatnonzero(tokens > lengths.max_length).tolist()
        longest = sorted(rows, key=lambda row: -int(tokens[row]))[:5]
        guessed = "" if lengths.counted_by else ", guessed"
        yield make_finding(
            "truncated",
            rows,
            len(tokens),
            excerpts.of(longest, [f"{int(tokens[row]):,} tokens{guessed}" for row in longest]),
            severity="error" if len(rows) > max_truncated * len(tokens) else "warning",
            detail=f"max_length is {lengths.max_length:,}",
            fix=f"job.replace(max_length={lengths.longest})",
        )
    for code, rows in rendered.items():
        yield make_finding(code, rows, len(tokens), excerpts.of(rows))


def _lengths(tokens: Any, max_length: int | None, counted_by: str) -> Lengths:
    import numpy as np

    ordered = np.sort(tokens)
    # The longest 1% shares the last bin, so that one long row doesn't leave the rest in one bar.
    first, limit = int(ordered[0]), int(ordered[int(0.99 * (len(ordered) - 1))])
    width = max(1, -(-(limit - first + 1) // _BINS))
    counts = np.bincount(np.minimum((tokens - first) // width, _BINS - 1))
    ends = [first - 1 + (n + 1) * width for n in range(len(counts))]
    ends[-1] = max(ends[-1], int(ordered[-1]))
    return Lengths(
        counted_by=counted_by,
        max_length=max_length,
        shortest=first,
        median=int(ordered[(len(ordered) - 1) // 2]),
        p95=int(ordered[-(-len(ordered) * 95 // 100) - 1]),
        longest=int(ordered[-1]),
        total=int(ordered.sum()),
        truncated=0 if max_length is None else int((tokens > max_length).sum()),
        bins=tuple(zip(ends, counts.tolist(), strict=True)),
    )


def _table_text(row: dict[str, Any]) -> str:
    return "\n".join(value for value in row.values() if isinstance(value, str))
