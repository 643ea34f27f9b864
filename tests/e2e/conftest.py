from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forked_workers import ForkedLocal

from ftsdk import Dataset, FineTuneJob
from ftsdk.backends.hosted.backend import HostedBackend


@pytest.fixture
def backend(forked_local: ForkedLocal) -> HostedBackend:
    return forked_local


def messages(n: int = 64) -> Dataset:
    topics = ("travel", "work", "weather", "kitchen")
    return Dataset.from_rows(
        [{"text": f"message {i} is about {topics[i % 4]} and no more", "label": topics[i % 4]} for i in range(n)]
    ).as_chat(prompt="{text}", completion="{label}")


@pytest.fixture
def make_job(tiny_model: Path, backend: HostedBackend) -> Callable[..., FineTuneJob]:
    """A job of twelve steps, unless told otherwise."""

    def make(**changes: Any) -> FineTuneJob:
        fields: dict[str, Any] = {
            "model": str(tiny_model),
            "train": messages(),
            "epochs": 2,
            "max_steps": 12,
            "batch_size": 8,
            "learning_rate": 5e-3,
            "checkpoint_steps": 3,
            "dtype": "float32",
            "backend": backend,
        }
        return FineTuneJob(**{**fields, **changes})

    return make


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def largest_difference(a: Path, b: Path) -> float:
    one, other = weights(a), weights(b)
    assert one.keys() == other.keys()
    assert one
    return max(float((one[name].float() - other[name].float()).abs().max()) for name in one)


@pytest.fixture
def difference() -> Callable[[Path, Path], float]:
    return largest_difference


@pytest.fixture
def chat_rows() -> Callable[[int], Dataset]:
    return messages
