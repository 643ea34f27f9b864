from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Eval, Model
from ftsdk.evals import FunctionTarget, evaluate
from ftsdk.evals.reasoning import final_answer

MakeRows = Callable[..., Any]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("yes", "yes"),
        ("<think>\n\n</think>\n\nyes", "yes"),
        ("\n<think>no, or</think> yes", "yes"),
        ("it may be\n</think>\n\nyes", "yes"),
        ("[THINK]hm[/THINK]yes", "yes"),
        ("<think>it may be", ""),
        ("the tag <think> begins and </think> ends", "the tag <think> begins and </think> ends"),
    ],
)
def test_the_answer_is_what_follows_the_reasoning(text: str, answer: str) -> None:
    assert final_answer(text) == answer


def test_a_model_that_reasons_and_knows_every_row_scores_all(make_rows: MakeRows, tmp_path: Path) -> None:
    rows = make_rows(("1", "yes"), ("2", "<think>odd</think>\n\nno"))
    known = {"1": "<think>\n\n</think>\n\nyes", "2": "<think>even</think>no"}
    target = FunctionTarget(name="tuned", function=lambda conversation: known[conversation[-1]["content"]])
    report = evaluate([Eval.exact_match(rows, name="accuracy")], [target], into=tmp_path)
    assert report.score("accuracy", "tuned").correct == 2
    assert "<think>" in (tmp_path / "accuracy" / "tuned.jsonl").read_text()


def test_references_are_as_long_as_the_template_renders_them(tiny_model: Path) -> None:
    from ftsdk.evals import TransformersGenerator
    from ftsdk.models import load_model, load_tokenizer

    tokenizer = load_tokenizer(Model(id=str(tiny_model)))
    model = load_model(Model(id=str(tiny_model)), dtype="float32", device="cpu")
    generator = TransformersGenerator(model, tokenizer, eos_token_ids=[tokenizer.eos_token_id])
    talk = [[{"role": "user", "content": "travel or work"}]]
    (plain,) = generator.answer_lengths(talk, ["travel"])
    tokenizer.chat_template = str(tokenizer.chat_template).replace(
        "\n{{ m['content'] }}",
        "\n{% if m['role'] == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m['content'] }}",
    )
    (longer,) = generator.answer_lengths(talk, ["travel"])
    (block,) = generator.count_tokens(["<think>\n\n</think>\n\n"])
    assert plain >= generator.count_tokens(["travel"])[0]
    assert abs(longer - plain - block) <= 2  # tokens may join across the border
