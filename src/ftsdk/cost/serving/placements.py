"""The ways to place one copy of a model on GPUs of one kind."""

from __future__ import annotations

from ftsdk.cost.serving.capacity import Capacity, Latency, capacity
from ftsdk.cost.serving.gpus import ServingGpu
from ftsdk.cost.serving.shapes import ModelShape, Weights
from ftsdk.errors import SpecError

__all__ = ["placements"]

_SPLITS = (1, 2, 4, 8)


def placements(
    shape: ModelShape,
    gpu: ServingGpu,
    *,
    input_tokens: float,
    output_tokens: float,
    cached_input_share: float = 0.0,
    weights: Weights | None = None,
    gpus: int | None = None,
    latency: Latency = "server",
    is_adapter: bool = False,
) -> tuple[Capacity, ...]:
    """Return what one replica can promise on 1, 2, 4 and 8 GPUs, where the model fits.

    Which is cheapest depends on the traffic: the fewest GPUs may need weights of 4 bits and have little room for
    requests, so that a busy service pays less with fewer, larger replicas.

    Args:
        shape: The model.
        gpu: The GPU.
        input_tokens: Mean tokens of a prompt.
        output_tokens: Mean tokens of an answer.
        cached_input_share: Share of the prompt that stays in the prefix cache.
        weights: None: at each split the most precise that fit, as in `capacity`.
        gpus: GPUs per replica, if only one split is wanted.
        latency: The target.
        is_adapter: LoRA adapters that aren't merged slow the engine down.

    Returns:
        Those that meet the latency target, the fewest GPUs first; if none does, the one with the fewest.

    Raises:
        SpecError: The model doesn't fit.
    """
    found: list[Capacity] = []
    problem: SpecError | None = None
    for split in (gpus,) if gpus else _SPLITS:
        try:
            one = capacity(
                shape,
                gpu,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                cached_input_share=cached_input_share,
                weights=weights,
                gpus=split,
                latency=latency,
                is_adapter=is_adapter,
            )
        except SpecError as error:
            problem = error
        else:
            found.append(one)
    if not found:
        assert problem is not None
        raise problem
    return tuple(one for one in found if one.is_target_met) or (found[0],)
