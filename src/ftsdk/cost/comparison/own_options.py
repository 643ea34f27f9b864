"""Your own model as options of a crossover.

GPUs that run all month, a dedicated endpoint, and GPUs that stop when idle.
"""

from __future__ import annotations

from ftsdk.cost.comparison.context_window import context_notes
from ftsdk.cost.comparison.inputs import Inputs
from ftsdk.cost.comparison.options import AlwaysOn, PerToken, Replica, ScaleToZero
from ftsdk.cost.comparison.sourced_price import SourcedPrice, gpu_hour, serverless_gpu_hour
from ftsdk.cost.comparison.workload import Dedicated, Serverless
from ftsdk.cost.serving.capacity import Capacity, cold_start_s
from ftsdk.cost.serving.gpus import serving_gpu
from ftsdk.cost.serving.placements import placements
from ftsdk.cost.serving.shapes import ModelShape, model_shape
from ftsdk.errors import SpecError

__all__ = ["dedicated_option", "self_hosted_option", "serverless_option"]

_UNKNOWN_COLD_START_S = 60.0


def self_hosted_option(inputs: Inputs, price: SourcedPrice, api: PerToken) -> tuple[AlwaysOn, tuple[str, ...]]:
    """Return rented GPUs that run all month, and notes on their price.

    Raises:
        SpecError: The model fits on no such GPU.
    """
    own, notes = inputs.self_hosted, price.notes
    if inputs.book.find(own.provider, "cpu/physical-core") is not None:
        notes += (f"{own.provider} bills CPU and memory beside the GPU; the self-hosted line has the GPU only",)
    workload = inputs.workload
    notes += context_notes(
        own.model,
        _window(inputs),
        workload.input_tokens + workload.output_tokens + own.reasoning_tokens,
        advice="serve another model; if it is served with a longer one, set SelfHosted(context_tokens=...)",
    )
    found = _capacities(inputs, own.gpu, own.gpus_per_replica, is_own_gpu=True, is_adapter=own.adapters > 1)
    option = AlwaysOn(
        name="self-hosted",
        label=f"{_short(own.model)} on {own.provider} {own.gpu}",
        placements=tuple(_replica(one, price) for one in found),
        api=api,
        other_usd=float(own.other_usd_per_month),
        replicas=own.replicas,
        spare_replicas=own.spare_replicas,
        adapters=own.adapters,
    )
    return option, notes


def dedicated_option(inputs: Inputs, dedicated: Dedicated, api: PerToken) -> tuple[AlwaysOn, tuple[str, ...]]:
    """Return a managed endpoint of your own, and notes on its price.

    Raises:
        SpecError: It has no price, or the model doesn't fit.
    """
    price = gpu_hour(dedicated.gpu_usd_per_hour, dedicated.gpu, dedicated.provider, inputs.book, offer="endpoint")
    found = _capacities(inputs, dedicated.gpu, None, is_own_gpu=False)
    option = AlwaysOn(
        name="dedicated",
        label=f"{_short(inputs.self_hosted.model)} on a dedicated {dedicated.provider} {dedicated.gpu} endpoint",
        placements=tuple(_replica(one, price) for one in found),
        api=api,
        ops_share=dedicated.ops_share,
        replicas=dedicated.replicas,
    )
    return option, price.notes


def serverless_option(
    inputs: Inputs, serverless: Serverless, api: PerToken
) -> tuple[ScaleToZero | None, tuple[str, ...]]:
    """Return GPUs that stop when idle, and notes on their price.

    None, with the reason as a note, if a default can't be priced.

    Raises:
        SpecError: The provider or the GPU was named, and has no such price, or the model doesn't fit.
    """
    own, book = inputs.self_hosted, inputs.book
    gpu = serverless.gpu or own.gpu
    try:
        price = serverless_gpu_hour(serverless.gpu_usd_per_hour, gpu, serverless.provider, book)
        found = _capacities(inputs, gpu, None, is_own_gpu=gpu == own.gpu)
    except SpecError as error:
        if serverless.model_fields_set & {"gpu", "provider"}:
            raise
        return None, (f"no serverless option: {error}",)
    core, memory = book.find(serverless.provider, "cpu/physical-core"), book.find(serverless.provider, "memory/gib")
    extra = 0.0
    if core is not None and memory is not None:
        extra = 3600 * (serverless.cores * float(core.usd) + serverless.memory_gib * float(memory.usd))
    shape = _shape_if_needed(inputs, serverless)
    option = ScaleToZero(
        name="serverless",
        label=f"{_short(own.model)} on {serverless.provider} {gpu}, stopped when idle",
        placements=tuple(_replica(one, price, cold_start_s=_cold_start_s(serverless, shape, one)) for one in found),
        api=api,
        ops_share=serverless.ops_share,
        idle_window_s=serverless.idle_window_s,
        extra_usd_per_hour=extra,
    )
    return option, price.notes


def _window(inputs: Inputs) -> int | None:
    """Return the context window of the own model in tokens; None where nothing here has it."""
    own = inputs.self_hosted
    if own.context_tokens is not None:
        return own.context_tokens
    try:
        return (own.shape or model_shape(own.model)).context_tokens
    except SpecError:
        return None


def _capacities(
    inputs: Inputs, gpu: str, gpus: int | None, *, is_own_gpu: bool, is_adapter: bool = False
) -> tuple[Capacity, ...]:
    """Return what one replica can take, by placement; a measurement counts for the GPU on which it was made."""
    own, workload = inputs.self_hosted, inputs.workload
    if is_own_gpu and own.requests_per_s_per_replica is not None:
        return (_measured(inputs, own.requests_per_s_per_replica, gpu, gpus or 1),)
    return placements(
        own.shape or model_shape(own.model),
        serving_gpu(gpu),
        input_tokens=workload.input_tokens,
        output_tokens=workload.output_tokens + own.reasoning_tokens,
        cached_input_share=workload.cached_input_share,
        weights=own.weights,
        gpus=gpus,
        latency=own.latency,
        is_adapter=is_adapter,
    )


def _measured(inputs: Inputs, requests_per_s: float, gpu: str, gpus: int) -> Capacity:
    own = inputs.self_hosted
    return Capacity(
        gpu=gpu,
        gpus_per_replica=gpus,
        weights=own.weights or "bf16",
        latency=own.latency,
        slots=1,
        service_s=1 / requests_per_s,
        alone_s=1 / requests_per_s,
        tpot_ms=1000 / requests_per_s / (inputs.workload.output_tokens + own.reasoning_tokens),
        utilisation=1.0,
        requests_per_s=requests_per_s,
        ceiling_requests_per_s=requests_per_s,
        limited_by="measured",
        is_target_met=True,
        source="given in the call",
        as_of=inputs.book.today,
    )


def _replica(found: Capacity, price: SourcedPrice, *, cold_start_s: float = 0.0) -> Replica:
    return Replica(
        capacity=found, usd_per_gpu_hour=price.usd, source=price.source, as_of=price.as_of, cold_start_s=cold_start_s
    )


def _shape_if_needed(inputs: Inputs, serverless: Serverless) -> ModelShape | None:
    """Return the model's shape; None if it is unknown and nothing depends on it."""
    own = inputs.self_hosted
    try:
        return own.shape or model_shape(own.model)
    except SpecError:
        if serverless.cold_start_s is None and own.requests_per_s_per_replica is None:
            raise
        return None


def _cold_start_s(serverless: Serverless, shape: ModelShape | None, found: Capacity) -> float:
    if serverless.cold_start_s is not None:
        return serverless.cold_start_s
    return _UNKNOWN_COLD_START_S if shape is None else cold_start_s(shape, found.weights, found.gpus_per_replica)


def _short(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2]
