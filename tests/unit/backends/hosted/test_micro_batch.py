"""How many sequences go through a GPU at once, and how many packed tokens through a CPU."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk import FullFineTune, LoRA, QLoRA
from ftsdk.backends.hosted.micro_batch import rows_at_once, tokens_at_once
from ftsdk.models import inspect_model
from ftsdk.spec import Model, Range
from ftsdk.testing import a_spec

LLAMA_8B = "meta-llama/Llama-3.1-8B-Instruct"


def rows(model: str = LLAMA_8B, *, memory_gib: float, share: int = 16, **changes: Any) -> tuple[int, str]:
    spec = a_spec(model=Model(id=model), **{"tuning": LoRA(), "max_length": None, **changes})
    return rows_at_once(spec, inspect_model(spec.model), memory_gib=memory_gib, share=share)


def test_a_large_model_leaves_room_for_fewer_rows_with_a_reason() -> None:
    assert rows("HuggingFaceTB/SmolLM2-135M-Instruct", memory_gib=24) == (
        4,
        "a cautious choice for 24 GiB of GPU memory",
    )
    few, reason = rows(memory_gib=24)
    assert few == 1
    assert "with rows of up to 2,048 tokens; a lower max_length= allows more" in reason


def test_shorter_rows_and_quantised_weights_leave_room_for_more() -> None:
    assert rows(memory_gib=24, max_length=256)[0] == 4
    assert rows(memory_gib=32, tuning=QLoRA())[0] > rows(memory_gib=32)[0]


def test_rows_whose_text_was_measured_are_not_presumed_to_be_long() -> None:
    short = a_spec().train.replace(longest_tokens=Range(low=150, likely=220, high=300))
    assert rows(memory_gib=24, train=short)[0] == 4
    long = short.replace(longest_tokens=Range(low=15_000, likely=17_000, high=21_000))
    assert rows(memory_gib=80, train=long)[0] < rows(memory_gib=80)[0] <= rows(memory_gib=80, train=short)[0]
    assert rows(memory_gib=80, train=long, max_length=512)[0] == rows(memory_gib=80, max_length=512)[0]


def test_a_row_that_does_not_fit_is_not_said_to_be_held() -> None:
    few, reason = rows("meta-llama/Llama-3.3-70B-Instruct", memory_gib=80, tuning=FullFineTune())
    assert few == 1
    assert "even one row of up to 2,048 tokens is unlikely to fit into 80 GiB" in reason


def test_a_model_of_unknown_size_is_trusted_to_the_cautious_rule() -> None:
    assert rows("example/mystery", memory_gib=80) == (16, "a cautious choice for 80 GiB of GPU memory")


@given(share=st.integers(1, 64), memory_gib=st.floats(4, 300))
def test_rows_at_once_divide_the_share_of_the_batch(share: int, memory_gib: float) -> None:
    found, _ = rows(memory_gib=memory_gib, share=share)
    assert share % found == 0
    assert 1 <= found <= 16


@pytest.mark.parametrize("smaller", [16.0, 24.0, 40.0, 48.0, 80.0])
def test_more_memory_never_means_fewer_rows(smaller: float) -> None:
    assert rows(memory_gib=smaller * 1.5)[0] >= rows(memory_gib=smaller)[0]


def test_a_model_that_fills_a_cpu_s_memory_takes_fewer_packed_tokens() -> None:
    def tokens(model: str, memory_gib: float | None) -> int:
        spec = a_spec(model=Model(id=model), tuning=LoRA())
        return tokens_at_once(spec, inspect_model(spec.model), memory_gib=memory_gib)

    assert tokens("HuggingFaceTB/SmolLM2-135M-Instruct", 16) == 1024
    assert tokens(LLAMA_8B, 256) == 1024
    assert tokens(LLAMA_8B, 24) == 256
    assert tokens(LLAMA_8B, None) == tokens("example/mystery", 16) == 1024
