"""The rows that are uploaded: the loss counts the same words there as everywhere else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.backends.together.rows import chat_row, file_name, preference_row, render_file, trains_on_inputs
from ftsdk.data.message_rows import message_rows, write_message_rows
from ftsdk.errors import DatasetError

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
