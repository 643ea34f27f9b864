"""Reasoning keeps its place, and conversations whose earlier turns a template rewrites are trained turn by turn."""

from __future__ import annotations

from typing import Any

import pytest
from chat_templates import CHAIN_DROPPED, CHATML, REASONING

from ftsdk.data import Dataset, RenderedRow, preview, render_chat, render_dataset
from ftsdk.data.token_guess import guess_turns
from ftsdk.errors import DatasetError, ModelError

FIRST = [
    {"role": "user", "content": "1+1?"},
    {"role": "assistant", "content": "2", "reasoning_content": "One and one."},
]
SECOND = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "<think>\nTwo, two.\n</think>\n\n4"}]
THIRD = [{"role": "user", "content": "3+3?"}, {"role": "assistant", "content": "6"}]


def read(*conversations: list[dict[str, Any]]) -> Dataset:
    return Dataset.from_rows([{"messages": messages} for messages in conversations])


def trained(row: Any, tokenizer: Any) -> str:
    ids = [token for token, is_trained in zip(row.input_ids, row.trained, strict=True) if is_trained]
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def served(messages: list[dict[str, Any]], tokenizer: Any) -> str:
    return tokenizer.apply_chat_template(messages, chat_template=REASONING, tokenize=False, add_generation_prompt=True)


def test_each_turn_is_trained_behind_the_prompt_that_serving_gives_it(either_tokenizer: Any) -> None:
    talk = FIRST + SECOND + THIRD
    rendered = render_dataset(read(talk), either_tokenizer, chat_template=REASONING)
    assert rendered.indices == (0, 0, 0)
    answers = ["<think>\nOne and one.\n</think>\n\n2", "<think>\nTwo, two.\n</think>\n\n4", "<think>\n\n</think>\n\n6"]
    for turn, (row, answer) in enumerate(zip(rendered.rows, answers, strict=True)):
        assert isinstance(row, RenderedRow)
        assert trained(row, either_tokenizer) == f"{answer}<|im_end|>"
        prompt = served(talk[: 2 * turn + 1], either_tokenizer)
        assert row.text == f"{prompt}{answer}<|im_end|>\n"
        ids = either_tokenizer(prompt, add_special_tokens=False)["input_ids"]
        assert list(row.input_ids[: row.trained.index(True)]) == ids
    report = rendered.report
    report.check()
    assert (report.rows, report.sequences, report.rows_by_turn) == (1, 3, 1)
    assert report.tokens_total == sum(len(row.input_ids) for row in rendered.rows if isinstance(row, RenderedRow))
    assert "1 row is trained turn by turn" in str(report)


def test_rows_whose_turns_stay_as_they_are_stay_one_sequence(tokenizer: Any) -> None:
    rendered = render_dataset(read(THIRD, FIRST + THIRD, SECOND), tokenizer, chat_template=REASONING)
    assert rendered.indices == (0, 1, 1, 2)
    assert render_dataset(read(SECOND + THIRD), tokenizer, chat_template=CHATML).indices == (0,)
    assert render_dataset(read(FIRST + THIRD), tokenizer, chat_template=REASONING, train_on="completion").indices == (
        0,
    )


def test_weights_choose_the_turns_that_become_sequences(tokenizer: Any) -> None:
    talk = [*FIRST, SECOND[0], {**SECOND[1], "weight": 0}, *THIRD]
    rendered = render_dataset(read(talk), tokenizer, chat_template=REASONING)
    assert [trained(row, tokenizer)[-11:] for row in rendered.rows] == ["2<|im_end|>", "6<|im_end|>"]
    assert [row.row for row in preview(read(talk), tokenizer, chat_template=REASONING).rows] == [0, 0]
    weighted = read([*FIRST[:1], {**FIRST[1], "weight": 0}, *THIRD])
    with pytest.raises(ModelError, match=r"row 1 has an answer of the weight 0.*train_on='assistant'"):
        render_dataset(weighted, tokenizer, chat_template=REASONING, train_on="all")


def test_max_length_cuts_sequences_one_by_one(tokenizer: Any) -> None:
    whole = render_dataset(read(FIRST + SECOND), tokenizer, chat_template=REASONING)
    first, second = whole.rows
    assert isinstance(first, RenderedRow)
    assert isinstance(second, RenderedRow)
    limit = len(first.input_ids)
    cut = render_dataset(read(FIRST + SECOND), tokenizer, chat_template=REASONING, max_length=limit)
    assert cut.rows[0] == first
    assert cut.report.rows_truncated == 1
    assert cut.report.length_max == len(second.input_ids)
    short = render_dataset(
        read(FIRST + SECOND), tokenizer, chat_template=REASONING, max_length=len(second.input_ids) // 3
    )
    assert short.report.sequences == len(short.rows)


def test_the_preview_shows_every_turn_as_a_sequence(tokenizer: Any) -> None:
    dataset = read(FIRST + SECOND, THIRD)
    shown = preview(dataset, tokenizer, chat_template=REASONING)
    rendered = render_dataset(dataset, tokenizer, chat_template=REASONING)
    assert [(row.row, row.side) for row in shown.rows] == [(0, "turn 1 of 2"), (0, "turn 2 of 2"), (1, "")]
    for row, sequence in zip(shown.rows, rendered.rows, strict=True):
        assert isinstance(sequence, RenderedRow)
        assert [token.id for token in row.tokens] == list(sequence.input_ids)
        assert [token.is_trained for token in row.tokens] == list(sequence.trained)
    assert shown.report == rendered.report


def test_reasoning_that_a_template_leaves_out_is_refused(tokenizer: Any) -> None:
    for talk in (FIRST, FIRST + THIRD):
        with pytest.raises(DatasetError, match="leaves out or changes what a message says in 1 of 1 rows"):
            render_dataset(read(talk), tokenizer, chat_template=CHATML).report.check()
    # Of an answer that is only read, serving leaves it out too.
    render_dataset(read(FIRST + THIRD), tokenizer, chat_template=CHATML, train_on="completion").report.check()


@pytest.mark.parametrize("key", ["reasoning", "thinking"])
def test_templates_find_reasoning_under_the_key_that_they_know(tokenizer: Any, key: str) -> None:
    template = REASONING.replace("m.reasoning_content", f"m.{key}")
    assert "One and one." in trained(render_dataset(read(FIRST), tokenizer, chat_template=template).rows[0], tokenizer)
    spelled = [FIRST[0], {"role": "assistant", "content": "2", key: "One and one."}]
    assert read(spelled).fingerprint == read(FIRST).fingerprint


def test_an_answer_is_trained_behind_the_thoughts_that_serving_shows_it(tokenizer: Any) -> None:
    """The whole conversation is rendered without the thought before the call; the prompt of the answer has it."""
    call = {"id": "c1", "type": "function", "function": {"name": "sum", "arguments": '{"of": [1, 1]}'}}
    thought = {"role": "assistant", "content": "", "reasoning_content": "Add them.", "tool_calls": [call]}
    answer = {"role": "assistant", "content": "2", "reasoning_content": "Done."}
    talk = [FIRST[0], thought, {"role": "tool", "tool_call_id": "c1", "content": "two"}, answer]
    for train_on, count in (("assistant", 2), ("completion", 1)):
        rendered = render_dataset(read(talk), tokenizer, chat_template=CHAIN_DROPPED, train_on=train_on)  # type: ignore[arg-type]
        rendered.report.check()
        assert len(rendered.rows) == count
        last = rendered.rows[-1]
        assert isinstance(last, RenderedRow)
        assert trained(last, tokenizer) == "<think>Done.</think>\n2<|im_end|>"
        assert last.text.startswith(
            "<|im_start|>user\n1+1?<|im_end|><|im_start|>assistant<think>Add them.</think>\nsum"
        )


def test_one_conversation_that_is_several_sequences_is_refused_as_one(tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="becomes 2 training sequences"):
        render_chat(FIRST + THIRD, tokenizer, chat_template=REASONING)


def test_guesses_count_what_is_read_again_at_each_turn() -> None:
    rows = read(*[FIRST + SECOND + THIRD] * 4, THIRD)
    by_turn = guess_turns(rows.rows, sequences=13)
    assert len(by_turn.sequences) == 13
    assert by_turn.total_and_longest()[0].likely > rows.token_guesses.total_and_longest()[0].likely
    assert len(guess_turns(rows.rows, sequences=9).sequences) == 9
