"""What a user is offered in place of a model that Together can't tune."""

from __future__ import annotations

import pytest

from ftsdk.backends.together.catalogue import catalogue


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "Qwen/Qwen3.5-0.8B"),
        ("Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen3.5-0.8B"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3.5-9B"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "meta-llama/Llama-3.1-8B-Instruct"),
        ("meta-llama/Llama-3.1-70B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"),
    ],
)
def test_a_model_of_like_name_and_size_is_among_those_that_are_offered(asked: str, offered: str) -> None:
    assert offered in catalogue().nearest(asked)


def test_a_small_model_is_not_answered_with_one_of_hundreds_of_billions() -> None:
    book = catalogue()
    for asked in ("HuggingFaceTB/SmolLM2-135M-Instruct", "google/gemma-2-2b-it", "meta-llama/Llama-3.2-1B-Instruct"):
        known = [book.find(hub) for hub in book.nearest(asked)]
        assert [model.hub for model in known if model is not None and (model.billion or 1000) > 100] == []


def test_without_a_size_in_the_name_the_name_alone_counts() -> None:
    assert catalogue().nearest("openai/gpt-oss", count=2) == ("openai/gpt-oss-20b", "openai/gpt-oss-120b")


def test_a_model_under_a_name_that_is_not_known_is_not_offered() -> None:
    book = catalogue()
    unknown = {model.hub for model in book.models if model.service is None}
    assert unknown
    assert unknown.isdisjoint(book.nearest("meta-llama/Llama-4-Scout-17B-16E", count=100))
