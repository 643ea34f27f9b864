"""Supervised fine-tuning with differential privacy: TRL's trainer, with steps that say little of any one row."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from opacus.accountants import RDPAccountant
from opacus.grad_sample import GradSampleHooks
from torch.utils.data import DataLoader
from transformers import TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

from ftsdk._files import replace_file
from ftsdk.backends.hosted.trainer import TrainingStopped
from ftsdk.backends.trainers.trl.methods.sft import RenderedSFTTrainer, losses_of_trained_tokens
from ftsdk.backends.trainers.trl.privacy.accounting import ORDERS, epsilon_spent, noise_multiplier_for, steps_within
from ftsdk.backends.trainers.trl.privacy.noise import KeyedRandomness, key_in
from ftsdk.backends.trainers.trl.privacy.optimizer import PrivateOptimizer
from ftsdk.backends.trainers.trl.privacy.poisson import PoissonBatches
from ftsdk.backends.trainers.trl.privacy.single_rows import check_single_rows, rows_without_gradient
from ftsdk.errors import Diagnosis
from ftsdk.models.packed_attention import is_out_of_memory
from ftsdk.spec import Privacy

__all__ = ["PrivateSFTTrainer"]

_STATE = "privacy.json"


class PrivateSFTTrainer(RenderedSFTTrainer):  # pyright: ignore[reportUntypedBaseClass]
    """Takes rows at random, clips the gradient of each, and adds noise to their sum (DP-SGD).

    `keep_private` comes before `train`.
    """

    def keep_private(self, privacy: Privacy, *, batch_size: int, on_message: Callable[[str], None]) -> None:
        """Find the noise, and watch the gradient of each row.

        Raises:
            TrainingStopped: The model mixes its rows, or a resumed run has lost its key.
        """
        checkpoints = Path(str(self.args.output_dir))
        key = key_in(checkpoints, is_new=not any(checkpoints.glob("checkpoint-*")))
        if key is None:
            raise TrainingStopped(_lost_key())
        rows, model = len(cast("Any", self.train_dataset)), cast("Any", self.model)
        self._privacy, self._batch_size = privacy, min(batch_size, rows)
        self._randomness = KeyedRandomness(key)
        self._draws = PoissonBatches(rows, batch_size=self._batch_size, randomness=self._randomness)
        most = self.args.max_steps if self.args.max_steps > 0 else None
        self._total = steps_within(len(self._draws), self.args.num_train_epochs, most)
        self._noise = noise_multiplier_for(
            epsilon=privacy.epsilon, delta=privacy.delta, sample_rate=self._draws.sample_rate, steps=self._total
        )
        self._part_rows = self.args.per_device_train_batch_size
        # Otherwise the first layer's inputs have no gradient, and PyTorch warns of hooks that fire all the same.
        model.enable_input_require_grads()
        self._hooks = GradSampleHooks(model, loss_reduction="sum", strict=False)
        mixed = check_single_rows(model, vocabulary=model.get_input_embeddings().num_embeddings)
        if mixed is not None:
            raise TrainingStopped(_mixes_rows(mixed))
        self._on_message = on_message
        self.add_callback(_Account(self))
        on_message(
            f"privacy: noise multiplier {self._noise:g}, clipping to {privacy.max_grad_norm:g}; {self._total:,} steps, "
            f"each with every row at probability {self._draws.sample_rate:.4g}, may spend epsilon "
            f"{self.spent(self._total):.4g} of {privacy.epsilon:g} at delta {privacy.delta:g}"
        )

    def spent(self, steps: int) -> float:
        """Return the epsilon of so many steps: the higher of two accounts, opacus' and ours."""
        if steps == 0:
            return 0.0
        account = RDPAccountant()
        account.history = [(self._noise, self._draws.sample_rate, steps)]
        orders = [*RDPAccountant.DEFAULT_ALPHAS, *ORDERS]
        with warnings.catch_warnings():
            # That the best order is at an end of the list: true of very large budgets, and of no use to anybody.
            warnings.filterwarnings("ignore", message="Optimal order is the")
            theirs = float(account.get_epsilon(self._privacy.delta, alphas=orders))
        ours = epsilon_spent(
            noise_multiplier=self._noise, sample_rate=self._draws.sample_rate, steps=steps, delta=self._privacy.delta
        )
        # Opacus has orders that aren't whole numbers, so it is never above ours; a difference the other way is a fault.
        if theirs > ours * 1.001:
            raise RuntimeError(f"two accounts of the privacy that was spent differ: {theirs} and {ours}")
        return ours

    def private_facts(self) -> dict[str, Any]:
        """Return what was promised and what was spent, for the manifest."""
        steps = self.state.global_step
        return {
            "epsilon": round(self.spent(steps), 6),
            "epsilon_asked": self._privacy.epsilon,
            "delta": self._privacy.delta,
            "max_grad_norm": self._privacy.max_grad_norm,
            "noise_multiplier": self._noise,
            "sample_rate": self._draws.sample_rate,
            "steps": steps,
            "unit": "one row of the training data, added or removed",
            "accountant": f"Rényi, whole orders; checked against opacus {version('opacus')}",
            "noise": "SHAKE-256 with a key of the operating system, Box-Muller; 32-bit floats",
        }

    def get_train_dataloader(self) -> Any:
        """Return batches of random size."""
        loader = DataLoader(
            _Listed(self.train_dataset),  # pyright: ignore[reportArgumentType]
            batch_sampler=self._draws,
            collate_fn=self._collate,
        )
        return self.accelerator.prepare(loader)

    def _collate(self, rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        if rows:
            return self.data_collator(rows)
        nothing = torch.zeros((0, 1), dtype=torch.long)
        return {"input_ids": nothing, "attention_mask": nothing, "labels": nothing}

    def create_optimizer(self, model: Any = None) -> Any:
        """Return the usual optimizer in a private one."""
        if not isinstance(cast("Any", self.optimizer), PrivateOptimizer):
            self.optimizer = PrivateOptimizer(
                super().create_optimizer(model),
                noise_multiplier=self._noise,
                max_grad_norm=self._privacy.max_grad_norm,
                batch_size=self._batch_size,
                randomness=self._randomness,
                step=lambda: self.state.global_step,
            )
            self._private_optimizer = self.optimizer
        return self.optimizer

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Add the clipped gradients of a batch, part by part, and return the mean loss of its rows."""
        del num_items_in_batch
        model.train()
        optimizer, inputs = self._private_optimizer, self._prepare_inputs(inputs)
        optimizer.begin_step()
        rows, done, total = len(inputs["input_ids"]), 0, torch.zeros((), device=self.args.device)
        while done < rows:
            part = {name: values[done : done + self._part_rows] for name, values in inputs.items()}
            try:
                loss = self._row_losses(model, part).sum()
                loss.backward()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self._part_rows == 1:
                    raise
                self._take_smaller_parts()
                continue
            missing = rows_without_gradient(model, rows=len(part["input_ids"]))
            if missing is not None:
                raise TrainingStopped(_mixes_rows(missing))
            optimizer.add_part()
            total, done = total + loss.detach(), done + len(part["input_ids"])
        return total / max(rows, 1)

    def _row_losses(self, model: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the mean cross-entropy of each row's trained tokens.

        Not of all tokens of the step, as in training without privacy: there a row's share depends on the others.
        """
        losses_N, chosen_BK = losses_of_trained_tokens(model, inputs)  # noqa: N806 - shape suffix
        sums_B = losses_N.new_zeros(chosen_BK.shape).masked_scatter(chosen_BK, losses_N).sum(dim=1)  # noqa: N806
        return sums_B / chosen_BK.sum(dim=1).clamp(min=1)

    def log(self, logs: dict[str, float], *arguments: Any, **options: Any) -> None:
        """Log all but the gradient's norm, which was taken before clipping and noise."""
        logs.pop("grad_norm", None)
        super().log(logs, *arguments, **options)

    def _take_smaller_parts(self) -> None:
        model = cast("Any", self.model)
        for weight in model.parameters():
            weight.grad = weight.grad_sample = None
            if hasattr(weight, "_forward_counter"):
                weight._forward_counter = 0
            if hasattr(weight, "_current_grad_sample"):
                del weight._current_grad_sample
        for module in model.modules():
            if hasattr(module, "activations"):
                module.activations = []
            if hasattr(module, "max_batch_len"):
                del module.max_batch_len
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._part_rows = max(1, self._part_rows // 2)
        self._on_message(f"memory ran out; from here on {self._part_rows} rows go through the model at once")

    def state_of_privacy(self) -> dict[str, Any]:
        """Return what a resumed training must go on with."""
        return {
            "noise_multiplier": self._noise,
            "sample_rate": self._draws.sample_rate,
            "max_grad_norm": self._privacy.max_grad_norm,
            "delta": self._privacy.delta,
            "key": self._randomness.name,
        }

    def say_spent(self) -> None:
        """Report what was spent so far."""
        steps, privacy = self.state.global_step, self._privacy
        self._on_message(
            f"privacy: epsilon {self.spent(steps):.4g} of {privacy.epsilon:g} spent by step {steps:,}, at delta "
            f"{privacy.delta:g}"
        )

    def watch_no_more(self) -> None:
        """Remove the hooks from the model."""
        self._hooks.remove_hooks()
        cast("Any", self.model).disable_input_require_grads()


class _Account(TrainerCallback):
    """Keeps the account in every checkpoint, and holds a resumed training to it."""

    def __init__(self, trainer: PrivateSFTTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check that a resumed training makes the same steps as the one before."""
        del control, kwargs
        if state.global_step == 0:
            return
        file = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / _STATE
        before = json.loads(file.read_bytes()) if file.is_file() else {}
        now = self._trainer.state_of_privacy()
        if before != now:
            differs = sorted(name for name in now if before.get(name) != now[name])
            raise TrainingStopped(_another_account(differs))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the account, before the checkpoint is sealed."""
        del control, kwargs
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        replace_file(folder / _STATE, json.dumps(self._trainer.state_of_privacy(), indent=1, sort_keys=True).encode())
        self._trainer.say_spent()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the model as it was found."""
        del args, state, control, kwargs
        self._trainer.watch_no_more()


class _Listed:
    """The rows one by one: a table's own reader of batches fails on an empty one."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> dict[str, list[int]]:
        found = self._rows[row]
        return {"input_ids": found["input_ids"], "labels": found["labels"]}


def _lost_key() -> Diagnosis:
    return Diagnosis(
        "privacy_key",
        "the run has checkpoints, but the key of its private noise is gone; other noise would spend privacy twice",
        None,
        ("start a new run: the steps of this one count as spent",),
    )


def _another_account(differs: list[str]) -> Diagnosis:
    return Diagnosis(
        "privacy_account",
        f"the checkpoint was written by a training with another privacy account ({', '.join(differs)}), so that what "
        "is spent together isn't known",
        None,
        ("resume with the data and the versions that the run began with", "or start a new run"),
    )


def _mixes_rows(what: str) -> Diagnosis:
    return Diagnosis(
        "privacy_rows",
        f"the gradients of single rows can't be told apart: {what}",
        None,
        (
            "choose layers that see each row for itself: LoRA(target_modules=[...]), without a mixture's experts",
            "or train another model, or without privacy=",
        ),
    )
