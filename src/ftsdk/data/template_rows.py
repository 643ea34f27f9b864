"""Chat rows by templates for a whole batch at once, in Arrow, where every row of it can be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ftsdk.data.batches import Batch
from ftsdk.data.cells import is_plain
from ftsdk.data.message_rows import list_column
from ftsdk.data.template import Template

__all__ = ["ChatTemplates"]

_VISIBLE = "[!-~]"
"""A text with one of these isn't blank. Of the others Python decides."""


class ChatTemplates(NamedTuple):
    """What each message of a row is made by."""

    prompt: Template
    completion: Template
    system: Template | None
    system_column: bool
    """Whether a column `system` goes in front if there is no template for it."""

    def filled(self, batch: Batch) -> Batch | None:
        """Return the chat rows of a batch of a table; None unless all are made of plain text, and none is blank."""
        import numpy
        import pyarrow

        texts = [_filled(template, batch) for template in (self.system, self.prompt, self.completion) if template]
        roles = ["system", "user", "assistant"][-len(texts) :]
        if self.system is None and self.system_column and "system" in (*batch.arrow.schema.names, *batch.objects):
            given = _column("system", batch)
            if given is None or not _are_visible([given]):
                return None
            texts, roles = [given, *texts], ["system", *roles]
        if any(text is None for text in texts) or (not self.prompt.fields and not self.prompt.text.strip()):
            return None
        order = numpy.arange(len(texts) * batch.rows).reshape(len(texts), batch.rows).T.ravel()
        messages = list_column(
            numpy.arange(batch.rows + 1) * len(texts),
            pyarrow.array(roles, pyarrow.string()).take(pyarrow.array(order // batch.rows)),
            pyarrow.concat_arrays(texts).take(pyarrow.array(order)),
        )
        return Batch(batch.rows, pyarrow.RecordBatch.from_arrays([messages], ["messages"]))


def _filled(template: Template, batch: Batch) -> Any | None:
    """Return the text of each row as a `pyarrow.LargeStringArray`; None if Python must look at them one by one."""
    import pyarrow
    import pyarrow.compute as compute

    try:
        literals = [pyarrow.scalar(text, pyarrow.large_string()) for text in template.literals]
    except UnicodeEncodeError:  # half a surrogate pair
        return None
    columns = [_column(name, batch) for name in template.fields]
    if any(column is None for column in columns) or (columns and not _are_visible(columns)):
        return None
    if not columns:
        return pyarrow.array([template.literals[0]] * batch.rows, pyarrow.large_string())
    if template.only_field is not None:
        return columns[0]
    pieces = [literals[0]]
    for column, literal in zip(columns, literals[1:], strict=True):
        pieces += [column, literal]
    empty = pyarrow.scalar("", pyarrow.large_string())
    return compute.call_function("binary_join_element_wise", [*pieces, empty])


def _column(name: str, batch: Batch) -> Any | None:
    """Return a column if its cells are plain text."""
    if name not in batch.arrow.schema.names:
        return None
    cells = batch.arrow.column(name)
    return cells if cells.type == "large_string" and is_plain(cells) else None


def _are_visible(columns: Sequence[Any]) -> bool:
    """Return whether no row is blank in all of the columns."""
    import numpy
    import pyarrow.compute as compute

    options = compute.MatchSubstringOptions(_VISIBLE)
    found = [compute.call_function("match_substring_regex", [column], options) for column in columns]
    is_visible = numpy.logical_or.reduce([one.to_numpy(zero_copy_only=False) for one in found])
    others = numpy.flatnonzero(~is_visible).tolist()
    return all(any(column[row].as_py().strip() for column in columns) for row in others)
