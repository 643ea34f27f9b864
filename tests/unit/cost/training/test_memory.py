"""The model of peak memory, and its verdict."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_figures import load

from ftsdk import FullFineTune, LoRA, QLoRA, SpecError
from ftsdk.cost import Recipe, predict_training
from ftsdk.cost.facts.shapes import (
    Shape,
    active_billion_in_name,
    billion_in_name,
    known_shapes,
    shape_from_size,
    shape_named,
)
from ftsdk.cost.training.memory import TrainingMemory, adapter_parameters, largest_batch, peak_memory, verdict
from ftsdk.spec import Tuning

QWEN = TrainingMemory(
    longest_tokens=2048,
    tuning="lora",
    recomputes=True,
    rank=64,
    input_width=4 * 4096 + 11008,
    has_dropout=True,
    casts_inputs=True,
    double_quantization=False,
)
GPTQ = dataclasses.replace(
    QWEN, tuning="qlora", frozen_format="int4", dequantises_layers=True, casts_inputs=False, loss="half"
)


def shape(name: str):
    found = shape_named(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("model", "memory", "fitted_gb", "printed_gb"),
    [
        ("Qwen-7B", QWEN, 24.6, 23.8),
        ("Qwen-7B", GPTQ, 13.5, 13.9),
        ("Qwen-14B", dataclasses.replace(QWEN, longest_tokens=4096), 44.0, 42.5),
    ],
)
def test_published_peaks_are_met(model: str, memory: TrainingMemory, fitted_gb: float, printed_gb: float) -> None:
    peak = peak_memory(memory, shape(model))
    assert peak.likely / 1e9 == pytest.approx(fitted_gb, abs=0.15)
    assert peak.low <= printed_gb * 1e9 <= peak.high


def test_adapters_have_the_published_number_of_parameters() -> None:
    assert adapter_parameters(shape("Qwen-7B"), 64) / 1e6 == pytest.approx(143.1, abs=0.1)
    assert adapter_parameters(shape("Qwen-14B"), 64) / 1e6 == pytest.approx(223.2, abs=0.1)


def test_errors_on_published_peaks_stay_under_what_is_promised() -> None:
    bench, fits = load("bench_estimates"), load("fit_memory")
    rows = fits.with_memory(load("training_rows").read_rows())
    off = [fits.predicted_gb(row) / row.peak_memory_gb - 1 for row in rows]
    core = [one for row, one in zip(rows, off, strict=True) if row.is_core and "Qwen" in row.source]
    assert (len(rows), len(core)) == (65, 32)
    assert bench.mean_error(off) <= 0.055
    assert bench.mean_error(core) <= 0.04


def test_intervals_hold_the_peaks_of_sources_left_out() -> None:
    fits = load("fit_memory")
    found = fits.leaving_one_source_out(fits.with_memory(load("training_rows").read_rows()))
    assert sum(is_inside for _, _, is_inside in found) / len(found) >= 0.8


def test_no_run_is_said_to_fit_that_did_not() -> None:
    bench, fits, rows_of = load("bench_estimates"), load("fit_memory"), load("training_rows")
    assert bench.wrongly_fitting(fits.with_memory(rows_of.read_rows())) == []
    assert bench.wrongly_fitting(fits.with_memory(rows_of.read_rows(is_fitted=False)), as_ours=True) == []
    assert len(rows_of.read_rows(rows_of.OUT_OF_MEMORY, is_fitted=False)) == 4
    assert bench.wrongly_fitting_in_a_card() == []


def test_our_own_peaks_are_met_by_what_their_software_held() -> None:
    fits = load("fit_memory")
    rows = fits.with_memory(load("training_rows").read_rows(is_fitted=False))
    off = {
        (row.source, row.step.tuning): fits.predicted_gb(row) / row.peak_memory_gb - 1
        for row in rows
        if row.model.startswith("meta-llama/Llama-3.1-8B")
    }
    assert len(off) == 3
    assert max(map(abs, off.values())) <= 0.06


def test_the_packaged_constants_of_memory_are_those_of_the_fit() -> None:
    fits = load("fit_memory")
    fitted = fits.fit(fits.with_memory(load("training_rows").read_rows()))
    for name in fits.PRIORS:
        assert getattr(fits.memory_constants(), name) == pytest.approx(getattr(fitted, name), rel=0.01), name


@pytest.mark.parametrize("gpu", ["L4", "RTX4090"])
def test_mistral_in_4_bits_at_4_rows_of_4096_is_not_said_to_fit_24_gib(gpu: str) -> None:
    found, upcast = (
        predict_training(
            model="mistralai/Mistral-7B-v0.1",
            gpu=gpu,
            tokens_per_row=4096,
            rows_at_a_time=4,
            tuning=QLoRA(),
            recipe=recipe,
        )
        for recipe in (Recipe(), Recipe(upcasts=True))
    )
    assert found.verdict == "tight"
    assert upcast.verdict == "no"
    assert upcast.peak_gb.low <= 26.4 <= upcast.peak_gb.high


def test_a_recipe_changes_what_its_number_formats_hold() -> None:
    def peak_gb(tuning: Tuning, recipe: Recipe) -> float:
        found = predict_training(
            model="meta-llama/Llama-3.1-8B-Instruct", gpu="H100", tokens_per_row=512, tuning=tuning, recipe=recipe
        )
        return found.peak_gb.likely

    whole, bf16, bytewise, fused = (
        peak_gb(FullFineTune(), recipe)
        for recipe in (
            Recipe(),
            Recipe(weights="bf16"),
            Recipe(weights="bf16", optimizer="adam8bit"),
            Recipe(weights="bf16", optimizer="adam_fused"),
        )
    )
    # Weights, gradients, two moments and the copy of the step: 20 bytes a parameter, 10, 6, and 8 without the copy.
    assert whole - bf16 == pytest.approx(8.03 * 10, rel=0.02)
    assert bf16 - bytewise == pytest.approx(8.03 * 4, rel=0.02)
    assert bf16 - fused == pytest.approx(8.03 * 2, rel=0.1)
    assert peak_gb(LoRA(), Recipe()) - peak_gb(LoRA(), Recipe(weights="fp8")) == pytest.approx(6.9, rel=0.05)
    with pytest.raises(SpecError, match="full tuning moves weights"):
        peak_gb(FullFineTune(), Recipe(weights="nvfp4"))


MEMORIES = st.builds(
    TrainingMemory,
    longest_tokens=st.floats(1, 65536),
    tuning=st.sampled_from(["lora", "qlora", "dora", "full"]),
    recomputes=st.booleans(),
    rank=st.integers(1, 256),
)


@given(memory=MEMORIES, billion=st.floats(0.1, 100), more=st.floats(1, 8))
def test_longer_rows_never_need_less_memory(memory: TrainingMemory, billion: float, more: float) -> None:
    model = shape_from_size("model", billion)
    here = peak_memory(memory, model)
    assert here.low < here.likely < here.high
    assert (
        peak_memory(dataclasses.replace(memory, longest_tokens=memory.longest_tokens * more), model).likely
        >= here.likely
    )


@given(memory=MEMORIES, billion=st.floats(0.1, 100), gib=st.floats(1, 200), row=st.floats(16, 4096))
def test_the_largest_batch_fits_and_one_more_row_does_not(
    memory: TrainingMemory, billion: float, gib: float, row: float
) -> None:
    model = shape_from_size("model", billion)
    most = largest_batch(memory, model, gib, row_tokens=row, limit=4096)

    def fits(rows: int) -> bool:
        return verdict(peak_memory(dataclasses.replace(memory, longest_tokens=rows * row), model), gib) == "fits"

    assert most == 0 or fits(most)
    assert most == 4096 or not fits(most + 1)


def test_the_verdict_leaves_room_to_be_wrong() -> None:
    peak = peak_memory(QWEN, shape("Qwen-7B"))
    needed_gib = peak.likely / 2**30
    assert verdict(peak, needed_gib * 0.99) == "no"
    assert verdict(peak, needed_gib * 1.05) == "tight"
    assert verdict(peak, needed_gib * 1.6) == "fits"


def test_sizes_are_read_from_names() -> None:
    assert billion_in_name("Mistral-7B-Instruct-v0.3") == 7
    assert billion_in_name("SmolLM2-135M-Instruct") == pytest.approx(0.135)
    assert billion_in_name("gpt2") is None
    assert billion_in_name("Qwen3.5-35B-A3B") == 35
    assert active_billion_in_name("Qwen3.5-35B-A3B") == 3
    experts = shape_from_size("Qwen3.5-35B-A3B", 35)
    assert (experts.parameters, experts.matmul_parameters) == (35e9, 3e9)


def test_a_base_model_and_its_instruction_tuned_sibling_have_one_shape() -> None:
    assert shape_named("mistralai/Mistral-7B-v0.3") == shape_named("mistralai/Mistral-7B-Instruct-v0.3")
    assert shape_named("acme/unheard-of-7B") is None


# Where heads are wider together than the model: (heads x head_dim).
QUERY_WIDTHS = {"Qwen/Qwen3-0.6B": 2048, "Qwen/Qwen3-4B": 4096, "Qwen/Qwen3-32B": 8192}


@pytest.mark.parametrize("found", [found for found in known_shapes() if found.kv_heads], ids=lambda found: found.name)
def test_the_sizes_of_the_table_make_the_parameters_that_it_states(found: Shape) -> None:
    queries = QUERY_WIDTHS.get(found.name, found.width)
    layer = 3 * found.width * found.inner + 2 * found.width * (queries + found.key_width)
    assert found.layers * layer + found.embedding_parameters == pytest.approx(found.parameters, rel=0.004)
