"""Prompts that offer tools: rendered with them, sent with them, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chat_templates import CHATML, TOOLS_CHATML

from ftsdk import Dataset
from ftsdk.errors import DatasetError
from ftsdk.evals import Eval, TransformersGenerator
from ftsdk.evals.examples import Prompt, read_examples
from ftsdk.evals.generation import tools_of
from ftsdk.evals.targets import FunctionTarget

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
}
TALK = [
    {"role": "user", "content": "Rain?"},
    CALL,
    {"role": "tool", "tool_call_id": "call_1", "content": "dry"},
    {"role": "assistant", "content": "No.", "reasoning_content": "It is dry."},
]


def test_a_prompt_has_the_tools_of_its_row() -> None:
    data = Dataset.from_rows([{"messages": TALK, "tools": [WEATHER]}, {"messages": [TALK[0], TALK[3]]}])
    first, second = read_examples(data)
    assert first.prompt == TALK[:3]
    assert tools_of(first.prompt) == (WEATHER,)
    assert tools_of(second.prompt) == ()
    assert "weather({})" in first.prompt_text
    assert Eval.exact_match(data, name="right").score(first, "<think>Hm.</think>No.").value == 1.0
    seen: list[Any] = []

    def answer(conversation: Any) -> str:
        seen.append(conversation.tools)
        return "No."

    with FunctionTarget(name="tuned", function=answer).open() as generator:
        generator.generate([first.prompt, second.prompt], max_new_tokens=9)
    assert seen == [(WEATHER,), ()]


def test_a_row_that_ends_with_a_call_is_refused() -> None:
    data = Dataset.from_rows([{"messages": TALK}, {"messages": TALK[:2], "tools": [WEATHER]}])
    with pytest.raises(DatasetError, match="ends with calls of tools, and evals compare texts") as caught:
        read_examples(data)
    assert caught.value.line == 2


def test_a_model_on_this_machine_reads_tools_as_in_training(tiny_model: Path) -> None:
    pytest.importorskip("torch", reason="the extra 'local' isn't installed")
    from ftsdk.models import load_model, load_tokenizer
    from ftsdk.spec import Model

    model = load_model(Model(id=str(tiny_model)), dtype="float32", device="cpu")
    tokenizer: Any = load_tokenizer(Model(id=str(tiny_model)))
    generator = TransformersGenerator(model, tokenizer, eos_token_ids=[tokenizer.eos_token_id])
    prompts = [Prompt(TALK[:3], [WEATHER]), Prompt(TALK[:1])]
    tokenizer.chat_template = TOOLS_CHATML
    assert len(generator.generate(prompts, max_new_tokens=2)) == 2
    assert min(generator.answer_lengths(prompts, ["No.", "No."])) > 0
    tokenizer.chat_template = CHATML
    with pytest.raises(DatasetError, match="leaves out the tools") as caught:
        generator.generate(prompts, max_new_tokens=2)
    assert caught.value.line == 1
