"""The mixin that makes transformers' trainers shard their model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
from torch.distributed.tensor import DTensor

from ftsdk.backends.hosted.trainer import TrainingStopped
from ftsdk.backends.trainers.trl.sharding.checkpoint import (
    has_shards,
    load_optimizer_shards,
    load_weight_shards,
    save_shards,
)
from ftsdk.errors import Diagnosis

__all__ = ["ShardsModel", "Share", "share_of"]

_SCHEDULER = "scheduler.pt"
"""transformers' name for the file."""


class Share(NamedTuple):
    """How much of a model a process has."""

    held: int
    """Parameters that this process holds."""
    total: int
    """Parameters of the whole model."""


def share_of(model: Any) -> Share:
    """Return how many of a sharded model's parameters this process holds.

    Raises:
        TrainingStopped: The model isn't sharded, or a part of it isn't.
    """
    weights: list[Any] = list(model.parameters())
    whole = [name for name, weight in model.named_parameters() if not isinstance(weight, DTensor)]
    if whole or not isinstance(model, FSDPModule):
        what = f"{len(whole)} parameters are whole on each process, such as {whole[0]}" if whole else "it is whole"
        raise TrainingStopped(
            Diagnosis(
                "sharding",
                f"the model wasn't sharded, as the plan says: {what}",
                None,
                ('leave out sharding="full", if the model fits on one device', "report this as a bug of ftsdk"),
            )
        )
    return Share(sum(weight.to_local().numel() for weight in weights), sum(weight.numel() for weight in weights))


class ShardsModel:
    """A mixin for transformers' trainers, before all others: one model over all processes where `fsdp` is set."""

    shares: ClassVar[tuple[Share, ...]] = ()
    """That of each process, by rank; empty if the model isn't sharded."""
    on_shares: Callable[[tuple[Share, ...]], object] = staticmethod(len)
    """Called once the model is sharded."""

    @property
    def is_sharded(self) -> bool:
        """Whether this process has a share of the model only."""
        return cast("Any", self).args.fsdp_plugin_args is not None

    def create_accelerator_and_postprocess(self) -> None:
        """Let accelerate shard the model on a CPU, too.

        accelerate 1.15 takes the plugin on GPUs only (`accelerate/state.py`, `AcceleratorState.__init__`), and trains
        with DDP on a CPU without a word.
        """
        trainer = cast("Any", self)
        cast("Any", super()).create_accelerator_and_postprocess()
        if not self.is_sharded:
            return
        from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

        state = trainer.accelerator.state
        if not trainer.is_fsdp_enabled:
            state.fsdp_plugin = FullyShardedDataParallelPlugin(**trainer.args.fsdp_plugin_args)
            state.distributed_type = DistributedType.FSDP
            trainer.is_fsdp_enabled = True
        if trainer.args.bf16:
            # accelerate's own would add up gradients in 16 bits.
            state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy(
                param_dtype=torch.bfloat16, reduce_dtype=torch.float32
            )

    def _prepare_for_training(self, *arguments: Any, **options: Any) -> Any:
        trainer = cast("Any", self)
        if not self.is_sharded:
            return cast("Any", super())._prepare_for_training(*arguments, **options)
        trainer.accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap = _layer_classes(trainer.model)
        result = cast("Any", super())._prepare_for_training(*arguments, **options)
        own = torch.tensor(share_of(trainer.model), device=trainer.args.device)
        shares = [torch.zeros_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(shares, own)
        self.shares = tuple(Share(*map(int, share.tolist())) for share in shares)  # pyright: ignore[reportAttributeAccessIssue]
        self.on_shares(self.shares)
        return result

    def _get_grad_norm(self, *arguments: Any, **options: Any) -> Any:
        """Return the norm over all shares."""
        norm = cast("Any", super())._get_grad_norm(*arguments, **options)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def sums_that_fit(self, model: Any, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return the row sums of a batch.

        It isn't taken in parts where memory runs out: the other processes, which gather weights for each pass, wouldn't
        know of passes that only this one makes.
        """
        if self.is_sharded:
            return cast("Any", self).row_sums(model, inputs)
        return cast("Any", super()).sums_that_fit(model, inputs)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_sharded:
            cast("Any", super())._save_optimizer_and_scheduler(output_dir)
            return
        trainer = cast("Any", self)
        save_shards(output_dir, trainer.model, trainer.optimizer)
        if trainer.args.should_save:
            torch.save(trainer.lr_scheduler.state_dict(), Path(output_dir) / _SCHEDULER)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if has_shards(resume_from_checkpoint):
            load_weight_shards(resume_from_checkpoint, cast("Any", self).model if model is None else model)
        else:
            cast("Any", super())._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        trainer = cast("Any", self)
        best = trainer.state.best_model_checkpoint
        if has_shards(best):
            load_weight_shards(best, trainer.model)
        else:
            cast("Any", super())._load_best_model()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not has_shards(checkpoint):
            cast("Any", super())._load_optimizer_and_scheduler(checkpoint)
            return
        trainer = cast("Any", self)
        load_optimizer_shards(checkpoint, trainer.model, trainer.optimizer)
        trainer.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / _SCHEDULER, weights_only=True))
        # Shards have no learning rate, and the schedule sets the next one only after a step.
        for group, rate in zip(trainer.optimizer.param_groups, trainer.lr_scheduler.get_last_lr(), strict=True):
            group["lr"] = rate


def _layer_classes(model: Any) -> list[str]:
    """Return the names of the classes of a model's layers, each of which is gathered by itself.

    A model's class may name some that this model has none of, on which accelerate would fail.
    """
    there = {type(module).__name__ for module in model.modules()}
    found = sorted(there & set(getattr(model, "_no_split_modules", None) or ()))
    if not found:
        raise TrainingStopped(
            Diagnosis(
                "sharding",
                f"transformers doesn't say what the layers of {type(model).__name__} are, and without them the whole "
                "model would be gathered at once",
                None,
                (
                    'leave out sharding="full"',
                    "choose a model that transformers has layers of, such as a Llama or a Qwen",
                ),
            )
        )
    return found
