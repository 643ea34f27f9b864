"""Whether the gradients of single rows are what they should be, for this model and these layers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own abbreviation

__all__ = ["check_single_rows", "gradients_of_rows", "rows_without_gradient"]

_LENGTHS = (5, 9, 7)


def rows_without_gradient(model: Any, *, rows: int) -> str | None:
    """Return which weight lacks a gradient for each of the rows after a backward pass, in words; None: none does."""
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        found = getattr(weight, "grad_sample", None)
        if not isinstance(found, torch.Tensor):
            return f"{name} has none"
        if len(found) != rows:
            return f"{name} has {len(found)} for {rows} rows"
    return None


def check_single_rows(model: Any, *, vocabulary: int) -> str | None:
    """Compare the gradients of made-up rows that go through together with those of the same rows one by one.

    Catches what would otherwise break the promise unseen: layers that see the rows of a batch mixed, as the experts of
    a mixture do, and hooks that don't fire (https://github.com/meta-pytorch/opacus/issues/820).

    Returns:
        What is wrong, in words; None: they are the same.
    """
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(vocabulary, (length,), generator=generator) for length in _LENGTHS]
    is_training = model.training
    rates = [(module, module.p) for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    moved = [weight for weight in model.parameters() if weight.requires_grad]
    model.train()
    for module, _ in rates:
        module.p = 0.0
    try:
        together = gradients_of_rows(model, rows)
        wrong = rows_without_gradient(model, rows=len(rows))
        if wrong is not None:
            return wrong
        tolerance = 1e-3 if all(weight.dtype == torch.float32 for weight in model.parameters()) else 0.1
        for number, row in enumerate(rows):
            for weight in moved:
                weight.grad = None
            gradients_of_rows(model, [row])
            # The ordinary gradient of the row, which no hook has a part in.
            alone = torch.cat([weight.grad.flatten() for weight in moved])
            part = torch.cat([found[number].flatten() for found in together])
            off = (part - alone).norm() / alone.norm().clamp(min=1e-12)
            if not off <= tolerance:
                return f"that of row {number + 1} of {len(rows)} is off by {off:.1%} where the others go with it"
    finally:
        for module, rate in rates:
            module.p = rate
        for weight in moved:
            weight.grad = weight.grad_sample = None
        model.train(is_training)
    return None


def gradients_of_rows(model: Any, rows: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return the gradients of the rows' mean losses, for each trained weight, shape (rows, *weight)."""
    device = next(model.parameters()).device
    ids_BT = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)  # noqa: N806 - shape suffix
    losses: list[torch.Tensor] = []
    logits_BTV = model(input_ids=ids_BT, use_cache=False).logits.float()  # noqa: N806
    for number, row in enumerate(rows):
        end = len(row)
        losses.append(F.cross_entropy(logits_BTV[number, : end - 1], ids_BT[number, 1:end]))
    for weight in model.parameters():
        if weight.requires_grad:
            weight.grad_sample = None
    torch.stack(losses).sum().backward()
    return [
        weight.grad_sample
        for weight in model.parameters()
        if weight.requires_grad and isinstance(getattr(weight, "grad_sample", None), torch.Tensor)
    ]
