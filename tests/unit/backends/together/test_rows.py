"""The rows that are uploaded: the loss counts the same words there as everywhere else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.backends.together.rows import (
    chat_row,
    file_name,
    preference_row,
    render_file,
    trains_on_inputs,
    used_features,
)
from ftsdk.data.message_rows import message_rows, write_message_rows
from ftsdk.errors import DatasetError
from ftsdk.testing.together.formats import check_file

if TYPE_CHECKING:
    from pathlib import Path

TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "Un."},
    {"role": "user", "content": "Two?"},
    {"role": "assistant", "content": "Deux."},
]


def trained_by_the_service(row: dict[str, Any], *, train_on_inputs: bool) -> list[str]:
    """The service's documented rule: inputs count if asked for; of assistant messages, those whose weight isn't 0."""
    return [
        m["content"]
        for m in row["messages"]
        if train_on_inputs or (m["role"] == "assistant" and m.get("weight", 1) != 0)
    ]


def trained_by_us(messages: list[dict[str, str]], train_on: str) -> list[str]:
    """Our rule, as `TrainOn` has it."""
    answers = [m["content"] for m in messages if m["role"] == "assistant"]
    return {"all": [m["content"] for m in messages], "assistant": answers, "completion": answers[-1:]}[train_on]


conversations = st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), min_size=1, max_size=4).map(
    lambda turns: [m for q, a in turns for m in ({"role": "user", "content": q}, {"role": "assistant", "content": a})]
)


@pytest.mark.parametrize("train_on", ["completion", "assistant", "all"])
@given(messages=conversations)
def test_the_service_trains_the_words_that_we_would(messages: list[dict[str, str]], train_on: Any) -> None:
    row = chat_row(messages, train_on=train_on)
    assert trained_by_the_service(row, train_on_inputs=trains_on_inputs(train_on)) == trained_by_us(messages, train_on)
    assert [(m["role"], m["content"]) for m in row["messages"]] == [(m["role"], m["content"]) for m in messages]


def stored(folder: Path, *conversations: list[dict[str, str]]) -> Path:
    """Return a file of rows, as the store writes them."""
    path = folder / "rows.arrow"
    write_message_rows(message_rows({"messages": messages} for messages in conversations), path)
    return path


def test_weights_stand_only_where_they_are_needed() -> None:
    assert [m.get("weight") for m in chat_row(TALK, train_on="completion")["messages"]] == [None, None, 0, None, 1]
    assert all("weight" not in m for m in chat_row(TALK, train_on="assistant")["messages"])
    assert all("weight" not in m for m in chat_row(TALK[:3], train_on="completion")["messages"])


def test_a_preference_has_one_assistant_message_on_each_side() -> None:
    row = preference_row(
        {"prompt": TALK[:2], "chosen": TALK[2:3], "rejected": [{"role": "assistant", "content": "No."}]}
    )
    assert row == {
        "input": {"messages": TALK[:2]},
        "preferred_output": [{"role": "assistant", "content": "Un."}],
        "non_preferred_output": [{"role": "assistant", "content": "No."}],
    }


def test_a_file_is_the_same_bytes_for_the_same_rows_and_is_named_by_them(tmp_path: Path) -> None:
    source = stored(tmp_path, TALK, TALK[:3])
    hashes = {render_file(source, tmp_path / f"{n}.jsonl", train_on="completion", name="talk") for n in range(2)}
    assert len(hashes) == 1
    assert (tmp_path / "0.jsonl").read_bytes() == (tmp_path / "1.jsonl").read_bytes()
    assert file_name(hashes.pop()).endswith(".jsonl")
    assert render_file(source, tmp_path / "2.jsonl", train_on="assistant", name="talk") not in hashes
    assert len((tmp_path / "0.jsonl").read_text().splitlines()) == 2


def test_line_separators_inside_of_texts_stay_inside_of_their_line(tmp_path: Path) -> None:
    odd = [{"role": "user", "content": "a\u2028b\u0085c\nd"}, {"role": "assistant", "content": "é"}]
    source = stored(tmp_path, odd)
    render_file(source, tmp_path / "out.jsonl", train_on="assistant", name="odd")
    lines = (tmp_path / "out.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line)["messages"] for line in lines[:-1]] == [odd]


def test_tool_messages_are_refused_with_the_row_that_has_them(tmp_path: Path) -> None:
    tool = [*TALK[:3], {"role": "tool", "content": "42"}, {"role": "assistant", "content": "42."}]
    source = stored(tmp_path, TALK, tool)
    with pytest.raises(DatasetError, match=r"calls that they answer") as caught:
        render_file(source, tmp_path / "out.jsonl", train_on="assistant", name="tools.jsonl")
    assert (caught.value.source, caught.value.line) == ("tools.jsonl", 2)


WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
}
TOOL_TALK = [TALK[1], CALL, {"role": "tool", "content": "dry", "tool_call_id": "call_1"}, TALK[2]]


def test_tools_and_calls_go_to_the_service_in_its_own_form(tmp_path: Path) -> None:
    rows = [{"messages": TALK[:3]}, {"messages": TOOL_TALK, "tools": [WEATHER], "parallel_tool_calls": False}]
    source = tmp_path / "rows.arrow"
    write_message_rows(message_rows(rows), source)
    render_file(source, tmp_path / "out.jsonl", train_on="assistant", name="talk")
    written = (tmp_path / "out.jsonl").read_bytes()
    assert check_file(written, "out.jsonl").error == ""
    plain, row = map(json.loads, written.splitlines())
    assert plain == {"messages": TALK[:3]}
    assert row["tools"] == [WEATHER]
    assert row["parallel_tool_calls"] is False
    assert row["messages"][1] == {"role": "assistant", "tool_calls": CALL["tool_calls"]}
    assert row["messages"][2:] == TOOL_TALK[2:]
    assert used_features(source) == {"tools"}
    pair = preference_row({"prompt": TALK[:2], "chosen": [CALL], "rejected": TALK[2:3], "tools": [WEATHER]})
    assert pair["input"] == {"messages": TALK[:2], "tools": [WEATHER]}
    assert used_features(stored(tmp_path, TALK)) == set()


def test_weights_of_messages_reach_the_service() -> None:
    talk = [TALK[1], {**TALK[2], "weight": 0}, TALK[3], TALK[4]]
    assert [m.get("weight") for m in chat_row(talk, train_on="assistant")["messages"]] == [None, 0, None, 1]
    assert [m.get("weight") for m in chat_row(talk, train_on="completion")["messages"]] == [None, 0, None, 1]


THOUGHT = {"role": "assistant", "content": "Un.", "reasoning_content": "One in French."}


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([TALK[1], THOUGHT, TALK[3], TALK[4]], "of such conversations Together trains the last answer only"),
        ([TALK[1], {**TALK[2], "content": "<think>One</think>Un."}, *TALK[3:]], "trains the last answer only"),
        ([{**TALK[1], "name": "ada"}, TALK[2]], "message 0 has 'name'"),
        ([TALK[1], {**CALL, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]}], "id"),
    ],
)
def test_what_the_service_would_train_otherwise_is_refused(tmp_path: Path, messages: Any, message: str) -> None:
    source = stored(tmp_path, TALK, messages)
    with pytest.raises(DatasetError, match=message) as caught:
        render_file(source, tmp_path / "out.jsonl", train_on="assistant", name="rows.jsonl")
    assert (caught.value.source, caught.value.line) == ("rows.jsonl", 2)


def test_reasoning_before_the_last_answer_reaches_the_service(tmp_path: Path) -> None:
    source = stored(tmp_path, [TALK[1], THOUGHT])
    render_file(source, tmp_path / "out.jsonl", train_on="assistant", name="rows.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_bytes()) == {"messages": [TALK[1], THOUGHT]}
    assert used_features(source) == {"reasoning"}
