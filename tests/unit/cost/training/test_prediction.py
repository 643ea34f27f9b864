"""Speed and memory of a training on a device, without a job: held against what was published."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk import FullFineTune, LoRA, QLoRA, SpecError
from ftsdk.cost import TrainingPrediction, predict_training

LLAMA_ON_NEMO = {
    "model": "meta-llama/Meta-Llama-3-8B",
    "gpu": "H100",
    "tokens_per_row": 4096,
    "rows_at_a_time": 2,
    "recomputes": False,
    "is_compiled": True,
}
QWEN = {"model": "Qwen/Qwen-7B-Chat", "gpu": "A100-80GB", "tokens_per_row": 2048, "tuning": LoRA(rank=64)}


def predict(**changes: Any) -> TrainingPrediction:
    return predict_training(**{**QWEN, **changes})


@pytest.mark.parametrize(
    ("changes", "tokens_per_s", "peak_gb"),
    [
        ({}, 3151, 23.8),
        ({"tokens_per_row": 256}, 1707, None),
        ({"tuning": QLoRA(rank=64, double_quantization=False)}, 2341, 13.9),
        ({"model": "Qwen/Qwen-14B-Chat", "tokens_per_row": 4096}, None, 42.5),
        (
            {
                "model": "meta-llama/Meta-Llama-3-8B",
                "gpu": "H100",
                "tokens_per_row": 4096,
                "rows_at_a_time": 2,
                "recomputes": False,
                "is_compiled": True,
            },
            12473,
            None,
        ),
    ],
)
def test_published_runs_are_inside_of_the_interval(
    changes: dict[str, Any], tokens_per_s: float | None, peak_gb: float | None
) -> None:
    found = predict(**changes)
    if tokens_per_s is not None:
        assert found.tokens_per_s.low <= tokens_per_s <= found.tokens_per_s.high
        assert found.tokens_per_s.likely == pytest.approx(tokens_per_s, rel=0.15)
    if peak_gb is not None:
        assert found.peak_gb.low <= peak_gb <= found.peak_gb.high


def test_it_says_what_does_not_fit_and_how_much_would() -> None:
    assert predict(tuning=FullFineTune(), gpu="L4").verdict == "no"
    fits = predict(gpu="H100")
    assert fits.verdict == "fits"
    assert fits.largest_micro_batch is not None
    assert fits.largest_micro_batch >= 2
    assert predict(gpu="H100", rows_at_a_time=fits.largest_micro_batch).verdict == "fits"
    assert predict(gpu="H100", rows_at_a_time=fits.largest_micro_batch + 1).verdict != "fits"
    assert "tokens/s" in str(fits)
    assert TrainingPrediction.from_dict(fits.to_dict()) == fits


@given(gpus=st.integers(1, 8), rows=st.integers(1, 8))
def test_tokens_are_counted_over_all_devices(gpus: int, rows: int) -> None:
    one, many = predict(rows_at_a_time=rows), predict(rows_at_a_time=rows, gpus=gpus)
    assert many.tokens_per_s.likely == pytest.approx(gpus * one.tokens_per_s.likely)
    assert many.peak_gb == one.peak_gb


@pytest.mark.parametrize(
    "changes",
    [
        {"gpu": "H1000"},
        {"model": "acme/mystery"},
        {"tokens_per_row": 0},
        {"tokens_per_row": float("nan")},
        {"gpus": 0},
    ],
)
def test_what_is_not_known_or_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        predict(**changes)


def test_a_mixture_of_experts_has_the_size_of_all_and_the_speed_of_active() -> None:
    scout = predict(model="meta-llama/Llama-4-Scout-17B-16E-Instruct", gpu="H100")
    assert scout.verdict == "no"
    assert scout.peak_gb.likely > 218
    sparse, dense = (
        predict(model="openai/gpt-oss-120b", gpu="H200"),
        predict(model="meta-llama/Llama-3.3-70B-Instruct", gpu="H200"),
    )
    assert sparse.peak_gb.likely > dense.peak_gb.likely
    assert sparse.tokens_per_s.likely > 3 * dense.tokens_per_s.likely


def test_a_size_that_only_the_name_tells_is_said_to_be_a_guess() -> None:
    assert "guessed from the size in its name" in str(predict(model="acme/Mystery-7B"))
    assert predict().notes == ()
