"""The model of peak memory, and its verdict."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_figures import load

from ftsdk.cost.facts.shapes import (
    Shape,
    active_billion_in_name,
    billion_in_name,
    known_shapes,
    shape_from_size,
    shape_named,
)
from ftsdk.cost.training.memory import TrainingMemory, adapter_parameters, largest_batch, peak_memory, verdict

QWEN = TrainingMemory(longest_tokens=2048, tuning="lora", recomputes=True, rank=64, double_quantization=False)


def shape(name: str):
    found = shape_named(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("model", "memory", "fitted_gb", "printed_gb"),
    [
        ("Qwen-7B", QWEN, 23.7, 23.8),
        ("Qwen-7B", dataclasses.replace(QWEN, tuning="qlora"), 14.2, 13.9),
        ("Qwen-14B", dataclasses.replace(QWEN, longest_tokens=4096), 42.1, 42.5),
    ],
)
def test_published_peaks_are_met(model: str, memory: TrainingMemory, fitted_gb: float, printed_gb: float) -> None:
    peak = peak_memory(memory, shape(model))
    assert peak.likely / 1e9 == pytest.approx(fitted_gb, abs=0.15)
    assert peak.low <= printed_gb * 1e9 <= peak.high


def test_adapters_have_the_published_number_of_parameters() -> None:
    assert adapter_parameters(shape("Qwen-7B"), 64) / 1e6 == pytest.approx(143.1, abs=0.1)
    assert adapter_parameters(shape("Qwen-14B"), 64) / 1e6 == pytest.approx(223.2, abs=0.1)


def test_errors_on_published_runs_stay_under_what_is_promised_and_none_is_said_to_fit_that_did_not() -> None:
    bench, rows_of = load("bench_estimates"), load("training_rows")
    rows = [row for row in rows_of.read_rows() if row.peak_memory_gb and row.knows_lengths]
    qwen = [bench.predicted_gb(row) / row.peak_memory_gb - 1 for row in rows if row.is_core and "Qwen" in row.source]
    assert len(qwen) == 32
    assert bench.mean_error(qwen) <= 0.06
    assert bench.wrongly_fitting(rows) == []


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
