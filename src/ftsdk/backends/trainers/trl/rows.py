"""The run's rows as tensors: rendered and counted once, and never changed by TRL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ftsdk.backends.trainers.trl.methods import load_method
from ftsdk.data import RenderReport, read_stored_rows, render_dataset
from ftsdk.spec import Method

__all__ = ["PadToLongest", "Rows", "read_rows"]

IGNORED = -100
"""The label that PyTorch's cross-entropy leaves out."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rendered rows as columns of token ids and labels, and what was counted while rendering."""

    columns: Mapping[str, list[Any]]
    report: RenderReport


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
) -> Rows:
    """Render a file of canonical rows.

    Args:
        path: As the store writes it.
        tokenizer: With its chat template.
        fingerprint: Of the rows.
        method: What is learned from the rows.
        max_length: The most tokens per row; None truncates nothing.
        max_truncated: Share of rows that may lose trained tokens.
        eos_token_ids: Tokens that end a turn.
        embedding_rows: How many token ids the model has; None: unknown.

    Returns:
        The columns that the method's trainer takes. Rows without a trained token are left out, and counted in the
        report.

    Raises:
        DatasetError: The file was altered, or too many rows lose trained tokens.
        ModelError: The template refuses a row, or a token has no row in the embedding.
    """
    rendered = render_dataset(
        read_stored_rows(path, fingerprint),
        tokenizer,
        train_on=method.rendered_train_on,
        max_length=max_length,
        eos_token_ids=eos_token_ids,
        embedding_rows=embedding_rows,
    )
    rendered.report.check(max_truncated)
    return Rows(columns=load_method(method.kind).columns(list(rendered.rows)), report=rendered.report)


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
