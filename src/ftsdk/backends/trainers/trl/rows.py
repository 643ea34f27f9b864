"""The run's rows as tensors: rendered and counted once, kept in a file, and never changed by TRL."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset as HfDataset
from datasets.table import InMemoryTable

from ftsdk._files import make_folder
from ftsdk._home import home
from ftsdk.backends.trainers.trl.methods import load_method
from ftsdk.data import RenderReport, read_stored_rows
from ftsdk.data.render_report import RowFacts, summarise
from ftsdk.data.rendering import render_rows
from ftsdk.data.text_model import TextModel
from ftsdk.data.token_files import TokenColumn, keep_beside, open_token_file, token_key, write_token_file
from ftsdk.data.training_sequences import RenderedPair, RenderedRow, facts_of, trained_tokens
from ftsdk.errors import DatasetError
from ftsdk.runfolder import lock
from ftsdk.spec import Method

__all__ = ["PadToLongest", "Rows", "read_rows", "shared_tokens", "tokens_of"]

IGNORED = -100
"""The label that PyTorch's cross-entropy leaves out."""
_BATCH_ROWS = 1000
_EVERY_S = 5.0
_PATIENCE_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rendered rows as columns of token ids and labels, and what was counted while rendering."""

    dataset: HfDataset
    """Mapped into memory, not read."""
    report: RenderReport


def shared_tokens() -> Path:
    """Return the folder in which runs on this machine find rows that another run has tokenised."""
    return home() / "data" / "tokens"


def read_rows(
    path: Path,
    tokenizer: Any,
    *,
    fingerprint: str,
    method: Method,
    max_length: int | None,
    max_truncated: float,
    eos_token_ids: Sequence[int],
    embedding_rows: int | None = None,
    shared: Path | None = None,
    is_alone: bool = True,
    on_message: Callable[[str], object] = len,
) -> Rows:
    """Render a file of canonical rows, or map what an earlier run or attempt has made of them.

    The token ids are kept beside the file, under a name that depends on the rows, the tokenizer and its template, and
    all that decides how they are rendered.

    Args:
        path: As the store writes it.
        tokenizer: With its chat template.
        fingerprint: Of the rows.
        method: What is learned from the rows.
        max_length: The most tokens per row; None truncates nothing.
        max_truncated: Share of rows that may lose trained tokens.
        eos_token_ids: Tokens that end a turn.
        embedding_rows: How many token ids the model has; None: unknown.
        shared: The folder that other runs on this machine use, too; None: none.
        is_alone: False if other processes may read the same rows now: then one of them renders, and the others wait.
        on_message: Called with a sentence when rendering starts, every few seconds, and if it isn't needed.

    Returns:
        The columns that the method's trainer takes. Rows without a trained token are left out, and counted in the
        report.

    Raises:
        DatasetError: The file was altered, or too many rows lose trained tokens.
        ModelError: The template refuses a row, or a token has no row in the embedding.
        OSError: The disk is full.
    """
    model = TextModel(tokenizer, eos_token_ids=eos_token_ids, embedding_rows=embedding_rows)
    key = token_key(
        {
            "rows": fingerprint,
            "method": method.kind,
            "train_on": method.rendered_train_on,
            "max_length": max_length,
            "eos_token_ids": sorted(model.eos_token_ids),
            "embedding_rows": embedding_rows,
            "tokenizer": tokenizer.backend_tokenizer.to_str(),
            "template": tokenizer.chat_template,
            "special": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
            "versions": {name: version(name) for name in ("ftsdk", "tokenizers", "transformers")},
        }
    )
    folder = path.parent / "tokens"
    make_folder(folder)
    held = None if is_alone else lock.acquire(folder, name="tokens.lock", patience_s=_PATIENCE_S)
    try:
        found = open_token_file(folder, key, shared=shared)
        if found is not None:
            on_message(f"{found.report.rows:,} rows were tokenised before")
        else:
            rendering = _Rendering(read_stored_rows(path, fingerprint), model, method, max_length, on_message)
            checksum = write_token_file(folder, key, rendering.batches(max_truncated))
            keep_beside(folder, key, checksum=checksum, report=rendering.report())
            found = open_token_file(folder, key, shared=shared)
    finally:
        if held is not None:
            os.close(held)
    if found is None:
        raise DatasetError(
            "the tokenised rows can't be read back.",
            source=str(folder),
            hint="Another program may write to this folder; remove it, and resume the run.",
        )
    found.report.check(max_truncated)
    # Without a fingerprint of ours, `datasets` would read all rows for one.
    return Rows(dataset=HfDataset(InMemoryTable(found.table), fingerprint=key[:32]), report=found.report)


def tokens_of(dataset: Any, name: str) -> TokenColumn:
    """Return a column of token ids of a dataset, without reading it."""
    # Flattened only where rows were shuffled or left out, which copies them (`datasets` has no public way to ask).
    rows = dataset if dataset._indices is None else dataset.flatten_indices()
    return TokenColumn(rows.data.column(name))


class _Rendering:
    """Renders rows into the columns of a method, a thousand at a time, and counts them."""

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        model: TextModel,
        method: Method,
        max_length: int | None,
        on_message: Callable[[str], object],
    ) -> None:
        self._rows, self._model, self._method, self._max_length = rows, model, method, max_length
        self._on_message = on_message
        self._facts: list[RowFacts] = []

    def report(self) -> RenderReport:
        """Return what was counted."""
        return summarise(self._facts, max_length=self._max_length, has_template=self._model.has_template)

    def batches(self, max_truncated: float, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Any]:
        """Yield the columns of sequences with anything to learn.

        Raises:
            DatasetError: At the end, if too many rows lose trained tokens.
        """
        columns = load_method(self._method.kind).columns
        kept: list[RenderedRow | RenderedPair] = []
        total = len(self._rows)
        self._on_message(f"tokenising {total:,} rows")
        told = clock()
        train_on = self._method.rendered_train_on
        for row in render_rows(self._rows, self._model, train_on=train_on, max_length=self._max_length):
            self._facts.append(facts_of(row))
            kept += [sequence for sequence in row if trained_tokens(sequence)]
            if len(kept) >= _BATCH_ROWS:
                yield columns(kept)
                kept = []
                if clock() - told >= _EVERY_S:
                    told = clock()
                    self._on_message(f"tokenised {len(self._facts):,} of {total:,} rows")
        self.report().check(max_truncated)
        if kept:
            yield columns(kept)


class PadToLongest:
    """Make a batch of rows of token ids: padded on the right to the longest of them."""

    def __init__(self, pad_token_id: int) -> None:
        self._pad_token_id = pad_token_id

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `attention_mask` and `labels`, each of shape (rows, longest)."""
        longest = max(len(row["input_ids"]) for row in rows)

        def padded(name: str, filler: int) -> torch.Tensor:
            return torch.tensor([list(row[name]) + [filler] * (longest - len(row[name])) for row in rows])

        mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows])
        return {
            "input_ids": padded("input_ids", self._pad_token_id),
            "attention_mask": mask,
            "labels": padded("labels", IGNORED),
        }
