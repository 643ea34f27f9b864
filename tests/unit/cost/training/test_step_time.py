"""The model of training time: against published runs, and what must hold whatever its constants."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_figures import load

from ftsdk import SpecError
from ftsdk.cost.facts.devices import Device, cpu_device, find_device, has_speed, known_devices
from ftsdk.cost.facts.shapes import known_shapes, shape_from_size, shape_named
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.pricebook.gpu_prices import gpu_prices
from ftsdk.cost.training.ranges import Z80
from ftsdk.cost.training.step_time import MicroStep, Tuning, spread_above, spread_of, step_time

LORA = MicroStep(tokens=2048, row_tokens=2048, tuning="lora", recomputes=True)


def shape(name: str):
    found = shape_named(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("model", "device", "step", "tokens_per_s"),
    [
        ("Qwen-7B", "A100-80GB", LORA, 3151),
        ("Qwen-7B", "A100-80GB", dataclasses.replace(LORA, tokens=256, row_tokens=256), 1707),
        ("Qwen-7B", "A100-80GB", dataclasses.replace(LORA, tuning="qlora"), 2341),
        (
            "Llama3 8B",
            "H100",
            MicroStep(tokens=8192, row_tokens=4096, tuning="lora", recomputes=False, is_compiled=True),
            12473,
        ),
        ("Llama-2 7B", "RTX4090", dataclasses.replace(LORA, tokens=8192), 2400),
    ],
)
def test_published_speeds_are_met_within_15_percent(
    model: str, device: str, step: MicroStep, tokens_per_s: float
) -> None:
    predicted = step.tokens / step_time(step, shape(model), find_device(device)).total_s
    assert predicted == pytest.approx(tokens_per_s, rel=0.15)


def test_errors_on_fitted_runs_stay_under_what_is_promised() -> None:
    fits, bench = load("fit_training"), load("bench_estimates")
    rows = fits.timed(load("training_rows").read_rows())
    fitted = fits.fit(rows)
    errors = [fits.error(row, fitted) for row in rows if row.is_core]
    found = [error for error in errors if error is not None]
    assert len(found) == 44
    assert bench.mean_error(found) <= 0.08


@pytest.mark.slow
def test_errors_on_runs_left_out_stay_under_what_is_promised() -> None:
    fits, rows_of = load("fit_training"), load("training_rows")
    bench = load("bench_estimates")
    rows = fits.timed(rows_of.read_rows())
    core = [row.is_core for row in rows]
    fitted = fits.fit(rows)
    row_out = fits.leaving_one_row_out(rows, fitted)
    source_out = fits.leaving_one_source_out(rows)

    def of_core(errors: list[float | None]) -> list[float]:
        return [error for error, is_core in zip(errors, core, strict=True) if is_core and error is not None]

    def covered(errors: list[float | None], known: str, *, only_core: bool) -> tuple[float, float]:
        kept = [
            (row, error) for row, error, is_core in zip(rows, errors, core, strict=True) if is_core or not only_core
        ]
        return bench.covered([row for row, _ in kept], [error for _, error in kept], known)

    assert bench.mean_error(of_core(row_out)) <= 0.095
    assert bench.mean_error(of_core(source_out)) <= 0.25
    assert bench.mean_error([error for error in source_out if error is not None]) <= 0.25
    for only_core in (True, False):
        assert covered(row_out, "same_stack", only_core=only_core)[0] >= 0.8
        assert covered(source_out, "new_stack", only_core=only_core)[0] >= 0.8
    assert covered(row_out, "same_stack", only_core=True)[1] <= 1.4
    assert covered(source_out, "new_stack", only_core=False)[1] <= 2.5


def test_the_packaged_constants_are_those_of_the_fit() -> None:
    fits = load("fit_training")
    rows = fits.timed(load("training_rows").read_rows())
    fitted = fits.fit(rows)
    for name, value in fitted.items():
        if name.startswith("share:"):
            packaged = next(device.efficiency for device in known_devices() if device.family == name[6:])
        elif name.startswith("slowdown:"):
            packaged = next(shape.slowdown for shape in known_shapes() if shape.name == name[9:])
        else:
            packaged = getattr(fits.time_constants(), name)
        assert packaged == pytest.approx(value, rel=0.01), name


@pytest.mark.parametrize(
    "model", ["meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-14B-Instruct", "google/gemma-4-31B-it"]
)
def test_a_newer_card_is_faster_by_about_what_its_vendor_measured(model: str) -> None:
    shape = shape_named(model)
    assert shape is not None
    step = MicroStep(tokens=8192, row_tokens=2048, tuning="lora", recomputes=True)
    hopper, blackwell = (step_time(step, shape, find_device(name)).total_s for name in ("H100", "B200"))
    # Megatron-Bridge's performance summary: 30,624 tokens/s against 14,451.
    assert hopper / blackwell == pytest.approx(2.12, rel=0.25)


STEPS = st.builds(
    MicroStep,
    tokens=st.floats(1, 1e5),
    row_tokens=st.floats(1, 8192),
    tuning=st.sampled_from(["lora", "qlora", "dora", "full"]),
    recomputes=st.booleans(),
    is_compiled=st.booleans(),
    accumulation=st.integers(1, 64),
)
DEVICES = st.sampled_from([device for device in known_devices() if has_speed(device.name)])
BILLIONS = st.floats(0.1, 100)


@given(step=STEPS, device=DEVICES, billion=BILLIONS, more=st.floats(1, 10))
def test_more_tokens_or_a_larger_model_never_take_less_time(
    step: MicroStep, device: Device, billion: float, more: float
) -> None:
    small = shape_from_size("model", billion)
    here = step_time(step, small, device).total_s
    assert 0 < here < math.inf
    assert step_time(dataclasses.replace(step, tokens=step.tokens * more), small, device).total_s >= here
    bigger = dataclasses.replace(
        small, parameters=small.parameters * more, matmul_parameters=small.matmul_parameters * more
    )
    assert step_time(step, bigger, device).total_s >= here


@given(step=STEPS, device=DEVICES, billion=BILLIONS)
def test_recomputing_activations_costs_time_and_compiled_kernels_save_it(
    step: MicroStep, device: Device, billion: float
) -> None:
    model = shape_from_size("model", billion)

    def seconds(**changes: bool) -> float:
        return step_time(dataclasses.replace(step, **changes), model, device).total_s

    assert seconds(recomputes=True) > seconds(recomputes=False)
    assert seconds(is_compiled=True) < seconds(is_compiled=False)


@given(step=STEPS, device=DEVICES, billion=BILLIONS)
def test_the_interval_shrinks_with_what_is_known(step: MicroStep, device: Device, billion: float) -> None:
    time = step_time(step, shape_from_size("model", billion), device)
    spreads = [spread_of(step, time, device, known=known) for known in ("same_stack", "new_stack")]
    assert 0 < spreads[0] < spreads[1]


def test_intervals_hold_the_qlora_runs_that_no_constant_explains() -> None:
    rows = [row for row in load("training_rows").read_rows(is_fitted=False) if row.step.tuning == "qlora"]
    assert len(rows) == 3
    for row in rows:
        time = step_time(row.step, row.shape, row.device)
        spread = spread_of(row.step, time, row.device)
        above = spread_above(row.step, row.device, spread)
        assert time.total_s < row.measured_s < time.total_s * math.exp(Z80 * above)
        lora = dataclasses.replace(row.step, tuning="lora")
        assert spread_above(lora, row.device, spread) == spread


def test_a_device_that_no_published_run_is_about_has_a_wider_interval() -> None:
    a100, cpu = find_device("A100-80GB"), cpu_device(cores=8, memory_gib=32)
    t4 = find_device("T4")
    model = shape("Qwen-7B")
    known, unknown = (spread_of(LORA, step_time(LORA, model, device), device) for device in (a100, t4))
    assert unknown > known + 0.1
    assert spread_of(LORA, step_time(LORA, model, cpu), cpu) > known + 0.1


def test_sharding_over_a_slow_link_costs_more_than_over_a_fast_one() -> None:
    model = shape("Llama-2 70B")
    step = dataclasses.replace(LORA, devices=8, is_sharded=True)
    a100 = find_device("A100-80GB")
    slow = dataclasses.replace(a100, link_gb_per_s=32)
    assert step_time(step, model, slow).total_s > 1.5 * step_time(step, model, a100).total_s


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("A100", "A100-80GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("H100", "H100"),
        ("nvidia-h100-80gb", "H100"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L4", "L4"),
        ("Tesla T4", "T4"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA B200", "B200"),
        ("RTX 6000 Ada", "RTX6000Ada"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX6000Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000"),
        ("NVIDIA A40", "A40"),
    ],
)
def test_devices_are_found_by_the_names_that_drivers_and_clouds_use(written: str, found: str) -> None:
    assert find_device(written).name == found


@pytest.mark.parametrize(
    "written",
    ["NVIDIA L40", "RTX A6000", "NVIDIA GeForce RTX 4090 Laptop GPU", "A100X", "A100-64GB", "GeForce RTX 4080"],
)
def test_a_relative_of_a_device_is_not_taken_for_it(written: str) -> None:
    assert not has_speed(written)
    with pytest.raises(SpecError, match="is known"):
        find_device(written)


def test_a_device_without_a_published_peak_has_no_time() -> None:
    unknown = dataclasses.replace(find_device("B300"), peak_tflops=None)
    with pytest.raises(SpecError, match="peak of B300"):
        step_time(LORA, shape("Qwen-7B"), unknown)


SUCCESSORS = [
    ("A100-40GB", "A100-80GB"),
    ("A100-80GB", "H100"),
    ("H100-PCIe", "H100"),
    ("H100", "H200"),
    ("H200", "B200"),
    ("B200", "B300"),
    ("RTX3090", "RTX4090"),
    ("RTX4090", "RTX5090"),
    ("RTX6000Ada", "RTX-PRO-6000"),
    ("A40", "L40S"),
    ("L40S", "RTX-PRO-6000"),
    ("T4", "L4"),
]


@pytest.mark.parametrize(("older", "newer"), SUCCESSORS)
@pytest.mark.parametrize("tuning", ["lora", "qlora", "full"])
def test_every_newer_card_of_a_line_is_faster_at_equal_terms(older: str, newer: str, tuning: Tuning) -> None:
    for model in ("Qwen/Qwen2.5-0.5B-Instruct", "meta-llama/Llama-3.1-8B-Instruct", "google/gemma-4-31B-it"):
        for tokens, row in ((512, 128), (8192, 2048)):
            step = MicroStep(tokens=tokens, row_tokens=row, tuning=tuning, recomputes=True)
            before, after = (step_time(step, shape(model), find_device(name)).total_s for name in (older, newer))
            assert after <= before


def has_more_of_everything(device: Device, other: Device) -> bool:
    """Return whether a card's data sheet has at least as much in every line."""
    return all(
        (getattr(device, name) or 0) >= (getattr(other, name) or 0)
        for name in ("peak_tflops", "bandwidth_gb_per_s", "memory_gib", "link_gb_per_s")
    )


PAIRS = [
    (lesser, greater)
    for lesser, greater in itertools.permutations((d for d in known_devices() if has_speed(d.name)), 2)
    if has_more_of_everything(greater, lesser)
]


@given(step=STEPS, billion=BILLIONS, gpus=st.sampled_from([1, 2, 8]), is_sharded=st.booleans())
def test_a_card_with_more_of_everything_never_trains_slower(
    step: MicroStep, billion: float, gpus: int, is_sharded: bool
) -> None:
    step = dataclasses.replace(step, devices=gpus, is_sharded=is_sharded and gpus > 1)
    model = shape_from_size("model", billion)
    seconds = {device.name: step_time(step, model, device).total_s for pair in PAIRS for device in pair}
    assert ("H100", "B200") in [(lesser.name, greater.name) for lesser, greater in PAIRS]
    slower = [(a.name, b.name) for a, b in PAIRS if seconds[b.name] > seconds[a.name] * (1 + 1e-9)]
    assert slower == []


def test_devices_are_named_as_the_price_book_names_them() -> None:
    sold = {str(price.gpu) for price in gpu_prices(book=PriceBook.load())}
    # A class of GPUs, half a name, and a GPU with a CPU of its own are no devices.
    assert sold - {device.name for device in known_devices()} == {"24GB-class", "48GB-class", "A100", "GB200"}


def test_runs_that_are_held_out_are_our_own_and_are_not_fitted() -> None:
    rows_of = load("training_rows")
    held_out = rows_of.read_rows(is_fitted=False)
    assert len(held_out) == 11
    assert all(row.source.startswith("own measurement") for row in held_out)
    assert not any("own measurement" in row.source for row in rows_of.read_rows())
