"""An optimizer whose steps are the sum of clipped gradients of single rows, and noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from opacus.optimizers import DPOptimizer

from ftsdk.backends.trainers.trl.privacy.noise import KeyedRandomness

__all__ = ["PrivateOptimizer"]


class PrivateOptimizer(DPOptimizer):  # pyright: ignore[reportUntypedBaseClass]
    """Opacus' optimizer, with noise of our own, and rows that go through the model in parts.

    Args:
        optimizer: What makes the step.
        randomness: Where the noise comes from.
        step: Returns the number of the step that is being made.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        noise_multiplier: float,
        max_grad_norm: float,
        batch_size: int,
        randomness: KeyedRandomness,
        step: Callable[[], int],
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=max_grad_norm,
            expected_batch_size=batch_size,
            loss_reduction="mean",
        )
        self._randomness = randomness
        self._step = step

    @property
    def accumulated_iterations(self) -> int:
        """The sum over all parts of a batch is divided by the batch size once."""
        return 1

    @property
    def _weights(self) -> list[Any]:
        """The trained weights, with what opacus keeps at each."""
        return list(self.params)

    def begin_step(self) -> None:
        """Forget the step before. A step that no row adds to is noise alone."""
        for weight in self._weights:
            weight.grad_sample = None
            weight.summed_grad = torch.zeros_like(weight)

    def add_part(self) -> None:
        """Add the clipped gradients of the rows that went through the model last."""
        self.clip_and_accumulate()
        for weight in self._weights:
            weight.grad_sample = None

    def add_noise(self) -> None:
        """Turn the sum into a gradient, with noise."""
        scale, step = self.noise_multiplier * self.max_grad_norm, self._step()
        for number, weight in enumerate(self._weights):
            noise = self._randomness.gaussian(weight.summed_grad, "noise", step, number)
            weight.grad = (weight.summed_grad + scale * noise).view_as(weight)

    def pre_step(self, closure: Any = None) -> bool:
        """Make the gradient; the rows were clipped part by part before."""
        del closure
        if any(weight.summed_grad is None for weight in self._weights):
            raise RuntimeError("a private step has no clipped gradients: it would spend what isn't accounted for")
        self.add_noise()
        self.scale_grad()
        for weight in self._weights:
            weight.summed_grad = None
        return True
