"""KTO's single answers, each marked as good or bad."""

from __future__ import annotations

from ftsdk.data.answer_labels import is_label, labelled
from ftsdk.data.canonical import RowMaker, messages_maker, with_tools
from ftsdk.data.forms.form import Form, holds_messages, sample_of
from ftsdk.data.forms.prompt_completion import prompt_completion_maker
from ftsdk.data.table import Table
from ftsdk.data.tool_calls import TOOL_COLUMNS

__all__ = ["KTO", "LABELLED_CHAT"]


def _fits(table: Table) -> bool:
    """Return whether every label says yes or no."""
    found = [value for value in table.column("label") if value is not None]
    return bool(found) and all(map(is_label, found))


def _holds_labelled_conversations(table: Table) -> bool:
    """Return whether conversations are marked by true and false, and some are bad: 0 and 1 may be classes."""
    found = [value for value in table.column("label") if value is not None]
    return (
        all(isinstance(value, bool) for value in found)
        and False in found
        and holds_messages(sample_of(table, "messages"))
    )


def _maker(table: Table, source: str | None) -> RowMaker:
    return labelled(prompt_completion_maker(table, source), "label")


def _chat_maker(table: Table, source: str | None) -> RowMaker:
    del source
    return labelled(with_tools(messages_maker("messages", None), table), "label")


KTO = Form(
    name="KTO",
    format="unpaired",
    needs=frozenset({"prompt", "completion", "label"}),
    reads=frozenset({"system", *TOOL_COLUMNS}),
    fits=_fits,
    make=_maker,
    call='as_unpaired(prompt="{prompt}", completion="{completion}")',
)
LABELLED_CHAT = Form(
    name="conversations with a label",
    format="unpaired",
    needs=frozenset({"messages", "label"}),
    reads=frozenset({"system", *TOOL_COLUMNS}),
    fits=_holds_labelled_conversations,
    make=_chat_maker,
    call='as_unpaired(messages="messages")',
)
