"""See what will be trained: the tokens of some rows, and which of them the loss counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from ftsdk._format import escaped, printable
from ftsdk.data.argument_checks import checked_whole
from ftsdk.data.dataset import Dataset
from ftsdk.data.render_report import RenderReport, RowFacts, summarise
from ftsdk.data.rendering import render_rows
from ftsdk.data.text_model import TextModel
from ftsdk.data.training_sequences import RenderedPair, RenderedRow, facts_of
from ftsdk.errors import DatasetError
from ftsdk.spec import TrainOn

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["Preview", "PreviewRow", "PreviewToken", "preview"]

_MARKS = {None: "", True: "good", False: "bad"}
_TRAINED = {"preference": "chosen and rejected", "unpaired": "completion, towards or away from it"}
"""What is trained in rows for which `train_on` decides nothing."""
_CSS = (
    ".ftsdk-preview{font-family:monospace;white-space:pre-wrap;line-height:1.6}"
    ".ftsdk-preview .t{background:#c8f0d0;color:#063;border-radius:2px}.ftsdk-preview .m{color:#888}"
    ".ftsdk-preview h4{font-family:sans-serif;margin:.8em 0 .2em}"
)


class PreviewToken(NamedTuple):
    """One token: its id, the text that it stands for, and whether the loss counts it."""

    id: int
    text: str
    """The texts of a row's tokens together are the row's text. A token inside of a character has none of its own."""
    is_trained: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviewRow:
    """One sequence as the trainer gets it.

    A preference row gives two, `chosen` and `rejected`; a conversation one, or one for each trained turn.
    """

    row: int
    """Position in the dataset, from 0."""
    line: int
    """Line in the file."""
    side: str
    """`chosen` or `rejected`; `good` or `bad` of a labelled answer; `turn 2 of 3` of a conversation that is trained
    turn by turn; else empty."""
    tokens: tuple[PreviewToken, ...]
    truncated_tokens: int
    flags: tuple[str, ...]

    @property
    def title(self) -> str:
        """One line about the row."""
        trained = sum(token.is_trained for token in self.tokens)
        cut = f", {self.truncated_tokens} more cut off" if self.truncated_tokens else ""
        odd = f" [{', '.join(flag.replace('_', ' ') for flag in self.flags)}]" if self.flags else ""
        side = f" {self.side}" if self.side else ""
        return f"row {self.row + 1}{side} (line {self.line}): {len(self.tokens)} tokens, {trained} trained{cut}{odd}"

    def runs(self) -> Iterator[tuple[bool, str]]:
        """Yield the text in runs of trained and untrained tokens."""
        for is_trained, run in groupby(self.tokens, key=lambda token: token.is_trained):
            yield is_trained, printable("".join(token.text for token in run))


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """Some rows with their tokens. `print` marks what is trained ⟦like this⟧; rich and notebooks colour it."""

    name: str
    train_on: str
    rows: tuple[PreviewRow, ...]
    report: RenderReport
    """What was counted over all rows of the dataset, not only those shown."""

    def __str__(self) -> str:
        blocks = [f"{printable(self.name)}, train_on={self.train_on!r}: ⟦trained⟧, the rest is only read"]
        for row in self.rows:
            text = "".join(f"⟦{run}⟧" if is_trained else run for is_trained, run in row.runs())
            blocks.append(f"{row.title}\n{text}")
        return "\n\n".join([*blocks, f"All rows: {self.report}"])

    def __rich__(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        parts: list[Text] = [Text(f"{printable(self.name)}, train_on={self.train_on!r}")]
        for row in self.rows:
            text = Text(f"\n{row.title}\n", style="bold")
            for is_trained, run in row.runs():
                text.append(run, style="not bold green" if is_trained else "not bold dim")
            parts.append(text)
            ids = Text("\nids ", style="bold")
            for token in row.tokens:
                ids.append(f"{token.id} ", style="not bold green" if token.is_trained else "not bold dim")
            parts.append(ids)
        parts.append(Text(f"\nAll rows: {self.report}"))
        return Group(*parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the preview as plain data."""
        return {
            "name": self.name,
            "train_on": self.train_on,
            "rows": [
                {
                    "row": row.row,
                    "line": row.line,
                    "side": row.side,
                    "input_ids": [token.id for token in row.tokens],
                    "tokens": [token.text for token in row.tokens],
                    "trained": [token.is_trained for token in row.tokens],
                    "truncated_tokens": row.truncated_tokens,
                    "flags": list(row.flags),
                }
                for row in self.rows
            ],
            "report": self.report.to_dict(),
        }

    def to_html(self) -> str:
        """Return the preview as an HTML fragment: trained tokens are green, and each shows its id under the mouse."""
        blocks = [f"<style>{_CSS}</style>"]
        for row in self.rows:
            spans = "".join(
                f'<span class="{"t" if token.is_trained else "m"}" title="{token.id}">{escaped(token.text)}</span>'
                for token in row.tokens
                if token.text
            )
            blocks.append(f"<h4>{escaped(row.title)}</h4><div>{spans}</div>")
        blocks.append(f"<pre>All rows: {escaped(str(self.report))}</pre>")
        return f'<div class="ftsdk-preview">{"".join(blocks)}</div>'

    def _repr_html_(self) -> str:
        return self.to_html()


def preview(
    dataset: Dataset,
    tokenizer: Any,
    *,
    n: int = 3,
    train_on: TrainOn = "assistant",
    max_length: int | None = None,
    eos_token_ids: Sequence[int] | None = None,
    chat_template: str | None = None,
    embedding_rows: int | None = None,
) -> Preview:
    """Render the first rows exactly as training will, and count what becomes of all of them.

    Args:
        dataset: Chat, preference or unpaired data.
        tokenizer: A Hugging Face fast tokenizer.
        n: How many rows.
        train_on: As for `SFT`; preference rows always train both answers, unpaired rows the last one.
        max_length: Tokens per row; None cuts nothing.
        eos_token_ids: The tokens that end an answer. None: the tokenizer's own.
        chat_template: A Jinja template in place of the tokenizer's own.
        embedding_rows: How many token ids the model has; None: unknown.

    Raises:
        DatasetError: The rows are still a table, or a number is out of range.
        ModelError: The tokenizer or its template can't be used.
    """
    if dataset.format == "table":
        raise DatasetError(
            "the rows are still a table.", source=dataset.name, hint="Call as_chat(...) or as_preference(...) first."
        )
    n = checked_whole("n", n, at_least=0, source=dataset.name)
    model = TextModel(
        tokenizer, eos_token_ids=eos_token_ids, chat_template=chat_template, embedding_rows=embedding_rows
    )
    rows: list[PreviewRow] = []
    facts: list[RowFacts] = []
    for index, row in enumerate(render_rows(dataset.rows, model, train_on=train_on, max_length=max_length)):
        facts.append(facts_of(row))
        for turn, sequence in enumerate(row if index < n else (), start=1):
            line = dataset.line_of(index)
            if isinstance(sequence, RenderedPair):
                rows.extend(_pair_rows(index, line, sequence, model))
            else:
                side = f"turn {turn} of {len(row)}" if len(row) > 1 else _MARKS[sequence.label]
                rows.append(_chat_row(index, line, side, sequence, model))
    report = summarise(facts, max_length=max_length, has_template=model.has_template)
    return Preview(
        name=dataset.name,
        train_on=_TRAINED.get(dataset.format, train_on),
        rows=tuple(rows),
        report=report,
    )


def _chat_row(index: int, line: int, side: str, row: RenderedRow, model: TextModel) -> PreviewRow:
    tokens = _tokens(row.text, row.input_ids, row.trained, model)
    return PreviewRow(
        row=index,
        line=line,
        side=side,
        tokens=tokens,
        truncated_tokens=row.truncated_tokens,
        flags=tuple(sorted(row.flags)),
    )


def _pair_rows(index: int, line: int, pair: RenderedPair, model: TextModel) -> Iterator[PreviewRow]:
    for side, text, answer in (
        ("chosen", pair.chosen_text, pair.chosen_ids),
        ("rejected", pair.rejected_text, pair.rejected_ids),
    ):
        ids = (*pair.prompt_ids, *answer)
        trained = (False,) * len(pair.prompt_ids) + (True,) * len(answer)
        yield PreviewRow(
            row=index,
            line=line,
            side=side,
            tokens=_tokens(text, ids, trained, model),
            truncated_tokens=pair.truncated_tokens,
            flags=tuple(sorted(pair.flags)),
        )


def _tokens(text: str, ids: Sequence[int], trained: Iterable[bool], model: TextModel) -> tuple[PreviewToken, ...]:
    encoding = model.encode([text])[0]
    tokens: list[PreviewToken] = []
    end = 0
    for token, is_trained, token_end in zip(
        ids, trained, encoding.ends, strict=False
    ):  # what was cut off has no id here
        # From the end of the one before, since offsets of some tokenizers leave blanks out.
        tokens.append(PreviewToken(token, text[end:token_end], is_trained))
        end = max(end, token_end)
    return tuple(tokens)
