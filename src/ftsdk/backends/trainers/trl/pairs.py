"""Pairs of rendered answers, and what the trainers of TRL need that have no reference model and tokenise pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from peft import get_peft_model
from transformers import set_seed

from ftsdk.backends.trainers.trl.packing import options_of_packed_rows, tokens_at_once
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.rows import IGNORED
from ftsdk.data.forest import TrainedRow

__all__ = ["PadPairs", "TakesRenderedPairs", "longest_of_pairs", "make_pair_trainer", "pair_columns"]

Row = Mapping[str, Sequence[int]]


class TakesRenderedPairs:
    """A mixin for `ORPOTrainer` and `CPOTrainer` (TRL 1.16), which tokenise rows and have no option against it.

    Ours come with `prompt_ids`, `chosen_ids` and `rejected_ids`.
    """

    sequences_of_pair: Callable[[list[int], list[int], list[int]], list[TrainedRow]]

    def sequences_of_batch(self, inputs: Mapping[str, Any]) -> list[TrainedRow]:
        """Return the sequences of each pair of a batch of `PadPairs`."""
        found: list[TrainedRow] = []
        sides = [_parts(inputs, side) for side in ("chosen", "rejected")]
        for (prompt, chosen), (_, rejected) in zip(*sides, strict=True):
            found += self.sequences_of_pair(prompt, chosen, rejected)
        return found

    def get_batch_logps(self, logits: torch.Tensor, labels: torch.Tensor, **options: Any) -> torch.Tensor:
        """Return log-probabilities in 32 bits: the loss compares numbers that 16 bits don't tell apart."""
        return cast("Any", super()).get_batch_logps(logits.float(), labels, **options)

    def tokenize_row(self, feature: Any, model: Any = None) -> Any:
        """Return the row as it is."""
        del model
        return feature


def _parts(inputs: Mapping[str, Any], side: str) -> list[tuple[list[int], list[int]]]:
    """Return the tokens of each prompt and answer."""
    names = (f"{side}_{name}" for name in ("input_ids", "attention_mask", "labels"))
    ids, mask, labels = (inputs[name] for name in names)
    rows = zip(ids.tolist(), mask.sum(dim=1).tolist(), (labels != IGNORED).sum(dim=1).tolist(), strict=True)
    return [(tokens[: length - answer], tokens[length - answer : length]) for tokens, length, answer in rows]


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


def longest_of_pairs(rows: Any) -> int:
    """Return the tokens of the longest sequence, of rows with these columns."""
    answers = zip(rows["prompt_ids"], rows["chosen_ids"], rows["rejected_ids"], strict=True)
    return max(len(prompt) + max(len(chosen), len(rejected)) for prompt, chosen, rejected in answers)


def make_pair_trainer(
    kind: type[Any],
    arguments_of: Callable[[dict[str, Any]], Any],
    request: TrainingRequest,
    shared: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    collator: PadPairs,
    on_message: Callable[[str], None],
) -> Any:
    """Build a trainer without a reference model.

    Args:
        kind: Its class.
        arguments_of: Returns its configuration with the options that all such trainers take.
        request: The training.
        shared: Arguments of any trainer.
        options: Options of any configuration.
        collator: Makes batches.
        on_message: Called with one sentence on how the training goes through the model.
    """
    longest = longest_of_pairs(shared["train_dataset"])
    most_tokens = tokens_at_once(request, shared["model"], longest=longest, on_message=on_message)
    if most_tokens is not None:
        options = options_of_packed_rows(request, options)
    arguments = arguments_of(_pair_options(options, request))
    trainer = kind(**(_with_adapter(shared, request) | {"args": arguments, "data_collator": collator}))
    if most_tokens is not None:
        trainer.compute_shared_tokens_once(most_tokens, on_message)
    return trainer


def _pair_options(options: Mapping[str, Any], request: TrainingRequest) -> dict[str, Any]:
    """Return the options that these trainers take besides their method's own."""
    return {
        **options,
        # Rows are cut already; without a number the trainer warns of one of its own.
        "max_length": request.max_length or 2**30,
        "remove_unused_columns": False,
        "disable_dropout": not request.tuning.dropout,
    }


def _with_adapter(shared: Mapping[str, Any], request: TrainingRequest) -> dict[str, Any]:
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
