"""Prompts with retrieved passages: right ones, wrong ones, none."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

from ftsdk.data.location import Location
from ftsdk.data.row_sequence import RowSequence
from ftsdk.data.steps import ContextStep
from ftsdk.data.table import Table
from ftsdk.errors import DatasetError
from ftsdk.spec.base import nearest

__all__ = ["NO_PASSAGES", "SEPARATOR", "TEMPLATE", "Contexts"]

TEMPLATE = "Answer from the context.\n\nContext:\n{context}\n\nQuestion: {question}"
SEPARATOR = "\n\n"
NO_PASSAGES = "(nothing was found)"
_TRIES = 50
"""Rows that are tried for a wrong passage before all are."""


class Contexts:
    """How prompts get their passages."""

    def __init__(self, step: ContextStep, *, template: str, separator: str, no_passages: str) -> None:
        """Check the arguments.

        Raises:
            DatasetError: One is out of range.
        """
        if not (0 <= step.wrong <= 1 and 0 <= step.empty <= 1 and step.wrong + step.empty <= 1):
            raise DatasetError(
                f"wrong={step.wrong} and empty={step.empty} are shares: from 0 to 1, and at most 1 together."
            )
        if (step.wrong or step.empty) and not (step.unanswerable or "").strip():
            raise DatasetError(
                "rows with wrong passages, or none, need an answer.",
                hint='Pass it: unanswerable="The context doesn\'t say."',
            )
        if step.distractors < 0:
            raise DatasetError(f"distractors={step.distractors} is below 0.")
        for field in ("{context}", "{question}"):
            if template.count(field) != 1:
                raise DatasetError(f"template= needs {field} exactly once.")
        self._step = step
        self._template, self._separator, self._no_passages = template, separator, no_passages

    def rows(
        self,
        rows: RowSequence,
        table: Table,
        *,
        format: Literal["table", "chat", "preference", "unpaired"],  # noqa: A002
        source: str | None,
    ) -> Iterator[dict[str, Any]]:
        """Return the rows with passages in their prompts.

        Args:
            rows: Chat rows.
            table: The rows as they were read, with the column of passages.
            format: What the rows are.
            source: The file or hub id, for errors; None for rows from memory.

        Raises:
            DatasetError: They aren't chat rows, there is no such column, or a row has no passages.
        """
        name = self._step.passages
        if format != "chat":
            raise DatasetError(
                f"with_context needs chat rows, and these are {format} rows.",
                source=source,
                hint="Shape a table with as_chat(...) first." if format == "table" else None,
            )
        if name not in table.columns:
            raise DatasetError(
                f"passages= names the column {name!r}, which doesn't exist{nearest(name, table.columns)}", source=source
            )
        places = table.places(source)
        passages = [_passages(value, where, name) for value, where in zip(table.column(name), places, strict=True)]
        return self._filled(rows, passages, source)

    def _filled(self, rows: RowSequence, passages: Sequence[list[str]], source: str | None) -> Iterator[dict[str, Any]]:
        draw = random.Random(self._step.seed)
        keys = [draw.random() for _ in passages]
        order = sorted(range(len(passages)), key=keys.__getitem__)
        wrong = round(self._step.wrong * len(order))
        kinds = dict.fromkeys(order[:wrong], "wrong")
        kinds |= dict.fromkeys(order[wrong : wrong + round(self._step.empty * len(order))], "empty")
        for position, row in enumerate(rows):
            kind, own = kinds.get(position, "right"), passages[position]
            answer = str(row["messages"][-1]["content"])
            others = _Others(passages, position, answer, draw, source)
            if kind == "right":
                found = _shuffled([*own, *others.take(self._step.distractors)], draw) if self._step.distractors else own
            elif kind == "wrong":
                found = others.take(len(own) + self._step.distractors)
            else:
                found = []
            yield self._with(row, found, None if kind == "right" else self._step.unanswerable)

    def _with(self, row: dict[str, Any], passages: Sequence[str], answer: str | None) -> dict[str, Any]:
        messages = [dict(message) for message in row["messages"]]
        last = max(number for number, message in enumerate(messages) if message["role"] == "user")
        before, _, rest = self._template.partition("{context}")
        context = self._separator.join(passages) or self._no_passages
        # The template is filled once: braces in passages and questions are text.
        question = messages[last]["content"]
        if "{question}" in before:
            before = before.replace("{question}", question)
        else:
            rest = rest.replace("{question}", question)
        messages[last]["content"] = f"{before}{context}{rest}"
        if answer is not None:
            messages[-1] = {"role": "assistant", "content": answer}
        return {**row, "messages": messages}


class _Others:
    """Passages of other rows that don't belong to a row, and don't hold its answer."""

    def __init__(
        self, passages: Sequence[list[str]], position: int, answer: str, draw: random.Random, source: str | None
    ) -> None:
        self._passages, self._position, self._draw, self._source = passages, position, draw, source
        self._own = set(passages[position])
        self._answer = " ".join(answer.split()).casefold()

    def take(self, count: int) -> list[str]:
        found: dict[str, None] = {}
        total = len(self._passages)
        for _ in range(_TRIES * count):
            if len(found) == count:
                break
            self._try(int(self._draw.random() * total), found)
        start = int(self._draw.random() * total)
        for step in range(total):
            if len(found) >= count:
                break
            self._try((start + step) % total, found)
        if len(found) < count:
            raise DatasetError(
                f"row {self._position + 1} needs {count} passages of other rows that don't hold its answer; there are "
                f"{len(found)}.",
                source=self._source,
                hint="Ask for fewer distractors, or set wrong=0.",
            )
        return list(found)

    def _try(self, position: int, found: dict[str, None]) -> None:
        usable = [
            one for one in self._passages[position] if one not in self._own and one not in found and self._is_free(one)
        ]
        if usable:
            found[usable[int(self._draw.random() * len(usable))]] = None

    def _is_free(self, passage: str) -> bool:
        return not self._answer or self._answer not in " ".join(passage.split()).casefold()


def _passages(value: object, where: Location, column: str) -> list[str]:
    listed = cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else [value]
    found = [one for one in listed if isinstance(one, str) and one.strip()]
    if not found or len(found) != len(listed):
        raise where.error(
            "must be a text, or a list of texts, and not empty.", field=column, hint="Fill it in, or remove the row."
        )
    return found


def _shuffled(passages: Sequence[str], draw: random.Random) -> list[str]:
    keys = [draw.random() for _ in passages]
    return [passages[index] for index in sorted(range(len(passages)), key=keys.__getitem__)]
