from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.data import Dataset
from ftsdk.errors import DatasetError

EMAILS = [
    {"text": "Where is it?", "category": "shipping", "note": None},
    {"text": "I paid twice", "category": "billing", "note": "urgent"},
]


def conversation(*roles: str, last: str = "fine") -> list[dict[str, str]]:
    return [{"role": role, "content": last if i == len(roles) - 1 else f"{role} {i}"} for i, role in enumerate(roles)]


def test_templates_fill_in_columns_and_keep_double_braces() -> None:
    dataset = Dataset.from_rows(EMAILS).as_chat(
        prompt='Reply as {{"category": ...}}.\n{text}', completion="{category}", system="You sort {{emails}}."
    )
    assert dataset.format == "chat"
    assert dataset[0] == {
        "messages": [
            {"role": "system", "content": "You sort {emails}."},
            {"role": "user", "content": 'Reply as {"category": ...}.\nWhere is it?'},
            {"role": "assistant", "content": "shipping"},
        ]
    }


def test_values_are_never_read_as_templates() -> None:
    dataset = Dataset.from_rows([{"a": 3, "b": "{a} {{x}} {0.__class__}"}]).as_chat(prompt="{b}", completion="{a}")
    assert [m["content"] for m in dataset[0]["messages"]] == ["{a} {{x}} {0.__class__}", "3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"prompt": "{txt}", "completion": "{category}"},
            "prompt= names the column 'txt', which doesn't exist; did you mean 'text'?",
        ),
        (
            {"prompt": "{text}", "completion": "category"},
            "completion='category' is the name of a column, not a template. Did you mean '{category}'?",
        ),
        (
            {"prompt": "{text}", "completion": "yes"},
            "completion='yes' has no {column}, so every row would have the same answer",
        ),
        ({"prompt": "{text", "completion": "{category}"}, "prompt='{text' has a '{' alone at position 0"),
        ({"prompt": "text}", "completion": "{category}"}, "has a '}' alone at position 4"),
        ({"prompt": "{}", "completion": "{category}"}, "has '{}', which names no column"),
        ({"prompt": "{text!r}", "completion": "{category}"}, "a field is only the plain name of a column"),
        ({"prompt": "{text.__class__}", "completion": "{category}"}, "a field is only the plain name of a column"),
        ({"prompt": '{"a": 1} {text}', "completion": "{category}"}, "as in JSON, write {{ and }}"),
        ({"prompt": "{text}"}, "as_chat needs completion="),
        ({"completion": "{category}"}, "as_chat needs prompt="),
        ({"messages": "text", "prompt": "{text}"}, "prompt= and completion= can't go with it"),
        ({"messages": "message"}, "messages= names the column 'message', which doesn't exist"),
        (
            {"prompt": "{text}", "completion": "{category}", "system": "{nott}"},
            "system= names the column 'nott', which doesn't exist; did you mean 'note'?",
        ),
    ],
)
def test_a_bad_template_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        Dataset.from_rows(EMAILS).as_chat(**arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"text": "b"}', "a.jsonl:3, field 'category': has no value"),
        ('{"text": null, "category": "x"}', "a.jsonl:3, field 'text': has no value"),
        ('{"text": "b", "category": "  "}', "a.jsonl:3, field 'category': is empty"),
        ('{"text": "\\n", "category": "x"}', "a.jsonl:3, field 'text': is empty"),
        ('{"text": ["b"], "category": "x"}', "a.jsonl:3, field 'text': is a list; templates take text and numbers"),
        ('{"text": "\\ud83d", "category": "x"}', "a.jsonl:3, field 'prompt': character 5 is half of a surrogate pair"),
    ],
)
def test_a_bad_value_is_refused_with_file_line_and_field(tmp_path: Path, bad: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('\n{"text": "a", "category": "x"}\n' + bad + "\n", encoding="utf-8")
    with pytest.raises(DatasetError) as caught:
        Dataset.from_file(path).as_chat(prompt="Sort {text}", completion="{category}")
    assert message in str(caught.value)
    assert caught.value.line == 3


def test_a_blank_field_beside_a_filled_one_is_fine() -> None:
    dataset = Dataset.from_rows([{"instruction": "Add", "input": "", "output": "2"}]).as_chat(
        prompt="{instruction}\n{input}", completion="{output}"
    )
    assert dataset[0]["messages"][0]["content"] == "Add\n"


@pytest.mark.parametrize("column", ["talk", "{talk}"])
def test_sharegpt_and_ordinary_messages_become_the_same(column: str) -> None:
    ours = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    theirs = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    datasets = [Dataset.from_rows([{"talk": talk}]).as_chat(messages=column) for talk in (ours, theirs)]
    assert datasets[0].fingerprint == datasets[1].fingerprint
    assert datasets[0][0] == {"messages": ours}


@pytest.mark.parametrize(
    "roles",
    [
        ("user", "assistant"),
        ("system", "user", "assistant"),
        ("user", "assistant", "user", "assistant"),
        ("user", "assistant", "tool", "tool", "assistant"),
    ],
)
def test_good_orders_of_roles_are_taken(roles: tuple[str, ...]) -> None:
    assert len(Dataset.from_rows([{"messages": conversation(*roles)}])[0]["messages"]) == len(roles)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (conversation("user"), "the conversation must end with 'assistant', and message 0 is from 'user'; roles: user"),
        (conversation("system"), "must end with 'assistant'"),
        (conversation("assistant"), "message 0 is from 'assistant', expected 'user'"),
        (
            conversation("user", "user", "assistant"),
            "message 1 is from 'user', expected 'assistant'; roles: user, user, assistant",
        ),
        (conversation("user", "system", "assistant"), "message 1 is from the system, which may only come first"),
        (conversation("system", "system", "user", "assistant"), "message 1 is from the system"),
        (conversation("user", "tool", "assistant"), "message 1 is from 'tool', expected 'assistant'"),
        (conversation("user", "assistant", "tool"), "must end with 'assistant'"),
        (conversation("user", "assistant", last=" \n"), "message 1, the assistant's last, is empty"),
        (
            [{"role": "user", "content": "a"}, {"role": "asistant", "content": "b"}],
            "message 1 has the role 'asistant'; did you mean 'assistant'?",
        ),
        ([{"role": "user", "content": [{"type": "text"}]}], "in 1 parts, of which part 0 isn't just a text"),
        ([{"role": "user", "content": ["a", 3]}], "in 2 parts, of which part 1 isn't just a text"),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]}],
            "in 2 parts, of which part 1 is 'image_url'",
        ),
        ([{"role": "user", "content": []}], "message 0 (user) has content that is a list, not text"),
        ([{"role": "user"}], "message 0 (user) has no content"),
        ([{"content": "a"}], "message 0 has no 'role' (it has 'content')"),
        (["hi"], "message 0 is a str"),
        (
            [{"role": "user", "content": "a"}, {"role": "assistant", "content": "", "tool_calls": [1]}],
            "call 0 of message 1 is a int, not an object",
        ),
        ([], "has no messages"),
        ("hi", "is a str; it must be a list"),
        (None, "has no value"),
    ],
)
def test_a_bad_conversation_is_refused_with_line_and_message(tmp_path: Path, messages: Any, message: str) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text(
        json.dumps({"messages": conversation("user", "assistant")}) + "\n" + json.dumps({"messages": messages}) + "\n",
        encoding="utf-8",
    )
    with pytest.raises(DatasetError) as caught:
        Dataset.from_file(path)
    assert str(caught.value).startswith("chat.jsonl:2, field 'messages': ")
    assert message in str(caught.value)


def test_content_in_parts_of_text_is_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Where is "}, {"type": "text", "text": "my parcel?", "image_url": None}]
    answer = {"role": "assistant", "content": [{"type": "text", "text": "Here"}]}
    messages = [{"role": "user", "content": parts}, answer]
    path = tmp_path / "chat.jsonl"
    path.write_text("".join(json.dumps({"messages": m}) + "\n" for m in (messages, conversation("user", "assistant"))))
    first, second = Dataset.from_file(path)
    assert [message["content"] for message in first["messages"]] == ["Where is my parcel?", "Here"]
    assert second["messages"] == conversation("user", "assistant")


def test_a_system_template_goes_before_messages_that_have_none() -> None:
    table = Dataset.from_rows([{"talk": conversation("user", "assistant"), "who": "Ada"}])
    assert table.as_chat(messages="talk", system="You help {who}.")[0]["messages"][0] == {
        "role": "system",
        "content": "You help Ada.",
    }
    table = Dataset.from_rows([{"talk": conversation("system", "user", "assistant")}])
    with pytest.raises(DatasetError, match="has a system message of its own"):
        table.as_chat(messages="talk", system="You help.")


@pytest.mark.parametrize(
    ("row", "format_"),
    [
        ({"messages": conversation("user", "assistant"), "id": 1}, "chat"),
        ({"prompt": "a", "completion": "b"}, "chat"),
        ({"prompt": "a", "completion": "b", "id": 7}, "chat"),
        ({"prompt": "a", "completion": "", "id": 7}, "table"),
        ({"prompt": conversation("user"), "completion": conversation("assistant")}, "chat"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference"),
        ({"prompt": "a", "chosen": "b", "rejected": "c", "messages": None}, "preference"),
        ({"prompt": "a", "answer": "b"}, "table"),
    ],
)
def test_ready_made_rows_are_known_by_their_columns(row: dict[str, Any], format_: str) -> None:
    assert Dataset.from_rows([row]).format == format_


def test_ready_made_prompts_are_not_read_as_templates() -> None:
    rows = [
        {"prompt": "say {x}", "completion": "{y}", "system": "s"},
        {"prompt": "b", "completion": "c", "system": None},
    ]
    assert [[m["content"] for m in row["messages"]] for row in Dataset.from_rows(rows)] == [
        ["s", "say {x}", "{y}"],
        ["b", "c"],
    ]


def test_a_ready_made_row_with_an_empty_completion_is_refused() -> None:
    with pytest.raises(DatasetError, match="row 2, field 'completion': is empty"):
        Dataset.from_rows([{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": ""}])


def test_preference_templates_and_message_columns_give_the_same_rows() -> None:
    flat = Dataset.from_rows([{"q": "hi", "good": "hello", "bad": "no"}]).as_preference(
        prompt="{q}", chosen="{good}", rejected="{bad}"
    )
    ask, good, bad = (
        {"role": role, "content": text} for role, text in (("user", "hi"), ("assistant", "hello"), ("assistant", "no"))
    )
    assert flat.format == "preference"
    assert flat[0] == {"prompt": [ask], "chosen": [good], "rejected": [bad]}
    lists = Dataset.from_rows([{"q": [ask], "good": [good], "bad": [bad]}]).as_preference(
        prompt="q", chosen="good", rejected="bad"
    )
    whole = Dataset.from_rows([{"q": "hi", "good": [ask, good], "bad": [ask, bad]}]).as_preference(
        prompt="{q}", chosen="{good}", rejected="{bad}"
    )
    implied = Dataset.from_rows([{"chosen": [ask, good], "rejected": [ask, bad]}]).as_preference()
    ready = Dataset.from_rows([{"prompt": "hi", "chosen": "hello", "rejected": "no"}])
    assert {flat.fingerprint} == {d.fingerprint for d in (lists, whole, implied, ready)}


@pytest.mark.parametrize("wrong", [3, b"{text}", ["{text}"], {"text": 1}, 1.5])
def test_a_template_that_is_no_text_is_refused_by_name(wrong: Any) -> None:
    data = Dataset.from_rows(EMAILS)
    chat: dict[str, Any] = {"prompt": "{text}", "completion": "{category}", "system": "Sort."}
    pairs: dict[str, Any] = {"prompt": "{text}", "chosen": "{category}", "rejected": "{text}"}
    conversations: dict[str, Any] = {"messages": "text"}
    for make, arguments in ((data.as_chat, chat), (data.as_preference, pairs), (data.as_chat, conversations)):
        for name in arguments:
            with pytest.raises(DatasetError) as caught:
                make(**arguments | {name: wrong})
            assert f"{name}={wrong!r} must be text, not {type(wrong).__name__}" in str(caught.value)


def test_a_preference_prompt_may_be_a_conversation() -> None:
    row = {"q": conversation("user", "assistant", "user"), "good": "yes", "bad": "no"}
    dataset = Dataset.from_rows([row]).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}", system="Be kind.")
    assert [message["role"] for message in dataset[0]["prompt"]] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"q": "a", "good": "same", "bad": "same"}, "chosen and rejected are the same"),
        ({"q": "a", "good": "", "bad": "b"}, "row 1, field 'good': is empty"),
        ({"q": "a", "good": None, "bad": "b"}, "row 1, field 'good': has no value"),
        (
            {"q": conversation("user", "assistant"), "good": "x", "bad": "b"},
            "the prompt must end with 'user', and message 1 is from 'assistant'",
        ),
        ({"q": "a", "good": conversation("user", "assistant"), "bad": "b"}, "field 'chosen': must be one answer"),
        ({"q": "a", "good": conversation("user"), "bad": "b"}, "must come from the assistant, not from 'user'"),
        ({"q": "a", "good": [{"role": "assistant", "content": " "}], "bad": "b"}, "row 1, field 'chosen': is empty"),
    ],
)
def test_a_bad_preference_row_is_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        Dataset.from_rows([row]).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")
    assert message in str(caught.value)


def test_a_bare_column_name_of_texts_is_taken_for_a_slip() -> None:
    with pytest.raises(
        DatasetError, match=r"chosen='good' is the name of a column, not a template. Did you mean '\{good\}'\?"
    ):
        Dataset.from_rows([{"q": "a", "good": "b", "bad": "c"}]).as_preference(
            prompt="{q}", chosen="good", rejected="{bad}"
        )


def test_answers_without_a_shared_prompt_need_one() -> None:
    row = {"chosen": conversation("user", "assistant"), "rejected": conversation("assistant")}
    with pytest.raises(DatasetError, match="prompt= must say what they answer"):
        Dataset.from_rows([row]).as_preference()


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",))), st.text(min_size=1).filter(str.strip))
def test_any_text_with_doubled_braces_survives_a_template(literal: str, value: str) -> None:
    template = literal.replace("{", "{{").replace("}", "}}") + "|{text}|"
    dataset = Dataset.from_rows([{"text": value, "label": "x"}]).as_chat(prompt=template, completion="{label}")
    assert dataset[0]["messages"][0]["content"] == f"{literal}|{value}|"


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"loss": 0.5}, "'loss' (0.5)"),
        ({"weight": 0.5}, "'weight' (0.5)"),
        ({"something": "new"}, "'something'"),
        ({"tool_call_id": "call_1"}, "'tool_call_id'"),
        ({"audio": {"id": "a"}}, "'audio'"),
    ],
)
def test_a_key_of_a_message_that_would_be_dropped_is_refused(more: dict[str, Any], named: str) -> None:
    talk = [{"role": "user", "content": "rain?"}, {"role": "assistant", "content": "Which city?", **more}]
    with pytest.raises(
        DatasetError,
        match=re.escape(f"row 1, field 'messages': message 1 has {named}, which can't be trained on yet"),
    ):
        Dataset.from_rows([{"messages": talk}])


@pytest.mark.parametrize("more", [{"tool_calls": []}, {"weight": 1}, {"name": None}, {"reasoning": ""}, {"loss": True}])
def test_a_key_of_a_message_that_means_nothing_passes(more: dict[str, Any]) -> None:
    talk = [{"role": "user", "content": "rain?"}, {"role": "assistant", "content": "Which city?", **more}]
    assert Dataset.from_rows([{"messages": talk}])[0]["messages"][1] == {"role": "assistant", "content": "Which city?"}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": conversation("user", "assistant")},
        {"prompt": "rain?", "completion": "Which city?"},
        {"prompt": conversation("user"), "completion": conversation("assistant")},
        {"prompt": "rain?", "chosen": "Which city?", "rejected": "No."},
    ],
)
def test_columns_that_change_what_is_trained_are_refused(row: dict[str, Any]) -> None:
    for column, value in (
        ("chat_template_kwargs", {"enable_thinking": False}),
        ("images", ["a.png"]),
    ):
        with pytest.raises(DatasetError, match=f"row 2, field '{column}': can't be trained on yet"):
            Dataset.from_rows([{**row, column: None}, {**row, column: value}])
        assert len(Dataset.from_rows([{**row, column: []}])) == 1
    if "completion" in row or "messages" in row:  # KTO's rows
        rows = Dataset.from_rows([{**row, "label": True}, {**row, "label": False}])
        assert (rows.format, [one["label"] for one in rows]) == ("unpaired", [True, False])
    else:
        with pytest.raises(DatasetError, match="row 2, field 'label': is false, which marks a bad answer"):
            Dataset.from_rows([{**row, "label": True}, {**row, "label": False}])


def test_a_system_column_goes_in_front_of_conversations() -> None:
    talk, system = conversation("user", "assistant"), {"role": "system", "content": "Talk like a pirate."}
    for row in (
        {"messages": talk},
        {"prompt": talk[:1], "completion": talk[1:]},
        {"prompt": "user 0", "completion": "fine"},
        {"messages": [system, *talk]},
    ):
        rows = Dataset.from_rows([{**row, "system": system["content"]}, {**row, "system": None}])
        assert rows[0] == {"messages": [system, *talk]}
    named = Dataset.from_rows([{"talk": talk, "system": system["content"]}])
    assert named.as_chat(messages="talk")[0] == {"messages": [system, *talk]}
    assert named.as_chat(messages="talk", system="Be brief.")[0]["messages"][0]["content"] == "Be brief."
    pairs = Dataset.from_rows(
        [{"system": system["content"], "good": talk, "bad": [talk[0], {"role": "assistant", "content": "no"}]}]
    )
    assert pairs.as_preference(chosen="{good}", rejected="{bad}")[0]["prompt"] == [system, talk[0]]


def test_two_different_system_messages_are_refused() -> None:
    with pytest.raises(DatasetError, match="has a system message of its own"):
        Dataset.from_rows([{"messages": conversation("system", "user", "assistant"), "system": "Another."}])


def test_values_are_written_out_as_the_table_shows_them(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"q": true, "a": 1.10}\n{"q": false, "a": 1e3}\n', encoding="utf-8")
    rows = Dataset.from_file(path).as_chat(prompt="{q}", completion="{a}")
    assert [[m["content"] for m in row["messages"]] for row in rows] == [["true", "1.10"], ["false", "1e3"]]


@pytest.mark.parametrize(
    ("value", "kind"), [(object(), "object"), ({"a"}, "set"), (range(3), "range"), (Path("a"), "PosixPath")]
)
def test_a_value_that_is_no_text_is_never_written_out(value: Any, kind: str) -> None:
    with pytest.raises(DatasetError, match=f"row 1, field 'a': is a {kind}; templates take text and numbers"):
        Dataset.from_rows([{"q": "x", "a": value}]).as_chat(prompt="{q}", completion="{a}")


def test_a_number_too_long_to_be_written_out_is_refused() -> None:
    with pytest.raises(DatasetError, match="row 1, field 'a': is a number that is too long"):
        Dataset.from_rows([{"q": "x", "a": 10**5000}]).as_chat(prompt="{q}", completion="{a}")
