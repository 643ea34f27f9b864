"""Sizes that a model states: held against its weights before a library allocates them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsdk.errors import ModelError
from ftsdk.models.config_sizes import check_adapter_sizes, check_sizes
from ftsdk.models.source import check_stated_sizes

TENSORS = [f"model.layers.{n}.mlp.up_proj.weight" for n in range(24)]
SIZES = {"hidden_size": 64, "num_hidden_layers": 24, "intermediate_size": 256, "vocab_size": 1000}
HELD = 64 * 1000 + 24 * 3 * 64 * 256


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_hidden_layers", 25),
        ("hidden_size", 2**31),
        ("intermediate_size", 2**20),
        ("vocab_size", 2**31),
        ("num_attention_heads", 2**31),
        ("head_dim", 2**31),
        ("num_key_value_heads", 2**31),
        ("num_experts", 2**31),
        ("block_count", 2**32 - 1),
        ("feed_forward_length", 2**32 - 1),
        ("n_layer", 2**20),
    ],
)
def test_a_size_far_beyond_the_weights_is_refused(key: str, value: int) -> None:
    with pytest.raises(ModelError, match=rf"x/y states .*{key}={value:,}.* damaged or don't belong together"):
        check_sizes({**SIZES, key: value}, TENSORS, HELD, shown="x/y")


@pytest.mark.parametrize("other", [{}, {"max_position_embeddings": 2**20}, {"vocab_size": None}, {"head_dim": "x"}])
def test_sizes_that_fit_and_other_values_pass(other: dict[str, object]) -> None:
    check_sizes({**SIZES, **other}, TENSORS, HELD, shown="x/y")


def test_packed_weights_may_state_more_than_they_hold() -> None:
    check_sizes(SIZES, TENSORS, HELD // 16, shown="x/y")


def test_learned_positions_are_held_against_the_weights() -> None:
    with pytest.raises(ModelError, match="n_positions=2,147,483,648"):
        check_sizes({**SIZES, "n_positions": 2**31}, [*TENSORS, "wpe.weight"], HELD, shown="x/y")


@pytest.mark.parametrize("config", [{"r": 2**31}, {"r": 8, "rank_pattern": {"q_proj": 2**31}}])
def test_a_rank_beyond_the_adapter_is_refused(config: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=r"the rank .*=2,147,483,648"):
        check_adapter_sizes(config, 4096, shown="adapter")


def test_a_tiny_model_and_its_sizes_agree(tiny_model: Path) -> None:
    check_stated_sizes(tiny_model, shown="tiny")
