"""How much traffic a model on a GPU can take: a roofline with two fitted constants, held to a latency target.

The ceiling is what a tuned engine reaches when requests never stop coming. What a service can promise is less: the
batch is held to the size that meets the latency target, and queueing (see traffic.py) keeps some of it free.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from ftsdk._rich_text import rich_text
from ftsdk.cost.pricebook.price import Day
from ftsdk.cost.serving.gpus import ServingGpu, serving_facts
from ftsdk.cost.serving.shapes import ModelShape, Weights
from ftsdk.cost.serving.traffic import max_utilisation
from ftsdk.errors import SpecError
from ftsdk.spec import Value

__all__ = ["Capacity", "Latency", "capacity", "ceiling_tokens_per_s", "cold_start_s", "tokens_per_s_at"]

Latency = Literal["offline", "server", "interactive"]

_LARGEST_BATCH = 2048


class Capacity(Value):
    """What one replica can promise."""

    gpu: str
    gpus_per_replica: int
    weights: Weights
    latency: Latency
    slots: int
    """Requests that are served at the same time."""
    service_s: float
    """Seconds from the start of a request to its last token, with all slots busy."""
    alone_s: float
    """Seconds that a request takes alone."""
    tpot_ms: float
    """Milliseconds per output token, other requests' prompts included."""
    utilisation: float
    """How busy it may be, so that at most 5% of the requests wait longer than the target allows (Erlang C)."""
    requests_per_s: float
    """Sustained, at that utilisation."""
    ceiling_requests_per_s: float
    """What the hardware could do with requests that never stop coming and no latency target."""
    limited_by: Literal["latency", "memory", "compute", "measured"]
    is_target_met: bool
    target_s: float | None = None
    """Seconds within which 95% of the answers are whole; None: no target."""
    source: str
    as_of: Day
    note: str = ""

    def __str__(self) -> str:
        gpus = self.gpu if self.gpus_per_replica == 1 else f"{self.gpus_per_replica}x{self.gpu}"
        return (
            f"{self.requests_per_s:.3g} requests/s on {gpus} ({self.weights} weights, up to {self.slots} at a time in "
            f"{self.service_s:.2g} s, "
            f"{self.alone_s:.2g} s alone, {self.utilisation:.0%} busy at most, limited by {self.limited_by}; "
            f"ceiling {self.ceiling_requests_per_s:.3g})"
        )

    __rich__ = rich_text


def ceiling_tokens_per_s(
    shape: ModelShape,
    gpu: ServingGpu,
    *,
    input_tokens: float,
    output_tokens: float,
    weights: Weights = "fp8",
    gpus: int = 1,
) -> float:
    """Output tokens per second of one replica when requests never stop coming, without a latency target."""
    batch = _memory_batch(shape, gpu, input_tokens + output_tokens, weights, gpus)
    return tokens_per_s_at(
        shape, gpu, batch, input_tokens=input_tokens, output_tokens=output_tokens, weights=weights, gpus=gpus
    )


def tokens_per_s_at(
    shape: ModelShape,
    gpu: ServingGpu,
    at_a_time: int,
    *,
    input_tokens: float,
    output_tokens: float,
    weights: Weights = "fp8",
    gpus: int = 1,
) -> float:
    """Output tokens per second of one replica that always serves so many requests at a time."""
    return (
        output_tokens
        * at_a_time
        / _service_s(shape, gpu, at_a_time, input_tokens, input_tokens, output_tokens, weights, gpus)
    )


def capacity(
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
) -> Capacity:
    """Return what one replica can promise under a latency target.

    Args:
        shape: The model.
        gpu: The GPU.
        input_tokens: Mean tokens of a prompt.
        output_tokens: Mean tokens of an answer.
        cached_input_share: Share of the prompt that is the same in every request and stays in the prefix cache.
        weights: None: fp8 where the GPU computes in it, else bf16 if it fits, else int4.
        gpus: GPUs over which one replica is split; None: the fewest (1, 2, 4, 8) into which it fits.
        latency: The target.
        is_adapter: LoRA adapters that aren't merged slow the engine down.

    Raises:
        SpecError: The model doesn't fit.
    """
    facts = serving_facts()
    target = facts["latency"]["classes"][latency]
    tokens = input_tokens + output_tokens
    chosen, split = _placement(shape, gpu, tokens, weights, gpus)
    prompt = input_tokens * (1 - cached_input_share)
    derating = _split_share(gpu, split) * (float(facts["adapters"]["share_of_ceiling"]) if is_adapter else 1.0)

    def service_s(batch: int) -> float:
        return _service_s(shape, gpu, batch, prompt, input_tokens, output_tokens, chosen, split) / derating

    largest = _memory_batch(shape, gpu, tokens, chosen, split)
    ceiling = largest / service_s(largest)
    slots, target_s, is_met = largest, None, True
    if target["ttft_s"] is not None:
        target_s = target["ttft_s"] + output_tokens * target["tpot_s"]
        # A late request waits `patience` service times and is then served: both have to fit.
        budget_s = target_s / (1 + target["patience"])
        is_met = service_s(1) <= budget_s
        slots = _largest_batch_within(service_s, budget_s, largest)
    utilisation = max_utilisation(slots, target["patience"])
    by_latency = slots / service_s(slots) * utilisation
    by_measured_share = ceiling * target["share_of_ceiling"]
    fit = facts["fit"]
    limit: Literal["latency", "memory", "compute"] = (
        "latency" if slots < largest else "memory" if largest < _LARGEST_BATCH else "compute"
    )
    return Capacity(
        gpu=gpu.name,
        gpus_per_replica=split,
        weights=chosen,
        latency=latency,
        slots=slots,
        service_s=service_s(slots),
        alone_s=service_s(1),
        tpot_ms=1000 * service_s(slots) / output_tokens,
        utilisation=utilisation,
        requests_per_s=min(by_latency, by_measured_share),
        ceiling_requests_per_s=ceiling,
        limited_by=limit,
        is_target_met=is_met,
        target_s=target_s,
        source=fit["source"],
        as_of=fit["as_of"],
        note=(
            "roofline fitted to fp8 on H100 and H200 (mean error 6.6%); on other GPUs and with other weights it is an "
            "extrapolation"
        ),
    )


def cold_start_s(shape: ModelShape, weights: Weights, gpus: int) -> float:
    """Seconds from nothing to the first answer: the engine's start, and the weights at a disk's speed."""
    start = serving_facts()["cold_start_s"]
    return float(start["base_s"]) + shape.weight_bytes(weights) / 1e9 / float(start["gb_per_s"]) / gpus


def _service_s(
    shape: ModelShape,
    gpu: ServingGpu,
    batch: int,
    prompt_tokens: float,
    input_tokens: float,
    output_tokens: float,
    weights: Weights,
    gpus: int,
) -> float:
    """Seconds that one request takes while `batch` are served together: its steps, and everybody's prompts."""
    fit = serving_facts()["fit"]
    bandwidth = gpus * gpu.bandwidth_gb_s * 1e9 * fit["bandwidth_efficiency"]
    compute = gpus * gpu.peak_flops(weights) * fit["compute_efficiency"]
    context = input_tokens + output_tokens / 2
    # Products read the weights while they multiply; attention reads keys and values in kernels of its own.
    products_s = max(shape.weight_bytes(weights) / bandwidth, batch * shape.flops_per_token / compute)
    step_s = products_s + batch * shape.kv_bytes_per_token(weights) * context / bandwidth
    return output_tokens * step_s + batch * prompt_tokens * shape.flops_per_token / compute


def _split_share(gpu: ServingGpu, gpus: int) -> float:
    """Return the share of speed left when GPUs exchange activations beyond what the fit has seen."""
    links = serving_facts()["links"]
    link = links["nvlink" if gpu.link_gb_s >= links["nvlink_from_gb_per_s"] else "pcie"]
    return float(link["share_per_doubling"]) ** max(0.0, math.log2(gpus / link["fitted_gpus"]))


def _memory_batch(shape: ModelShape, gpu: ServingGpu, tokens: float, weights: Weights, gpus: int) -> int:
    free = gpu.usable_bytes * gpus - shape.weight_bytes(weights) - 2e9
    batch = int(min(_LARGEST_BATCH, free / (shape.kv_bytes_per_token(weights) * tokens)))
    if batch < 1:
        ways = (
            f"a larger GPU or gpus_per_replica={gpus * 2}"
            if weights == "int4"
            else f"a larger GPU, gpus_per_replica={gpus * 2}, or weights='int4'"
        )
        need_gb = (shape.weight_bytes(weights) + 2e9) / 1e9
        raise SpecError(
            f"{shape.name} in {weights} needs {need_gb:.0f} GB and room for {tokens:.0f} tokens a request; "
            f"{gpus}x{gpu.name} has "
            f"{gpu.usable_bytes * gpus / 1e9:.0f} GB to use. Choose {ways}"
        )
    return batch


def _placement(
    shape: ModelShape, gpu: ServingGpu, tokens: float, weights: Weights | None, gpus: int | None
) -> tuple[Weights, int]:
    """The first pair that fits, the fewest GPUs first. Raises what the last pair raised."""
    options: tuple[Weights, ...] = (
        (weights,) if weights else (("fp8", "int4") if gpu.fp8 is not None else ("bf16", "int4"))
    )
    problem: SpecError | None = None
    for split in (gpus,) if gpus else (1, 2, 4, 8):
        for option in options:
            try:
                _memory_batch(shape, gpu, tokens, option, split)
            except SpecError as error:
                problem = error
            else:
                return option, split
    assert problem is not None
    raise problem


def _largest_batch_within(service_s: Any, budget_s: float, largest: int) -> int:
    """Service time grows with the batch: bisect. At least 1, whether or not that meets the budget."""
    low, high = 1, largest
    while low < high:
        middle = math.ceil((low + high) / 2)
        low, high = (middle, high) if service_s(middle) <= budget_s else (low, middle - 1)
    return low
