"""From the columns of a table to rows that can be trained on: the methods of `Dataset` that take templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk.data.answer_labels import labelled
from ftsdk.data.bad_rows import BadRows, OnBad
from ftsdk.data.canonical import chat_rows, preference_rows
from ftsdk.data.cleaning.methods import Cleaning
from ftsdk.data.steps import (
    ChatStep,
    PreferenceStep,
    Step,
    UnpairedStep,
)

if TYPE_CHECKING:
    from ftsdk.data.dataset import Dataset

__all__ = ["Shaping"]


class Shaping(Cleaning):
    """Rows that can be made of a table's columns; the public class is `Dataset`."""

    __slots__ = ()

    def as_chat(
        self,
        prompt: str | None = None,
        completion: str | None = None,
        system: str | None = None,
        messages: str | None = None,
        on_bad: OnBad = "raise",
    ) -> Dataset:
        """Make conversations.

        Args:
            prompt: A template for what the user says, with `{column}` fields; `{{` and `}}` are single braces.
            completion: A template for what the assistant answers.
            system: A template for a system message in front.
            messages: Instead of `prompt` and `completion`: the column that holds lists of `{"role", "content"}`
                messages (or ShareGPT's `{"from", "value"}`). A column `system` beside it goes in front, unless `system`
                is given.
            on_bad: `"raise"` lists rows that can't be used in one error; `"drop"` leaves them out and keeps them in
                `dropped`.

        Raises:
            DatasetError: A template names no such column, a value is missing, a completion is empty, the roles of a
                conversation are out of order, or something that can't be trained on would be dropped; names up to ten
                rows by line and field.
        """
        self._check_reshapable("as_chat")
        bad = BadRows(on_bad)
        source = self._source.location
        table, rows = chat_rows(
            self._table, source, bad, prompt=prompt, completion=completion, system=system, messages=messages
        )
        step = ChatStep.of(prompt=prompt, completion=completion, system=system, messages=messages, on_bad=on_bad)
        return self._derived(table, rows, Step(chat=step), format="chat", dropped=bad.dropped)

    def as_preference(
        self,
        prompt: str | None = None,
        chosen: str = "{chosen}",
        rejected: str = "{rejected}",
        system: str | None = None,
        on_bad: OnBad = "raise",
    ) -> Dataset:
        """Make pairs of a better and a worse answer.

        Args:
            prompt: A template, or a column of messages. None: the conversation with which `chosen` and `rejected` both
                begin.
            chosen: The better answer: a template, or a column of messages.
            rejected: The worse answer.
            system: A template for a system message in front.
            on_bad: As for `as_chat`.

        Raises:
            DatasetError: As for `as_chat`, or the two answers of a row are the same.
        """
        self._check_reshapable("as_preference")
        bad = BadRows(on_bad)
        table, rows = preference_rows(
            self._table, self._source.location, bad, prompt=prompt, chosen=chosen, rejected=rejected, system=system
        )
        step = PreferenceStep.of(prompt=prompt, chosen=chosen, rejected=rejected, system=system, on_bad=on_bad)
        return self._derived(table, rows, Step(preference=step), format="preference", dropped=bad.dropped)

    def as_unpaired(
        self,
        prompt: str | None = None,
        completion: str | None = None,
        label: str = "label",
        system: str | None = None,
        messages: str | None = None,
        on_bad: OnBad = "raise",
    ) -> Dataset:
        """Make single answers that are marked as good or bad.

        Args:
            prompt: As for `as_chat`.
            completion: As for `as_chat`.
            label: The column that says whether the answer is good: true or false, 1 or 0, as text too.
            system: As for `as_chat`.
            messages: As for `as_chat`; the label is that of the last answer.
            on_bad: As for `as_chat`.

        Raises:
            DatasetError: As for `as_chat`, or a label says neither yes nor no.
        """
        self._check_reshapable("as_unpaired")
        self.column(label)
        bad = BadRows(on_bad)
        table, rows = chat_rows(
            self._table,
            self._source.location,
            bad,
            prompt=prompt,
            completion=completion,
            system=system,
            messages=messages,
            finish=lambda maker: labelled(maker, label),
            reads=frozenset({label}),
        )
        step = UnpairedStep.of(
            prompt=prompt, completion=completion, label=label, system=system, messages=messages, on_bad=on_bad
        )
        return self._derived(table, rows, Step(unpaired=step), format="unpaired", dropped=bad.dropped)
