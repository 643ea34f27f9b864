"""From the rows of a table to canonical rows, chat or preference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from ftsdk.data.bad_rows import BadRows
from ftsdk.data.batches import Batch, BatchWriter
from ftsdk.data.conversation import Message, check_conversation, check_text, read_messages
from ftsdk.data.location import Location
from ftsdk.data.message_rows import Row, message_batch, message_lists
from ftsdk.data.row_sequence import RowSequence
from ftsdk.data.table import Table, room_on_disk
from ftsdk.data.template import Template
from ftsdk.data.template_rows import ChatTemplates
from ftsdk.data.tool_calls import TOOL_COLUMNS, check_calls, read_tool_columns
from ftsdk.errors import DatasetError
from ftsdk.spec.base import nearest

__all__ = [
    "Make",
    "Row",
    "RowMaker",
    "chat_rows",
    "joined_row",
    "messages_maker",
    "opening_of",
    "pair_maker",
    "pair_row",
    "preference_rows",
    "ready_rows",
    "template_maker",
    "with_tools",
]

_MEANINGFUL_COLUMNS = frozenset(
    {
        "function_call",
        "tool_choice",
        "chat_template_kwargs",
        "images",
        "image",
        "videos",
        "video",
        "audios",
        "audio",
    }
)
"""Columns beside ready-made rows and conversations that change what the model reads or writes."""


Built = tuple[Table, RowSequence]
"""The rows of the table that could be used, and what was made of each."""
Make = Callable[[Mapping[str, Any], Location], Row]
"""Makes a canonical row of a row of a table."""


class RowMaker(NamedTuple):
    """What makes canonical rows of those of a table."""

    row: Make
    batch: Callable[[Batch], Batch | None] | None = None
    """Makes the rows of a whole batch, faster; None, or a call that returns None: row by row."""


def ready_rows(
    table: Table, maker: RowMaker, source: str | None, bad: BadRows, *, reads: frozenset[str] = frozenset()
) -> Built:
    """Return rows that need no template in canonical form.

    Args:
        table: The rows.
        maker: What makes canonical rows of them.
        source: The file or hub id, for errors.
        bad: Where rows go that can't be used.
        reads: Columns that the maker reads.

    Raises:
        DatasetError: A row can't be trained on; names line and field.
    """
    return _built(table, source, bad, _refuses_columns(table, reads), maker)


def chat_rows(
    table: Table,
    source: str | None,
    bad: BadRows,
    *,
    prompt: str | None,
    completion: str | None,
    system: str | None,
    messages: str | None,
    finish: Callable[[RowMaker], RowMaker] | None = None,
    reads: frozenset[str] = frozenset(),
) -> Built:
    """Make chat rows by templates, or from a column of messages; see `Dataset.as_chat`.

    `finish` adds to each row what is read from the columns in `reads`.
    """
    if messages is not None:
        if prompt is not None or completion is not None:
            raise DatasetError(
                "messages= takes whole conversations, so prompt= and completion= can't go with it.", source=source
            )
        column = _column(messages, "messages", table, source)
        maker = messages_maker(column, _template(system, "system", table, source))
        maker = with_tools(maker, table)
        return _built(table, source, bad, _refuses_columns(table, reads), finish(maker) if finish else maker)
    if prompt is None or completion is None:
        missing = "prompt" if prompt is None else "completion"
        raise DatasetError(
            f"as_chat needs {missing}=.",
            source=source,
            hint='Pass prompt="...{column}..." and completion="{column}", '
            'or messages="column" for whole conversations.',
        )
    maker = template_maker(table, source, prompt=prompt, completion=completion, system=system, system_column=False)
    return _built(table, source, bad, None, finish(maker) if finish else maker)


def preference_rows(
    table: Table,
    source: str | None,
    bad: BadRows,
    *,
    prompt: str | None,
    chosen: str,
    rejected: str,
    system: str | None,
) -> Built:
    """Make preference rows by templates, or from columns of messages; see `Dataset.as_preference`."""
    maker = pair_maker(
        table, source, prompt=prompt, chosen=chosen, rejected=rejected, system=system, system_column=False
    )
    return _built(table, source, bad, None, maker)


def with_tools(maker: RowMaker, table: Table) -> RowMaker:
    """Return a maker of rows that also keeps the tools beside a conversation, and holds its calls against them."""
    if not any(column in TOOL_COLUMNS for column in table.columns):
        return maker

    def make_with_tools(row: Mapping[str, Any], where: Location) -> Row:
        made, beside = maker.row(row, where), read_tool_columns(row, where)
        for side, messages in made.items():
            check_calls({"messages": messages, **beside}, where, side)
        return {**made, **beside}

    return RowMaker(make_with_tools)


def _built(
    table: Table,
    source: str | None,
    bad: BadRows,
    refuse: Callable[[Mapping[str, Any], Location], None] | None,
    maker: RowMaker,
) -> Built:
    """Make rows, a batch at a time where that is possible and no column may refuse a row."""
    import numpy

    kept: list[Any] = []
    writer = BatchWriter()

    def made(start: int, stop: int) -> Iterator[Row]:
        positions = numpy.arange(start, stop)
        is_kept = numpy.zeros(stop - start, dtype=bool)
        for number, (row, where) in enumerate(table.at(positions).located(source)):
            try:
                if refuse is not None:
                    refuse(row, where)
                found = maker.row(row, where)
            except DatasetError as error:
                bad.add(error, row)
            else:
                is_kept[number] = True
                yield found
        kept.append(positions[is_kept])

    start = 0
    with room_on_disk(source):
        for batch in table.rows.batches():
            stop = start + batch.rows
            filled = maker.batch(batch) if maker.batch is not None and refuse is None else None
            if filled is not None:
                writer.add(filled)
                kept.append(numpy.arange(start, stop))
            elif rows := list(made(start, stop)):
                writer.add(message_batch(rows))
            start = stop
        rows = RowSequence(writer.finish(), message_lists)
    bad.finish(len(rows))
    return (table if len(rows) == len(table.rows) else table.at(numpy.concatenate(kept))), rows


def template_maker(
    table: Table, source: str | None, *, prompt: str, completion: str, system: str | None, system_column: bool
) -> RowMaker:
    """Return what makes conversations by templates, a row or a batch at a time; arguments as for `Dataset.as_chat`.

    Args:
        table: The table, for its columns.
        source: The file or hub id, for errors.
        prompt: A template.
        completion: A template.
        system: A template; None: none.
        system_column: Whether a column `system` goes in front, which may have gaps.
    """
    asks, answers = _needed(prompt, "prompt", table, source), _needed(completion, "completion", table, source)
    if not answers.fields:
        raise DatasetError(
            f"completion={completion!r} has no {{column}}, so every row would have the same answer.", source=source
        )
    systems = _template(system, "system", table, source)

    def make(row: Mapping[str, Any], where: Location) -> Row:
        opening = opening_of(row, where, systems, system_column)
        question = check_text(asks.render(row, where), where, "prompt")
        answer = check_text(answers.render(row, where), where, "completion")
        if not question.strip():
            raise where.error("the prompt is empty.", field="prompt")
        return {"messages": [*opening, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]}

    return RowMaker(make, ChatTemplates(asks, answers, systems, system_column).filled)


def pair_maker(
    table: Table,
    source: str | None,
    *,
    prompt: str | None,
    chosen: str,
    rejected: str,
    system: str | None,
    system_column: bool,
) -> RowMaker:
    """Return what makes preference rows; arguments as for `Dataset.as_preference` and `template_maker`."""
    systems = _template(system, "system", table, source)
    read = {
        name: _Side(text, name, table, source)
        for name, text in (("prompt", prompt), ("chosen", chosen), ("rejected", rejected))
        if text is not None
    }
    # Whole conversations: what stands beside them belongs to them.
    is_talk = any(side.is_messages for side in read.values())
    refuse = _refuses_columns(table) if is_talk else None

    def make(row: Mapping[str, Any], where: Location) -> Row:
        if refuse is not None:
            refuse(row, where)
        answers = {name: read[name].messages(row, where, role="assistant") for name in ("chosen", "rejected")}
        if prompt is None:
            asked = answers["chosen"][:-1]
            if not asked or asked != answers["rejected"][:-1]:
                raise where.error(
                    "chosen and rejected don't begin with the same conversation, so prompt= must say what they answer.",
                    field="chosen",
                )
        else:
            asked = read["prompt"].messages(row, where, role="user")
        opening = opening_of(row, where, systems, system_column or is_talk)
        return pair_row(asked, answers, opening, where)

    return with_tools(RowMaker(make), table) if is_talk or system_column else RowMaker(make)


def pair_row(asked: list[Message], answers: dict[str, list[Message]], opening: list[Message], where: Location) -> Row:
    """Return a preference row.

    Args:
        asked: The prompt.
        answers: `chosen` and `rejected`, each with or without the prompt in front.
        opening: A system message in front of the prompt, or nothing.
        where: The row, for errors.

    Raises:
        DatasetError: An answer is empty, isn't one answer, or is the same as the other.
    """
    for name, answer in answers.items():
        # Many public sets repeat the prompt in both answers.
        if len(answer) > 1 and answer[:-1] == asked:
            answers[name] = answer[-1:]
        elif len(answer) > 1:
            raise where.error("must be one answer, or the prompt and one answer.", field=name)
    asked = _opened(opening, asked, where, "system", "prompt")
    check_conversation(asked, where, "prompt", ends_with="user")
    for name, answer in answers.items():
        if answer[0]["role"] != "assistant":
            raise where.error(f"must come from the assistant, not from {answer[0]['role']!r}.", field=name)
        if answer[0].get("weight") == 0:
            raise where.error("has the weight 0, and both answers of a pair are trained.", field=name)
        if not answer[0]["content"].strip() and "tool_calls" not in answer[0]:
            raise where.error("is empty.", field=name, hint="Fill it in, or remove the row.")
    if answers["chosen"] == answers["rejected"]:
        raise where.error(
            "chosen and rejected are the same, so there is nothing to prefer.",
            field="rejected",
            hint="Remove the row.",
        )
    return {"prompt": asked, **answers}


class _Side:
    """One of prompt, chosen and rejected: a template, or a column that holds messages in some of its rows."""

    def __init__(self, text: str, name: str, table: Table, source: str | None) -> None:
        self.name = name
        _check_is_text(text, name, source)
        template = None if text in table.columns else _needed(text, name, table, source)
        self.column = text if template is None else template.only_field
        holds_lists = self.column is not None and any(
            isinstance(value, (list, tuple)) for value in table.column(self.column)
        )
        if template is None and not holds_lists:
            _needed(text, name, table, source)  # a bare column name: refused, since a template was meant
        self.template = template
        self.is_messages = holds_lists

    def messages(self, row: Mapping[str, Any], where: Location, *, role: str) -> list[Message]:
        if self.column is not None and self.is_messages:
            value = row.get(self.column)
            if isinstance(value, str) and self.template is not None:
                return [{"role": role, "content": check_text(value, where, self.name)}]
            return read_messages(value, where, self.name)
        content = cast("Template", self.template).render(row, where)
        return [{"role": role, "content": check_text(content, where, self.name)}]


def messages_maker(column: str, systems: Template | None) -> RowMaker:
    """Return what reads conversations.

    Args:
        column: The column of lists of messages.
        systems: A system message in front of them; None takes that of a column `system`, if there is one.
    """

    def make(row: Mapping[str, Any], where: Location) -> Row:
        messages = read_messages(row.get(column), where, column)
        messages = _opened(opening_of(row, where, systems, from_column=True), messages, where, column, "conversation")
        check_conversation(messages, where, column)
        return {"messages": messages}

    return RowMaker(make)


def joined_row(row: Mapping[str, Any], where: Location) -> Row:
    """Return a conversation whose beginning is in `prompt` and whose answer is in `completion`, both messages."""
    asked = read_messages(row.get("prompt"), where, "prompt")
    asked = _opened(opening_of(row, where, None, from_column=True), asked, where, "system", "prompt")
    messages = asked + read_messages(row.get("completion"), where, "completion")
    check_conversation(messages, where, "completion")
    return {"messages": messages}


def _opened(opening: list[Message], messages: list[Message], where: Location, field: str, what: str) -> list[Message]:
    """Put a system message in front of a conversation; the same one twice is one."""
    if opening and messages[0]["role"] == "system":
        if opening == messages[:1]:
            return messages
        raise where.error(
            f"the {what} has a system message of its own, so system= or a column 'system' can't go with it.",
            field=field,
        )
    return [*opening, *messages]


def _refuses_columns(
    table: Table, reads: frozenset[str] = frozenset()
) -> Callable[[Mapping[str, Any], Location], None] | None:
    """Return what refuses rows with columns that say what is trained, or with what, and that would be dropped."""
    present = [name for name in table.columns if name in _MEANINGFUL_COLUMNS | {"label"} and name not in reads]
    if not present:
        return None

    def refuse(row: Mapping[str, Any], where: Location) -> None:
        for column in present:
            value = row.get(column)
            if column == "label":
                if value is False:
                    raise where.error(
                        "is false, which marks a bad answer; it would be trained as a good one.",
                        field=column,
                        hint="Remove such rows, or pair good and bad answers and call as_preference(...).",
                    )
            elif value is not None and not (isinstance(value, (str, list, tuple, dict)) and not value):
                raise where.error(
                    "can't be trained on yet, and to drop it would train something else.",
                    field=column,
                    hint="Remove the column.",
                )

    return refuse


def opening_of(row: Mapping[str, Any], where: Location, systems: Template | None, from_column: bool) -> list[Message]:
    """Return the system message of a row, by its template or its column `system`, as a list; empty without one."""
    if systems is not None:
        return [{"role": "system", "content": check_text(systems.render(row, where), where, "system")}]
    content = row.get("system") if from_column else None
    if content is None or content == "":
        return []
    if not isinstance(content, str):
        raise where.error(f"is a {type(content).__name__}, not text.", field="system")
    return [{"role": "system", "content": check_text(content, where, "system")}]


def _needed(text: str, parameter: str, table: Table, source: str | None) -> Template:
    _check_is_text(text, parameter, source)
    return Template(text, parameter=parameter, columns=table.columns, source=source)


def _template(text: str | None, parameter: str, table: Table, source: str | None) -> Template | None:
    return None if text is None else _needed(text, parameter, table, source)


def _check_is_text(text: object, parameter: str, source: str | None) -> None:
    if not isinstance(text, str):
        raise DatasetError(
            f"{parameter}={text!r} must be text, not {type(text).__name__}.",
            source=source,
            hint='Pass a template such as "{column}", or the name of a column.',
        )


def _column(text: str, parameter: str, table: Table, source: str | None) -> str:
    _check_is_text(text, parameter, source)
    name = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    if name not in table.columns:
        raise DatasetError(
            f"{parameter}= names the column {name!r}, which doesn't exist{nearest(name, list(table.columns))}",
            source=source,
        )
    return name
