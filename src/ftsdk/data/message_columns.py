"""The messages in a column of canonical rows, as Arrow arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

from ftsdk.data.batches import Batch

__all__ = ["Messages", "has_plain_messages", "messages_of"]


class Messages(NamedTuple):
    """The messages of some rows, one after the other."""

    counts: Any
    """NumPy array of integers: messages of each row."""
    roles: Any
    """`pyarrow.StringArray`."""
    contents: Any
    """`pyarrow.LargeStringArray`."""

    @property
    def last(self) -> Any:
        """Where the last message of each row is, a NumPy array. Each row must have one."""
        return self.counts.cumsum() - 1


def has_plain_messages(batch: Batch) -> bool:
    """Return whether messages have a role and a content alone, and rows nothing beside them: no tools, no calls."""
    import pyarrow

    columns = batch.arrow.columns
    return all(pyarrow.types.is_list(one.type) and one.type.value_type.num_fields == 2 for one in columns)


def messages_of(column: Any) -> Messages:
    """Return the messages in a column of lists of them, without a copy."""
    said = column.flatten()
    parts = said.flatten()
    roles, contents = (parts[said.type.get_field_index(name)] for name in ("role", "content"))
    return Messages(column.value_lengths().to_numpy(), roles, contents)
