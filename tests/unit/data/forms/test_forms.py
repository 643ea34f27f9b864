from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, DatasetError, FineTuneJob, SpecError
from ftsdk.data import Store
from ftsdk.data.forms import FORMS

ASKED = {"role": "user", "content": "Where is my parcel?"}
GOOD = {"role": "assistant", "content": "It arrives on Friday."}
BAD = {"role": "assistant", "content": "No idea."}
TALK = [ASKED, GOOD]
SHAREGPT = [{"from": "human", "value": ASKED["content"]}, {"from": "gpt", "value": GOOD["content"]}]
PAIR = {"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD]}
TEXT_PAIR = {"prompt": ASKED["content"], "chosen": GOOD["content"], "rejected": BAD["content"]}

CHAT_FORMS: list[tuple[str, dict[str, Any]]] = [
    ("OpenAI chat", {"messages": TALK}),
    ("OpenAI chat", {"messages": [ASKED, {**GOOD, "weight": 1}], "parallel_tool_calls": True}),
    ("ShareGPT", {"conversations": SHAREGPT}),
    ("ShareGPT", {"conversations": [SHAREGPT[0], {"from": "chatgpt", "value": GOOD["content"]}]}),
    ("ShareGPT", {"conversations": TALK}),
    ("prompt and completion", {"prompt": ASKED["content"], "completion": GOOD["content"]}),
    ("prompt and completion", {"prompt": [ASKED], "completion": [GOOD]}),
    ("Alpaca", {"instruction": ASKED["content"], "output": GOOD["content"]}),
    ("Alpaca", {"instruction": ASKED["content"], "input": "", "output": GOOD["content"], "history": []}),
]
PAIR_FORMS: list[tuple[str, dict[str, Any]]] = [
    ("preference", TEXT_PAIR),
    ("preference", PAIR),
    ("preference", {**PAIR, "chosen": TALK, "rejected": [ASKED, BAD]}),
    ("preference with the prompt in both answers", {"chosen": TALK, "rejected": [ASKED, BAD]}),
    (
        "OpenAI preference",
        {
            "input": {"messages": [ASKED], "tools": [], "parallel_tool_calls": True},
            "preferred_output": [GOOD],
            "non_preferred_output": [BAD],
        },
    ),
    (
        "ShareGPT preference",
        {
            "conversations": SHAREGPT[:1],
            "chosen": SHAREGPT[1],
            "rejected": {"from": "gpt", "value": BAD["content"]},
        },
    ),
]


@pytest.mark.parametrize(("form", "row"), CHAT_FORMS)
def test_every_form_of_a_conversation_becomes_the_same_rows(form: str, row: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    data = Dataset.from_file(path)
    assert (data.form, data.format, list(data)) == (form, "chat", [{"messages": TALK}])
    assert f"chat, from {form}" in str(data)
    assert data.lineage[0]["form"] == data.summary().to_dict()["form"] == form
    assert Dataset.from_dict(data.to_dict()).fingerprint == data.fingerprint


@pytest.mark.parametrize(("form", "row"), PAIR_FORMS)
def test_every_form_of_a_pair_becomes_the_same_rows(form: str, row: dict[str, Any]) -> None:
    data = Dataset.from_rows([row])
    assert (data.form, data.format, list(data)) == (form, "preference", [PAIR])
    assert data.left_out == ()


def test_tools_are_kept_wherever_a_form_has_them() -> None:
    tool = {"type": "function", "function": {"name": "track", "parameters": {"type": "object", "properties": {}}}}
    pair: dict[str, Any] = {"preferred_output": [GOOD], "non_preferred_output": [BAD]}
    for row in (
        {"messages": TALK, "tools": [tool]},
        {"conversations": SHAREGPT, "tools": json.dumps([tool])},
        {"prompt": [ASKED], "completion": [GOOD], "tools": [tool]},
        {"instruction": ASKED["content"], "output": GOOD["content"], "tools": [tool]},
        {**PAIR, "tools": [tool]},
        {"input": {"messages": [ASKED], "tools": [tool]}, **pair},
    ):
        data = Dataset.from_rows([row])
        assert data[0]["tools"] == [tool]
        assert data.left_out == ()


def test_every_form_has_a_test_and_is_told_from_the_others() -> None:
    trained = {form.name for form in FORMS if form.format is not None}
    labelled = {"KTO", "conversations with a label"}
    assert {name for name, _ in CHAT_FORMS + PAIR_FORMS} | labelled == trained
    for form in FORMS:
        assert (form.format is None) == (form.make is None)


def test_alpaca_puts_the_input_below_the_instruction_and_keeps_earlier_turns() -> None:
    data = Dataset.from_rows(
        [
            {
                "instruction": "Add",
                "input": "1 and 2",
                "output": 3,
                "system": "Be brief.",
                "history": [["Hi", "Hello"]],
            },
            {"instruction": "Say hi", "input": None, "output": "hi"},
        ]
    )
    assert [message["content"] for message in data[0]["messages"]] == [
        "Be brief.",
        "Hi",
        "Hello",
        "Add\n\n1 and 2",
        "3",
    ]
    assert data[1]["messages"][0] == {"role": "user", "content": "Say hi"}
    for history in ("Hi", [["Hi"]], [["Hi", 3]], [["Hi", ""]], {"Hi": "Hello"}):
        with pytest.raises(DatasetError, match="row 1, field 'history': turn 0 isn't a question and its answer"):
            Dataset.from_rows([{"instruction": "Add", "output": "3", "history": history}])


def test_columns_that_a_form_does_not_have_are_named_if_they_hold_anything() -> None:
    row = {"instruction": "Add", "output": "3", "text": "Below is an instruction", "score": 0, "note": "", "id": None}
    data = Dataset.from_rows([row, {**row, "topic": "sums"}])
    assert data.left_out == ("text", "score", "topic")
    assert "text, score, topic (Alpaca has no such columns)" in str(data)
    assert data.as_chat(prompt="{text}", completion="{output}").summary().left_out == ()
    wide = Dataset.from_rows([{"instruction": "Add", "output": "3", **{f"c{n}": n % 2 or "" for n in range(300)}}])
    assert wide.left_out == tuple(f"c{n}" for n in range(1, 300, 2))


@pytest.mark.parametrize(
    ("row", "calls"),
    [
        ({"messages": TALK, "conversations": SHAREGPT}, ['as_chat(messages="messages")', "conversations"]),
        ({"messages": TALK, "prompt": "a", "completion": "b"}, ['as_chat(messages="messages")', 'prompt="{prompt}"']),
        ({"messages": TALK, **TEXT_PAIR}, ['as_chat(messages="messages")', 'as_preference(prompt="{prompt}")']),
        ({"messages": TALK, "chosen": "a", "rejected": "b"}, ['as_chat(messages="messages")', "as_preference("]),
        ({**TEXT_PAIR, "completion": "c"}, ['as_chat(prompt="{prompt}"', 'as_preference(prompt="{prompt}")']),
        ({"instruction": "a", "output": "b", "chosen": "c", "rejected": "d"}, ["as_chat(", "as_preference("]),
    ],
)
def test_columns_of_two_forms_are_refused_with_the_calls_that_decide(row: dict[str, Any], calls: list[str]) -> None:
    data = Dataset.from_rows([row])
    assert (data.form, data.format) == (None, "table")
    with pytest.raises(DatasetError, match="fit more than one form") as caught:
        _ = data.fingerprint
    assert all(call in str(caught.value) for call in calls)


def test_either_call_decides_between_two_forms() -> None:
    data = Dataset.from_rows([{"messages": TALK, **TEXT_PAIR}])
    assert data.as_chat(messages="messages")[0] == {"messages": TALK}
    assert data.as_preference(prompt="{prompt}")[0] == PAIR


def test_a_column_without_values_does_not_decide() -> None:
    data = Dataset.from_rows([{**TEXT_PAIR, "messages": None, "completion": None}])
    assert (data.form, data.format) == ("preference", "preference")
    assert Dataset.from_rows([{"conversations": 3, "prompt": "a", "completion": "b"}]).form == "prompt and completion"


KTO_ROWS = [
    {"prompt": "Where is my parcel?", "completion": "On its way.", "label": True},
    {"prompt": "Where is my parcel?", "completion": "No idea.", "label": False},
]


@pytest.mark.parametrize("label", [bool, str, int])
def test_kto_rows_are_read_as_they_are_and_keep_their_label(label: Any) -> None:
    data = Dataset.from_rows([{**row, "label": label(row["label"])} for row in KTO_ROWS])
    assert (data.form, data.format) == ("KTO", "unpaired")
    asked = {"role": "user", "content": "Where is my parcel?"}
    assert list(data) == [
        {"messages": [asked, {"role": "assistant", "content": "On its way."}], "label": True},
        {"messages": [asked, {"role": "assistant", "content": "No idea."}], "label": False},
    ]
    assert data.ref().format == "unpaired"


def test_labelled_conversations_written_to_a_file_are_read_back(tmp_path: Path) -> None:
    data = Dataset.from_rows(KTO_ROWS)
    again = Dataset.from_file(data.to_jsonl(tmp_path / "kto.jsonl"))
    assert (again.form, again.format, list(again)) == ("conversations with a label", "unpaired", list(data))
    assert again.fingerprint == data.fingerprint
    stored = Store(tmp_path / "store")
    stored.put(data)
    assert list(stored.load(data.ref())) == list(data)
    with pytest.raises(DatasetError, match="aren't chat rows"):
        stored.open(data.fingerprint, format="chat")
    assert Dataset.from_dict(again.to_dict()).fingerprint == data.fingerprint


def test_sft_refuses_marked_answers_and_says_how_to_take_the_good_ones() -> None:
    data = Dataset.from_rows(KTO_ROWS)
    with pytest.raises(SpecError, match=r"method 'sft' needs chat data; train .* has unpaired rows") as caught:
        FineTuneJob(model="org/model", train=data).plan()
    assert "method=KTO(), or the good answers alone: filter(lambda row: row['label']).as_chat(...)" in str(caught.value)
    good = data.filter(lambda row: row["label"]).as_chat(prompt="{prompt}", completion="{completion}")
    assert [row["messages"][1]["content"] for row in good] == ["On its way."]


def test_a_split_keeps_the_share_of_good_answers() -> None:
    rows = [{"prompt": f"where is {n}", "completion": str(n), "label": n % 4 == 0} for n in range(80)]
    parts = Dataset.from_rows(rows).split(validation=20, group=None)
    assert [sum(row["label"] for row in part) for part in (parts.train, parts.validation)] == [15, 5]


def test_a_class_beside_prompt_and_completion_is_no_kto_mark() -> None:
    data = Dataset.from_rows([{"prompt": "a", "completion": "b", "label": "billing"}])
    assert (data.form, data.left_out) == ("prompt and completion", ("label",))


def test_plain_text_is_named_and_refused_with_what_to_call() -> None:
    data = Dataset.from_rows([{"text": "Once upon a time"}])
    assert data.form == "plain text"
    with pytest.raises(SpecError, match="has no answer to learn"):
        FineTuneJob(model="org/model", train=data)
    assert Dataset.from_rows([{"text": "a", "topic": "b"}]).form is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"conversations": [*SHAREGPT, {"from": "function", "value": "x"}]},
            "field 'conversations': message 2 has the",
        ),
        ({"conversations": SHAREGPT, "tools": "[{}]"}, "field 'tools': "),
        ({"conversations": SHAREGPT[:1]}, "field 'conversations': the conversation must end with 'assistant'"),
        ({"instruction": "a", "output": ""}, "field 'output': is empty"),
        ({"instruction": None, "output": "b"}, "field 'instruction': has no value"),
        ({"chosen": TALK, "rejected": [BAD]}, "don't begin with the same conversation"),
        (
            {"input": {"messages": [ASKED], "tools": [{}]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
            "field 'tools': ",
        ),
        (
            {"input": {"messages": [ASKED]}, "preferred_output": [GOOD], "non_preferred_output": None},
            "field 'non_preferred_output': has no value",
        ),
    ],
)
def test_what_a_form_cannot_keep_is_refused_with_row_and_field(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        Dataset.from_rows([row])
    assert f"row 1, {message}" in str(caught.value) or message in str(caught.value)


def test_a_recipe_with_templates_reads_a_file_whatever_its_form_refuses(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"instruction": "Add", "input": "1 2", "output": "3"}, {"instruction": "Add", "input": "1 2", "output": ""}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DatasetError, match="field 'output': is empty"):
        Dataset.from_file(path)
    chat = {"prompt": "{instruction}: {input}", "completion": "{output}", "on_bad": "drop"}
    data = Dataset.from_dict({"file": str(path), "chat": chat})
    assert (len(data), len(data.dropped), data.form) == (1, 1, "Alpaca")
    assert Dataset.from_dict(data.to_dict()).fingerprint == data.fingerprint


def test_bad_rows_of_a_form_can_be_dropped(tmp_path: Path) -> None:
    path = tmp_path / "talks.jsonl"
    path.write_text("".join(json.dumps({"conversations": talk}) + "\n" for talk in (SHAREGPT, SHAREGPT[:1])), "utf-8")
    data = Dataset.from_file(path, on_bad="drop")
    assert (len(data), data.form, data.dropped[0].line) == (1, "ShareGPT", 2)
