"""From the rows of a table to canonical rows, chat or preference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, cast

from ftsdk.data.bad_rows import BadRows
from ftsdk.data.batches import Batch, BatchWriter
from ftsdk.data.conversation import Message, check_conversation, check_text, read_messages
from ftsdk.data.location import Location
from ftsdk.data.message_rows import Row, message_batch, message_lists
from ftsdk.data.row_sequence import RowSequence
from ftsdk.data.table import Table, room_on_disk
from ftsdk.data.template import Template
from ftsdk.data.template_rows import ChatTemplates
from ftsdk.errors import DatasetError
from ftsdk.spec.base import nearest

__all__ = ["Row", "chat_rows", "detect_format", "preference_rows", "ready_rows"]

_MEANINGFUL_COLUMNS = frozenset(
    {
        "tools",
        "functions",
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


def detect_format(table: Table) -> Literal["table", "chat", "preference"]:
    """Return what rows are by their columns.

    `prompt` and `completion` beside others count only if every value is text or a list.
    """
    columns = set(table.columns)
    if columns >= {"prompt", "chosen", "rejected"}:
        return "preference"
    if "messages" in columns:
        return "chat"
    if columns >= {"prompt", "completion"}:
        if columns <= {"prompt", "completion", "system"}:
            return "chat"
        values = (value for name in ("prompt", "completion") for value in table.column(name))
        return (
            "chat"
            if all(value.strip() if isinstance(value, str) else isinstance(value, (list, tuple)) for value in values)
            else "table"
        )
    return "table"


Built = tuple[Table, RowSequence]
"""The rows of the table that could be used, and what was made of each."""


def ready_rows(table: Table, format: Literal["chat", "preference"], source: str | None, bad: BadRows) -> Built:  # noqa: A002
    """Return ready-made rows in canonical form.

    Raises:
        DatasetError: A row can't be trained on; names line and field.
    """
    refuse = _refuses_columns(table)
    if format == "preference":
        # A system column may have gaps; a template with gaps would be refused.
        make = _pair_maker(
            table, source, prompt="{prompt}", chosen="{chosen}", rejected="{rejected}", system=None, system_column=True
        )
    elif "messages" in table.columns:
        make = _messages_maker("messages", None)
    elif any(isinstance(value, (list, tuple)) for value in table.column("prompt")):
        make = _joined
    else:
        made = _template_maker(
            table, source, prompt="{prompt}", completion="{completion}", system=None, system_column=True
        )
        return _built(table, source, bad, refuse, *made)
    return _built(table, source, bad, refuse, make)


def chat_rows(
    table: Table,
    source: str | None,
    bad: BadRows,
    *,
    prompt: str | None,
    completion: str | None,
    system: str | None,
    messages: str | None,
) -> Built:
    """Make chat rows by templates, or from a column of messages; see `Dataset.as_chat`."""
    if messages is not None:
        if prompt is not None or completion is not None:
            raise DatasetError(
                "messages= takes whole conversations, so prompt= and completion= can't go with it.", source=source
            )
        column = _column(messages, "messages", table, source)
        make = _messages_maker(column, _template(system, "system", table, source))
        return _built(table, source, bad, _refuses_columns(table), make)
    if prompt is None or completion is None:
        missing = "prompt" if prompt is None else "completion"
        raise DatasetError(
            f"as_chat needs {missing}=.",
            source=source,
            hint='Pass prompt="...{column}..." and completion="{column}", '
            'or messages="column" for whole conversations.',
        )
    made = _template_maker(table, source, prompt=prompt, completion=completion, system=system, system_column=False)
    return _built(table, source, bad, None, *made)


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
    make = _pair_maker(
        table, source, prompt=prompt, chosen=chosen, rejected=rejected, system=system, system_column=False
    )
    return _built(table, source, bad, None, make)


_Make = Callable[[Mapping[str, Any], Location], Row]
_MakeBatch = Callable[[Batch], Batch | None]


def _built(
    table: Table,
    source: str | None,
    bad: BadRows,
    refuse: Callable[[Mapping[str, Any], Location], None] | None,
    make: _Make,
    make_batch: _MakeBatch | None = None,
) -> Built:
    """Make rows, each by `make`, or a batch of them by `make_batch` where it can and nothing may be refused."""
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
                found = make(row, where)
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
            filled = make_batch(batch) if make_batch is not None and refuse is None else None
            if filled is not None:
                writer.add(filled)
                kept.append(numpy.arange(start, stop))
            elif rows := list(made(start, stop)):
                writer.add(message_batch(rows))
            start = stop
        rows = RowSequence(writer.finish(), message_lists)
    bad.finish(len(rows))
    return (table if len(rows) == len(table.rows) else table.at(numpy.concatenate(kept))), rows


def _template_maker(
    table: Table, source: str | None, *, prompt: str, completion: str, system: str | None, system_column: bool
) -> tuple[_Make, _MakeBatch]:
    asks, answers = _needed(prompt, "prompt", table, source), _needed(completion, "completion", table, source)
    if not answers.fields:
        raise DatasetError(
            f"completion={completion!r} has no {{column}}, so every row would have the same answer.", source=source
        )
    systems = _template(system, "system", table, source)

    def make(row: Mapping[str, Any], where: Location) -> Row:
        opening = _opening(row, where, systems, system_column)
        question = check_text(asks.render(row, where), where, "prompt")
        answer = check_text(answers.render(row, where), where, "completion")
        if not question.strip():
            raise where.error("the prompt is empty.", field="prompt")
        return {"messages": [*opening, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]}

    return make, ChatTemplates(asks, answers, systems, system_column).filled


def _pair_maker(
    table: Table,
    source: str | None,
    *,
    prompt: str | None,
    chosen: str,
    rejected: str,
    system: str | None,
    system_column: bool,
) -> _Make:
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
        opening = _opening(row, where, systems, system_column or is_talk)
        return _pair(asked, answers, opening, where)

    return make


def _pair(asked: list[Message], answers: dict[str, list[Message]], opening: list[Message], where: Location) -> Row:
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
        if not answer[0]["content"].strip():
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


def _messages_maker(column: str, systems: Template | None) -> _Make:
    def make(row: Mapping[str, Any], where: Location) -> Row:
        messages = read_messages(row.get(column), where, column)
        messages = _opened(_opening(row, where, systems, from_column=True), messages, where, column, "conversation")
        check_conversation(messages, where, column)
        return {"messages": messages}

    return make


def _joined(row: Mapping[str, Any], where: Location) -> Row:
    asked = read_messages(row.get("prompt"), where, "prompt")
    asked = _opened(_opening(row, where, None, from_column=True), asked, where, "system", "prompt")
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


def _refuses_columns(table: Table) -> Callable[[Mapping[str, Any], Location], None] | None:
    """Return what refuses rows with columns that say what is trained, or with what, and that would be dropped."""
    present = [column for column in table.columns if column in _MEANINGFUL_COLUMNS or column == "label"]
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


def _opening(row: Mapping[str, Any], where: Location, systems: Template | None, from_column: bool) -> list[Message]:
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
