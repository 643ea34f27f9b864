"""The serving model, against its published test vectors and measurements."""

from __future__ import annotations

import itertools
import json
import math
import statistics
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.cost.facts.devices import find_device
from ftsdk.cost.serving.capacity import Latency, capacity, ceiling_tokens_per_s, tokens_per_s_at
from ftsdk.cost.serving.gpus import ServingGpu, known_gpus, serving_gpu
from ftsdk.cost.serving.placements import placements
from ftsdk.cost.serving.shapes import ModelShape, Weights, model_shape
from ftsdk.errors import SpecError

LLAMA_8B = "meta-llama/Llama-3.1-8B-Instruct"
LLAMA_70B = "meta-llama/Llama-3.3-70B-Instruct"
MISTRAL = "mistralai/Mistral-7B-Instruct-v0.3"
# GPU, GPUs, tokens in, tokens out, output tokens per second. Source, read 2025-09:
# https://github.com/NVIDIA/TensorRT-LLM/blob/00f37686aa854010d68bcbd0f4ab000221541ca6/docs/source/performance/perf-overview.md
PUBLISHED = {
    LLAMA_8B: (
        ("H100", 1, 128, 128, 28312),
        ("H100", 1, 128, 2048, 22714),
        ("H100", 1, 500, 2000, 17660),
        ("H100", 1, 1000, 1000, 15220),
        ("H100", 1, 2048, 128, 3450),
        ("H100", 1, 2048, 2048, 9305),
        ("H100", 1, 5000, 500, 3459),
        ("H100", 1, 20000, 2000, 1351),
        ("H200", 1, 128, 2048, 26221),
        ("H200", 1, 128, 4096, 18027),
        ("H200", 1, 500, 2000, 20770),
        ("H200", 1, 1000, 1000, 17744),
        ("H200", 1, 1000, 2000, 16828),
        ("H200", 1, 2048, 128, 3538),
        ("H200", 1, 2048, 2048, 12194),
        ("H200", 1, 5000, 500, 3902),
    ),
    LLAMA_70B: (
        ("H100", 2, 128, 2048, 6651),
        ("H100", 2, 128, 4096, 4199),
        ("H100", 2, 500, 2000, 5222),
        ("H100", 2, 1000, 1000, 4205),
        ("H100", 2, 1000, 2000, 4146),
        ("H100", 2, 2048, 2048, 3082),
        ("H100", 2, 5000, 500, 898),
        ("H100", 2, 20000, 2000, 437),
        ("H200", 1, 128, 128, 3803),
        ("H200", 1, 128, 2048, 4336),
        ("H200", 1, 128, 4096, 2872),
        ("H200", 1, 1000, 1000, 2909),
        ("H200", 1, 1000, 2000, 2994),
        ("H200", 1, 2048, 2048, 2003),
        ("H200", 1, 5000, 500, 566),
    ),
}


@pytest.mark.parametrize(
    ("model", "gpus", "tokens_in", "tokens_out", "expected", "published"),
    [
        (LLAMA_8B, 1, 1000, 1000, 14_301, 15_220),
        (LLAMA_8B, 1, 2048, 128, 3_344, 3_450),
        (LLAMA_70B, 2, 1000, 1000, 5_264, 4_205),
    ],
)
def test_the_ceiling_agrees_with_its_test_vectors(
    model: str, gpus: int, tokens_in: int, tokens_out: int, expected: int, published: int
) -> None:
    found = ceiling_tokens_per_s(
        model_shape(model), serving_gpu("H100"), input_tokens=tokens_in, output_tokens=tokens_out, gpus=gpus
    )
    assert found == pytest.approx(expected, rel=0.002)
    assert found == pytest.approx(published, rel=0.26)


def test_the_ceiling_is_within_seven_percent_of_published_fp8_rows() -> None:
    errors = [
        abs(
            ceiling_tokens_per_s(
                model_shape(model), serving_gpu(gpu), input_tokens=given, output_tokens=made, gpus=gpus
            )
            / measured
            - 1
        )
        for model, rows in PUBLISHED.items()
        for gpu, gpus, given, made, measured in rows
    ]
    assert len(errors) == 31
    assert statistics.mean(errors) < 0.07
    assert statistics.quantiles(errors, n=10, method="inclusive")[-1] < 0.15
    assert max(errors) < 0.26


@pytest.mark.parametrize(
    ("gpu", "weights", "at_a_time", "tokens_in", "tokens_out", "measured"),
    [("A100-40GB", "bf16", 1, 1024, 128, 75), ("A100-40GB", "bf16", 8, 1024, 128, 495)],
)
def test_another_engine_and_gpu_are_within_28_percent(
    gpu: str, weights: Weights, at_a_time: int, tokens_in: int, tokens_out: int, measured: int
) -> None:
    # vLLM 0.23 with Llama-3.1-8B, closed loop, 2026: neither the engine nor the GPU was in the fit.
    found = tokens_per_s_at(
        model_shape(LLAMA_8B),
        serving_gpu(gpu),
        at_a_time,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        weights=weights,
    )
    assert found == pytest.approx(measured, rel=0.28)


def test_a_tighter_target_never_promises_more() -> None:
    for gpu in ("L4", "RTX4090", "A100-80GB", "H100"):
        promised = [
            capacity(
                model_shape(MISTRAL), serving_gpu(gpu), input_tokens=600, output_tokens=100, latency=latency
            ).requests_per_s
            for latency in ("offline", "server", "interactive")
        ]
        assert promised == sorted(promised, reverse=True)
        assert promised[-1] < promised[0]


def test_a_promise_is_below_the_ceiling_and_its_answers_are_in_time() -> None:
    found = capacity(model_shape(MISTRAL), serving_gpu("L4"), input_tokens=600, output_tokens=15)
    assert found.requests_per_s < found.ceiling_requests_per_s
    assert found.target_s is not None
    assert found.service_s * 1.5 <= found.target_s
    assert found.is_target_met


def test_a_gpu_that_is_too_slow_says_so() -> None:
    found = capacity(
        model_shape(LLAMA_70B), serving_gpu("A100-80GB"), input_tokens=20_000, output_tokens=10, latency="interactive"
    )
    assert not found.is_target_met


def test_four_bit_weights_fit_where_sixteen_do_not() -> None:
    shape, gpu = model_shape("Qwen/Qwen2.5-14B-Instruct"), serving_gpu("A10G")
    assert capacity(shape, gpu, input_tokens=500, output_tokens=100).weights == "int4"
    with pytest.raises(SpecError, match="needs 33 GB"):
        capacity(shape, gpu, input_tokens=500, output_tokens=100, weights="bf16", gpus=1)


def test_a_large_model_is_split_over_the_fewest_gpus_into_which_it_fits() -> None:
    assert (
        capacity(
            model_shape(LLAMA_70B), serving_gpu("H100"), input_tokens=500, output_tokens=100, weights="bf16"
        ).gpus_per_replica
        == 4
    )


def test_unmerged_adapters_cost_a_sixth() -> None:
    merged = capacity(model_shape(MISTRAL), serving_gpu("L4"), input_tokens=600, output_tokens=15, latency="offline")
    adapters = capacity(
        model_shape(MISTRAL), serving_gpu("L4"), input_tokens=600, output_tokens=15, latency="offline", is_adapter=True
    )
    assert adapters.requests_per_s / merged.requests_per_s == pytest.approx(0.84, abs=0.01)


def test_a_cached_prefix_leaves_room_for_more_requests() -> None:
    shape, gpu = model_shape(MISTRAL), serving_gpu("L4")
    cold = capacity(shape, gpu, input_tokens=1300, output_tokens=45)
    warm = capacity(shape, gpu, input_tokens=1300, output_tokens=45, cached_input_share=0.8)
    assert warm.requests_per_s > 1.5 * cold.requests_per_s


@settings(max_examples=60, deadline=None)
@given(st.floats(1, 8000), st.floats(1, 2000), st.sampled_from(["L4", "A100-80GB", "H100", "H200"]))
def test_longer_prompts_and_answers_never_raise_what_a_gpu_can_take(
    tokens_in: float, tokens_out: float, gpu: str
) -> None:
    shape = model_shape(MISTRAL)

    def promised(a: float, b: float) -> float:
        return capacity(
            shape, serving_gpu(gpu), input_tokens=a, output_tokens=b, latency="offline"
        ).ceiling_requests_per_s

    before = promised(tokens_in, tokens_out)
    assert math.isfinite(before)
    assert before > 0
    assert promised(tokens_in * 1.5, tokens_out) <= before * 1.001
    assert promised(tokens_in, tokens_out * 1.5) <= before * 1.001


@settings(max_examples=40, deadline=None)
@given(
    tokens_in=st.floats(1, 8000),
    tokens_out=st.floats(1, 2000),
    weights=st.sampled_from(["bf16", "fp8", "fp4", "int4"]),
    gpus=st.sampled_from([1, 2, 4, 8]),
    latency=st.sampled_from(["offline", "server", "interactive"]),
    model=st.sampled_from([MISTRAL, LLAMA_70B]),
)
def test_a_card_with_more_of_everything_never_serves_less(
    tokens_in: float, tokens_out: float, weights: Weights, gpus: int, latency: Latency, model: str
) -> None:
    def promised(gpu: ServingGpu) -> tuple[float, float]:
        try:
            found = capacity(
                model_shape(model),
                gpu,
                input_tokens=tokens_in,
                output_tokens=tokens_out,
                weights=weights,
                gpus=gpus,
                latency=latency,
            )
        except SpecError:  # it doesn't fit
            return 0.0, 0.0
        return found.requests_per_s, found.ceiling_requests_per_s

    cards = {name: serving_gpu(name) for name in known_gpus()}
    found = {name: promised(card) for name, card in cards.items()}
    less: list[tuple[str, str]] = []
    for (a, lesser), (b, greater) in itertools.permutations(cards.items(), 2):
        has_more = all(
            (getattr(greater, line) or greater.bf16) >= (getattr(lesser, line) or lesser.bf16)
            for line in ("memory_gib", "bandwidth_gb_s", "link_gb_s", "bf16", "fp8")
        )
        if has_more and any(more < fewer * (1 - 1e-9) for more, fewer in zip(found[b], found[a], strict=True)):
            less.append((a, b))
    assert less == []


def test_an_unknown_model_or_gpu_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SpecError, match="did you mean 'mistralai/Mistral-7B-Instruct-v0"):
        model_shape("mistralai/Mistral-7B-Instruct-v0.2")
    with pytest.raises(SpecError, match="did you mean 'L40S'"):
        serving_gpu("L40")
    with pytest.raises(SpecError, match=r"Or give SelfHosted\(shape="):
        model_shape("./not-a-folder")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def config_of_mistral(**changes: int) -> str:
    sizes = {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "vocab_size": 32768,
    }
    return json.dumps({**sizes, **changes})


def test_the_shape_of_a_model_in_a_folder_is_read_from_its_files(model_of_headers: Path) -> None:
    (model_of_headers / "config.json").write_text(config_of_mistral(), encoding="utf-8")
    header = json.dumps(
        {"w": {"dtype": "BF16", "shape": [7_248, 1_000_000], "data_offsets": [0, 14_496_000_000]}}
    ).encode()
    with (model_of_headers / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 14_496_000_000)  # sparse: it takes no room on the disk
    found = model_shape(str(model_of_headers))
    assert found.params_b == pytest.approx(7.248)
    assert (found.layers, found.kv_heads, found.head_dim) == (32, 8, 128)


def test_a_model_with_only_its_config_in_the_cache_is_counted_from_it(hub_cache: Path) -> None:
    def cached(name: str, config: str) -> None:
        snapshot = hub_cache / f"models--{name.replace('/', '--')}" / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text(config, encoding="utf-8")
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs" / "main").write_text("abc", encoding="utf-8")

    cached("acme/support-model", config_of_mistral())
    found = model_shape("acme/support-model")
    assert found.params_b == pytest.approx(7.25, rel=0.01)
    assert (found.layers, found.kv_heads, found.head_dim) == (32, 8, 128)
    cached("acme/experts-47B", config_of_mistral())
    with pytest.raises(SpecError, match="shape of model 'acme/experts-47B' isn't known"):
        model_shape("acme/experts-47B")  # one of its experts is what the config tells of


def test_a_size_in_a_name_is_no_shape_to_serve() -> None:
    with pytest.raises(SpecError, match=r"isn't known.*shape=ModelShape"):
        model_shape("acme/unheard-of-7B")


def test_what_training_and_serving_know_of_a_gpu_is_one_row() -> None:
    gpu, device = serving_gpu("RTX4090"), find_device("NVIDIA GeForce RTX 4090")
    assert (gpu.memory_gib, gpu.bandwidth_gb_s, gpu.bf16) == (
        device.memory_gib,
        device.bandwidth_gb_per_s,
        device.peak_tflops,
    )
    assert "T4" not in known_gpus(), "it has no bfloat16"
    assert {"B300", "RTX5090", "RTX-PRO-6000"} <= known_gpus()


def test_fp4_weights_take_half_the_memory_of_fp8_and_are_no_slower() -> None:
    shape, gpu = model_shape(LLAMA_70B), serving_gpu("B200")
    assert shape.weight_bytes("fp4") == pytest.approx(0.5625 * shape.weight_bytes("fp8"))
    fp8, fp4 = (
        capacity(shape, gpu, input_tokens=1000, output_tokens=100, weights=weights, gpus=1)
        for weights in ("fp8", "fp4")
    )
    assert fp4.requests_per_s >= fp8.requests_per_s


def test_a_shape_can_be_given_for_a_mixture_of_experts() -> None:
    dense = ModelShape(name="d", params_b=46.7, layers=32, kv_heads=8, head_dim=128)
    sparse = ModelShape(name="s", params_b=46.7, active_params_b=12.9, layers=32, kv_heads=8, head_dim=128)
    promised = [
        capacity(shape, serving_gpu("H100"), input_tokens=1000, output_tokens=100).requests_per_s
        for shape in (dense, sparse)
    ]
    assert promised[1] > 2 * promised[0]


def test_a_model_that_is_in_int4_already_is_not_told_to_take_int4() -> None:
    with pytest.raises(SpecError) as caught:
        capacity(
            model_shape("meta-llama/Llama-3.1-405B-Instruct"), serving_gpu("L4"), input_tokens=600, output_tokens=15
        )
    assert "in int4 needs 228 GB" in str(caught.value)
    assert str(caught.value).endswith("Choose a larger GPU or gpus_per_replica=16")
    with pytest.raises(SpecError, match="weights='int4'"):
        capacity(
            model_shape("meta-llama/Llama-3.1-405B-Instruct"),
            serving_gpu("L4"),
            input_tokens=600,
            output_tokens=15,
            weights="bf16",
        )


@pytest.mark.parametrize(
    ("gpu", "gpus", "share"), [("H100", 2, 1.0), ("H100", 4, 0.9), ("L4", 2, 0.8), ("L4", 4, 0.64)]
)
def test_gpus_that_exchange_activations_lose_speed(gpu: str, gpus: int, share: float) -> None:
    found = capacity(
        model_shape(MISTRAL), serving_gpu(gpu), input_tokens=600, output_tokens=15, gpus=gpus, latency="offline"
    )
    ideal = (
        tokens_per_s_at(
            model_shape(MISTRAL), serving_gpu(gpu), found.slots, input_tokens=600, output_tokens=15, gpus=gpus
        )
        / 15
    )
    assert found.ceiling_requests_per_s == pytest.approx(share * ideal)


def test_only_placements_that_are_in_time_are_offered() -> None:
    asked: dict[str, Any] = {"input_tokens": 8000, "output_tokens": 300}
    found = placements(model_shape(MISTRAL), serving_gpu("L4"), latency="interactive", **asked)
    assert [one.gpus_per_replica for one in found] == [2, 4, 8]
    late = placements(model_shape(LLAMA_70B), serving_gpu("L4"), latency="interactive", **asked)
    assert [one.is_target_met for one in late] == [False]
