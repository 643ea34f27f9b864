"""Pairs of rendered answers for the trainers of TRL that have no reference model, and tokenise pairs themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft import get_peft_model
from transformers import set_seed

from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.rows import IGNORED

__all__ = ["PadPairs", "TakesRenderedPairs", "pair_columns", "pair_options", "with_adapter"]

Row = Mapping[str, Sequence[int]]


class TakesRenderedPairs:
    """A mixin for `ORPOTrainer` and `CPOTrainer` (TRL 1.16), which tokenise rows and have no option against it.

    Ours come with `prompt_ids`, `chosen_ids` and `rejected_ids`.
    """

    def tokenize_row(self, feature: Any, model: Any = None) -> Any:
        """Return the row as it is."""
        del model
        return feature


class PadPairs:
    """Make a batch of pairs: each side padded on the right to the longest of its sequences."""

    def __init__(self, pad_token_id: int) -> None:
        self._pad_token_id = pad_token_id

    def __call__(self, rows: list[Row]) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `attention_mask` and `labels` of both sides.

        `input_ids` and `attention_mask` without a side are those of all sequences: transformers counts tokens by them.
        """
        sides = {
            side: [([*row["prompt_ids"], *row[f"{side}_ids"]], len(row["prompt_ids"])) for row in rows]
            for side in ("chosen", "rejected")
        }
        batch: dict[str, torch.Tensor] = {}
        for side, sequences in sides.items():
            longest = max(len(ids) for ids, _ in sequences)
            batch |= {f"{side}_{name}": value for name, value in self._padded(sequences, longest).items()}
        both = [*sides["chosen"], *sides["rejected"]]
        counted = self._padded(both, max(len(ids) for ids, _ in both))
        return {**batch, "input_ids": counted["input_ids"], "attention_mask": counted["attention_mask"]}

    def _padded(self, sequences: list[tuple[list[int], int]], longest: int) -> dict[str, torch.Tensor]:
        ids = [tokens + [self._pad_token_id] * (longest - len(tokens)) for tokens, _ in sequences]
        mask = [[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens, _ in sequences]
        labels = [
            [IGNORED] * asked + tokens[asked:] + [IGNORED] * (longest - len(tokens)) for tokens, asked in sequences
        ]
        return {
            "input_ids": torch.tensor(ids),
            "attention_mask": torch.tensor(mask),
            "labels": torch.tensor(labels),
        }


def pair_columns(rows: list[Any]) -> Mapping[str, list[list[int]]]:
    """Return `prompt_ids`, `chosen_ids` and `rejected_ids`, one list of token ids a row."""
    return {name: [list(getattr(row, name)) for row in rows] for name in ("prompt_ids", "chosen_ids", "rejected_ids")}


def pair_options(options: Mapping[str, Any], request: TrainingRequest) -> dict[str, Any]:
    """Return the options that these trainers take besides their method's own."""
    return {
        **options,
        # Rows are cut already; without a number the trainer warns of one of its own.
        "max_length": request.max_length or 2**30,
        "remove_unused_columns": False,
        "disable_dropout": not request.tuning.dropout,
    }


def with_adapter(shared: Mapping[str, Any], request: TrainingRequest) -> dict[str, Any]:
    """Return a trainer's arguments with the adapter put on the model.

    These trainers would also turn norms and embeddings of a quantised model into 32 bits
    (`prepare_model_for_kbit_training`), which `load_for_training` leaves as they are.
    """
    arguments = dict(shared)
    config = arguments.pop("peft_config", None)
    if config is not None:
        set_seed(request.seed)
        arguments["model"] = get_peft_model(arguments["model"], config)
    return arguments
