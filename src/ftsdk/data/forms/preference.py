"""Pairs of a better and a worse answer: TRL's, OpenAI's and LLaMA-Factory's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ftsdk.data.canonical import Row, RowMaker, opening_of, pair_maker, pair_row, with_tools
from ftsdk.data.conversation import read_messages
from ftsdk.data.forms.form import Form, holds_messages, is_empty, sample_of
from ftsdk.data.location import Location
from ftsdk.data.table import Table
from ftsdk.data.tool_calls import TOOL_COLUMNS, check_calls, read_tool_columns

__all__ = ["ANSWER_PAIRS", "IMPLICIT_PREFERENCE", "OPENAI_PREFERENCE", "PREFERENCE", "SHAREGPT_PREFERENCE"]

_PAIR = frozenset({"chosen", "rejected"})


def _explicit_maker(table: Table, source: str | None) -> RowMaker:
    # A system column may have gaps; a template with gaps would be refused.
    return pair_maker(
        table, source, prompt="{prompt}", chosen="{chosen}", rejected="{rejected}", system=None, system_column=True
    )


def _implicit_maker(table: Table, source: str | None) -> RowMaker:
    return pair_maker(
        table, source, prompt=None, chosen="{chosen}", rejected="{rejected}", system=None, system_column=True
    )


def _holds_conversations(table: Table) -> bool:
    return all(holds_messages(sample_of(table, column)) for column in sorted(_PAIR))


def _openai_maker(table: Table, source: str | None) -> RowMaker:
    del table, source
    return RowMaker(_openai_row)


def _openai_row(row: Mapping[str, Any], where: Location) -> Row:
    given: object = row.get("input")
    if not isinstance(given, Mapping):
        raise where.error('must be {"messages": [...]}.', field="input")
    asked = cast("Mapping[str, Any]", given)
    for key, value in asked.items():
        if key not in ("messages", *TOOL_COLUMNS) and not is_empty(value):
            raise where.error(
                f"has {key!r}, which can't be trained on yet, and to drop it would train something else.",
                field="input",
                hint=f"Remove {key!r} from it.",
            )
    answers = {
        "chosen": read_messages(row.get("preferred_output"), where, "preferred_output"),
        "rejected": read_messages(row.get("non_preferred_output"), where, "non_preferred_output"),
    }
    made = pair_row(read_messages(asked.get("messages"), where, "input"), answers, [], where)
    beside = read_tool_columns(asked, where)
    for side, messages in made.items():
        check_calls({"messages": messages, **beside}, where, side)
    return {**made, **beside}


def _sharegpt_maker(table: Table, source: str | None) -> RowMaker:
    del source
    return with_tools(RowMaker(_sharegpt_row), table)


def _sharegpt_row(row: Mapping[str, Any], where: Location) -> Row:
    asked = read_messages(row.get("conversations"), where, "conversations")
    answers = {
        name: read_messages(value if isinstance(value := row.get(name), list) else [value], where, name)
        for name in sorted(_PAIR)
    }
    return pair_row(asked, answers, opening_of(row, where, None, from_column=True), where)


def _holds_answers(table: Table) -> bool:
    """Return whether `chosen` and `rejected` are single messages beside a conversation."""
    answers = [value for column in sorted(_PAIR) for value in sample_of(table, column)]
    return holds_messages(sample_of(table, "conversations")) and holds_messages(
        [value if isinstance(value, list) else [value] for value in answers]
    )


PREFERENCE = Form(
    name="preference",
    format="preference",
    needs=_PAIR | {"prompt"},
    reads=frozenset({"system", *TOOL_COLUMNS}),
    fits=lambda table: bool(table.columns),
    make=_explicit_maker,
    call='as_preference(prompt="{prompt}")',
)
IMPLICIT_PREFERENCE = Form(
    name="preference with the prompt in both answers",
    format="preference",
    needs=_PAIR,
    reads=frozenset({"system", *TOOL_COLUMNS}),
    fits=_holds_conversations,
    make=_implicit_maker,
    call="as_preference()",
)
ANSWER_PAIRS = Form(
    name="pairs of answers",
    format=None,
    needs=_PAIR,
    fits=lambda table: not _holds_conversations(table),
    call='as_preference(prompt="...")',
)
SHAREGPT_PREFERENCE = Form(
    name="ShareGPT preference",
    format="preference",
    needs=_PAIR | {"conversations"},
    reads=frozenset({"system", *TOOL_COLUMNS}),
    fits=_holds_answers,
    make=_sharegpt_maker,
    call="as_preference()",
)
OPENAI_PREFERENCE = Form(
    name="OpenAI preference",
    format="preference",
    needs=frozenset({"input", "preferred_output", "non_preferred_output"}),
    fits=lambda table: any(isinstance(value, Mapping) for value in sample_of(table, "input")),
    make=_openai_maker,
    call='map(lambda row: {"prompt": row["input"]["messages"], "chosen": row["preferred_output"], '
    '"rejected": row["non_preferred_output"]})',
)
