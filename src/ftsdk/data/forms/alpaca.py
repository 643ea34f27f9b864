"""Alpaca: `instruction`, `input` and `output`, with LLaMA-Factory's `system` and `history`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ftsdk.data.canonical import Make, Row, RowMaker, template_maker, with_tools
from ftsdk.data.conversation import Message, check_text
from ftsdk.data.forms.form import Form, is_empty, sample_of
from ftsdk.data.location import Location
from ftsdk.data.table import Table
from ftsdk.data.tool_calls import TOOL_COLUMNS

__all__ = ["ALPACA"]


def _maker(table: Table, source: str | None) -> RowMaker:
    def made_from(prompt: str) -> Make:
        return template_maker(table, source, prompt=prompt, completion="{output}", system=None, system_column=True).row

    alone = made_from("{instruction}")
    with_input = made_from("{instruction}\n\n{input}") if "input" in table.columns else alone

    def make(row: Mapping[str, Any], where: Location) -> Row:
        made = (alone if is_empty(row.get("input")) else with_input)(row, where)
        if is_empty(row.get("history")):
            return made
        *opening, question, answer = made["messages"]
        return {"messages": [*opening, *_earlier_turns(row["history"], where), question, answer]}

    return with_tools(RowMaker(make), table)


def _earlier_turns(history: object, where: Location) -> list[Message]:
    """Return the messages of `[[question, answer], ...]`.

    Raises:
        DatasetError: It isn't such a list.
    """
    messages: list[Message] = []
    for number, turn in enumerate(cast("list[object]", history) if isinstance(history, (list, tuple)) else [history]):
        texts = cast("list[Any]", turn) if isinstance(turn, (list, tuple)) else []
        if len(texts) != 2 or not all(isinstance(text, str) and text.strip() for text in texts):
            raise where.error(f"turn {number} isn't a question and its answer: [text, text].", field="history")
        for role, text in zip(("user", "assistant"), texts, strict=True):
            messages.append({"role": role, "content": check_text(text, where, "history")})
    return messages


def _fits(table: Table) -> bool:
    return not any(
        isinstance(value, (list, tuple, dict))
        for column in ("instruction", "output", *({"input"} & set(table.columns)))
        for value in sample_of(table, column)
        if not is_empty(value)
    )


ALPACA = Form(
    name="Alpaca",
    format="chat",
    needs=frozenset({"instruction", "output"}),
    reads=frozenset({"input", "system", "history", *TOOL_COLUMNS}),
    fits=_fits,
    make=_maker,
    call='as_chat(prompt="{instruction}", completion="{output}")',
)
