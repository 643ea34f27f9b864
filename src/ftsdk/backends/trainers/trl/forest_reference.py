"""What a reference model says of sequences that are packed as a forest, computed once a training."""

from __future__ import annotations

import hashlib
from array import array
from typing import Any, cast

import torch
from trl.trainer.utils import use_adapter

from ftsdk.backends.trainers.trl.forest_steps import ComputesSharedTokensOnce
from ftsdk.data.forest import Forest

__all__ = ["RemembersReference"]


class RemembersReference(ComputesSharedTokensOnce):
    """A mixin for TRL's trainers with a reference: the model without its adapter, an adapter "ref", or another model.

    The reference doesn't change, so that each sequence goes through it once a training.
    """

    _reference_sums: dict[bytes, torch.Tensor] | None = None
    """By sequence."""

    def reference_of(self, forest: Forest) -> torch.Tensor:
        """Return the cross-entropy of each sequence under the reference, shape (sequences,)."""
        if self._reference_sums is None:
            self._reference_sums = {}
        known, keys = self._reference_sums, _keys(forest)
        if not all(key in known for key in keys):
            known.update(zip(keys, self._computed(forest).unbind(), strict=True))
        return torch.stack([known[key] for key in keys])

    def _computed(self, forest: Forest) -> torch.Tensor:
        trainer = cast("Any", self)
        with torch.no_grad():
            if trainer.ref_model is not None:
                return self.sums_of_forest(trainer.ref_model, forest)
            own = trainer.accelerator.unwrap_model(trainer.model)
            with use_adapter(own, adapter_name="ref" if "ref" in own.peft_config else None):
                return self.sums_of_forest(own, forest)


def _keys(forest: Forest) -> list[bytes]:
    """Return for each sequence a digest of what its sum depends on."""
    scored: list[list[int]] = [[] for _ in forest.paths]
    for owner, target in zip(forest.owners, forest.targets, strict=True):
        scored[owner].append(target)
    read = ([forest.tokens[at] for at in forest.places(n)] for n in range(len(forest.paths)))
    numbers = (array("q", [len(tokens), *tokens, *targets]) for tokens, targets in zip(read, scored, strict=True))
    return [hashlib.blake2b(one.tobytes(), digest_size=16).digest() for one in numbers]
