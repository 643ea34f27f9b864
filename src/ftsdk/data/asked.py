"""What rows ask and answer, as texts and as hashes, a batch at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from ftsdk.data.batches import Batch
from ftsdk.data.folded_hashes import folded_hashes
from ftsdk.data.labels import MOST_SPELLINGS
from ftsdk.data.message_columns import Messages, has_plain_messages, messages_of
from ftsdk.data.message_rows import message_lists
from ftsdk.data.row_keys import answer_text, loose_prompt_hash, prompt_text
from ftsdk.data.row_sequence import RowSequence
from ftsdk.data.text_column import TextColumn, text_array, text_buffers

__all__ = ["answers_of", "asked_again", "labels_of", "loose_prompt_hashes", "prompts_of", "wholes_of"]

Format = Literal["table", "chat", "preference", "unpaired"]
_END = b"\xff"
"""After the prompt of a row: UTF-8 has no such byte."""


def prompts_of(rows: RowSequence, format: Format) -> TextColumn:  # noqa: A002
    """Return the prompt of each row, as `prompt_text` does.

    Raises:
        OSError: The rows are a table, and the disk is full.
    """
    if format == "table":
        return TextColumn(prompt_text(row, format) for row in rows)
    return TextColumn.made_of(rows, lambda batch: _prompts(batch, format))


def answers_of(rows: RowSequence, format: Format) -> TextColumn:  # noqa: A002
    """Return the answer of each chat or preference row, as `answer_text` does."""
    return TextColumn.made_of(rows, lambda batch: _answers(batch, format))


def wholes_of(rows: RowSequence, format: Format) -> TextColumn:  # noqa: A002
    """Return prompt and answer of each chat or preference row as one text, a line each."""
    import pyarrow
    import pyarrow.compute as compute

    def whole(batch: Batch) -> Any:
        parts = [_prompts(batch, format), _answers(batch, format), pyarrow.scalar("\n", pyarrow.large_string())]
        return compute.call_function("binary_join_element_wise", parts)

    return TextColumn.made_of(rows, whole)


def _answers(batch: Batch, format: Format) -> Any:  # noqa: A002
    import pyarrow

    if not has_plain_messages(batch):
        return text_array(list(map(answer_text, RowSequence([batch], message_lists))))
    said = messages_of(batch.arrow.column("chosen" if format == "preference" else "messages"))
    return said.contents.take(pyarrow.array(said.last))


def _prompts(batch: Batch, format: Format) -> Any:  # noqa: A002
    import numpy
    import pyarrow
    import pyarrow.compute as compute

    if not has_plain_messages(batch):
        return text_array([prompt_text(row, format) for row in RowSequence([batch], message_lists)])
    asked = _asked(batch, format)
    if (asked.counts == 1).all():
        return asked.contents
    ends = pyarrow.array(numpy.concatenate([[0], numpy.cumsum(asked.counts)]), pyarrow.int32())
    lists = pyarrow.ListArray.from_arrays(ends, asked.contents)
    return compute.call_function("binary_join", [lists, pyarrow.scalar("\n", pyarrow.large_string())])


def _asked(batch: Batch, format: Format) -> Messages:  # noqa: A002
    import numpy
    import pyarrow

    if format == "preference":
        return messages_of(batch.arrow.column("prompt"))
    said = messages_of(batch.arrow.column("messages"))
    is_asked = numpy.ones(len(said.contents), dtype=bool)
    is_asked[said.last] = False
    chosen = pyarrow.array(numpy.flatnonzero(is_asked))
    return Messages(said.counts - 1, said.roles.take(chosen), said.contents.take(chosen))


def labels_of(rows: RowSequence) -> Counter[str]:
    """Count the answers of chat rows; empty if there are so many different ones that they can't be labels."""
    import pyarrow.compute as compute

    counts: Counter[str] = Counter()
    for batch in rows.batches():
        found = compute.call_function("value_counts", [_answers(batch, "chat")])
        for text, count in zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True):
            counts[text] += count
        if len(counts) > MOST_SPELLINGS:
            return Counter()
    return counts


def loose_prompt_hashes(rows: RowSequence, format: Format) -> Any:  # noqa: A002
    """Return the `loose_prompt_hash` of each row, a NumPy array of uint64."""
    import numpy

    found = [numpy.empty(0, dtype=numpy.uint64)]
    if format == "table":
        hashes = [loose_prompt_hash(row, format) for row in rows]
        return numpy.asarray(hashes, dtype=numpy.uint64)
    for batch in rows.batches():
        asked = _asked(batch, format) if has_plain_messages(batch) else None
        if asked is None or (asked.counts == 0).any():
            found.append(_one_by_one(RowSequence([batch], message_lists), format))
            continue
        hashes, offsets, content = _ascii_hashes(asked), *text_buffers(asked.contents)
        # The case of other letters is Python's business.
        message = numpy.unique(numpy.searchsorted(offsets, numpy.flatnonzero(content >= 0x80), side="right") - 1)
        if len(message):
            others = numpy.unique(numpy.searchsorted(asked.last, message))
            hashes[others] = _one_by_one(RowSequence([batch], message_lists).at(others), format)
        found.append(hashes)
    return numpy.concatenate(found)


def asked_again(rows: RowSequence, format: Format, hashes: Callable[[], Any]) -> Any | None:  # noqa: A002
    """Return where the prompts of rows are that may occur twice, and perhaps others: as `maybe_repeated` does.

    Args:
        rows: Chat or preference rows.
        format: What they are.
        hashes: Returns their `loose_prompt_hashes`.

    Returns:
        A NumPy array of positions; None: some prompts aren't one message of one role, so that their hashes hold more
        than their texts.
    """
    import numpy
    import pyarrow.compute as compute

    is_ascii = [numpy.empty(0, dtype=bool)]
    roles: set[str] = set()
    for batch in rows.batches():
        if not has_plain_messages(batch):
            return None
        asked = _asked(batch, format)
        roles.update(compute.call_function("unique", [asked.roles]).to_pylist())
        if len(roles) > 1 or (asked.counts != 1).any():
            return None
        is_ascii.append(compute.call_function("string_is_ascii", [asked.contents]).to_numpy(zero_copy_only=False))
    _, number, counts = numpy.unique(hashes(), return_inverse=True, return_counts=True)
    return numpy.flatnonzero((counts[number] > 1) | ~numpy.concatenate(is_ascii))


def _one_by_one(rows: RowSequence, format: Format) -> Any:  # noqa: A002
    import numpy

    return numpy.fromiter((loose_prompt_hash(row, format) for row in rows), dtype=numpy.uint64, count=len(rows))


def _ascii_hashes(asked: Messages) -> Any:
    """Return the hashes of the prompts that are ASCII; those of the others mean nothing."""
    import numpy
    import pyarrow as pa
    import pyarrow.compute as compute

    kind = pa.large_binary()
    is_last = numpy.zeros(len(asked.contents), dtype=numpy.int64)
    is_last[asked.last] = 1
    ends = pa.array([b"\0", _END], kind).take(pa.array(is_last))
    roles = asked.roles.cast(pa.large_string()).cast(kind)
    parts = [roles, pa.scalar(b"\0", kind), asked.contents.cast(kind), ends, pa.scalar(b"", kind)]
    joined = text_buffers(compute.call_function("binary_join_element_wise", parts))[1].tobytes()
    return folded_hashes(joined, _END)
