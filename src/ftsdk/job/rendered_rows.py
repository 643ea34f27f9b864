"""The rows of a job, rendered before a run as its worker will: what that refuses, and how many sequences there are."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ftsdk.data import Dataset, RenderTrial, try_rows
from ftsdk.errors import DatasetError, ModelError
from ftsdk.protocol import Backend
from ftsdk.spec import DatasetRef, JobSpec

if TYPE_CHECKING:
    from ftsdk.data.token_guess import TokenGuesses

__all__ = ["RenderedRows", "count_sequences", "guesses_of", "render_rows_of", "renders_rows"]

_LOOKED_AT = 1000
"""Rows that are searched for conversations with several answers where none can be rendered."""


class RenderedRows(NamedTuple):
    """What rendering the rows of a job found."""

    spec: JobSpec
    """The job, with the training sequences of its rows where these are more than one each."""
    notes: tuple[str, ...]
    """What wasn't rendered."""


def renders_rows(backend: Backend) -> bool:
    """Return whether a backend trains on rows as ftsdk renders them."""
    return backend.capabilities.honours("max_truncated")


def render_rows_of(spec: JobSpec, train: Dataset, validation: Dataset | None) -> RenderedRows:
    """Render rows as training will, where the model's files are on this machine.

    Raises:
        ModelError: The template refuses a row, can't be masked, or takes too long or too much memory.
        DatasetError: Training would refuse the rows.
    """
    from ftsdk.models import inspect_model, max_length_of, tokenizer_files

    files = tokenizer_files(spec.model)
    if isinstance(files, str):
        more = (
            "; a conversation with several answers may become several training sequences, which isn't in the estimate"
            if spec.method.rendered_train_on == "assistant" and _has_several_answers(train)
            else ""
        )
        note = f"no row was checked against the chat template and max_length ({files}); the worker checks all{more}"
        return RenderedRows(spec, (note,))
    max_length = spec.max_length or max_length_of(spec.model, files)
    embedding_rows = inspect_model(spec.model).embedding_rows
    notes: list[str | None] = []
    refs: dict[str, DatasetRef] = {}
    for field, data, ref in (("train", train, spec.train), ("validation", validation, spec.validation)):
        if data is None or ref is None:
            continue
        tried = try_rows(
            RenderTrial(
                fingerprint=ref.fingerprint,
                rows=data.rows,
                tokenizer=files,
                train_on=spec.method.rendered_train_on,
                max_length=max_length,
                embedding_rows=embedding_rows,
                max_truncated=spec.max_truncated,
            )
        )
        notes.append(tried.note)
        if tried.sequences is not None:
            counted = ref.replace(sequences=tried.sequences)
            refs[field] = counted.replace(tokens=guesses_of(data, counted).total_and_longest()[0])
    return RenderedRows(spec.replace(**refs) if refs else spec, tuple(dict.fromkeys(n for n in notes if n is not None)))


def count_sequences(spec: JobSpec, train: Dataset, validation: Dataset | None) -> JobSpec:
    """Return the job with its training sequences, as they are without a plan: rows that are refused aren't counted."""
    try:
        return render_rows_of(spec, train, validation).spec
    except (ModelError, DatasetError):
        return spec


def guesses_of(data: Dataset, ref: DatasetRef) -> TokenGuesses:
    """Guess the tokens of the training sequences that rows become."""
    if ref.sequences is None:
        return data.token_guesses
    from ftsdk.data.token_guess import guess_turns

    return guess_turns(data.rows, sequences=ref.sequences)


def _has_several_answers(data: Dataset) -> bool:
    return data.format == "chat" and any(
        sum(message["role"] == "assistant" for message in row["messages"]) > 1 for row in islice(data.rows, _LOOKED_AT)
    )
