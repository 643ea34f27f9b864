"""Tools, their calls and what tools answer: read, kept in rows, rendered, masked, and checked against the template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chat_templates import CALLS_AS_TEXT, CHATML, REASONING, TOOLS_CHATML, TOOLS_LLAMA, XML_CALLS

from ftsdk.data import Dataset, RenderedPair, RenderedRow, Store, preview, render_dataset
from ftsdk.errors import DatasetError, ModelError

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": 'The weather of a "city".',
        "parameters": {"type": "object", "properties": {"days": {"type": "integer"}, "city": {"type": "string"}}},
    },
}
ASK = {"role": "user", "content": "Rain in Rome?"}
ANSWER = {"role": "assistant", "content": "No rain."}


def call(arguments: Any = '{"days":2,"city":"Rome"}', name: str = "weather", id_: str | None = "call_0001") -> Any:
    made = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [made if id_ is None else {"id": id_, **made}]}


def told(text: str = "dry", id_: str = "call_0001") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": text}


TALK = [ASK, call(), told(), ANSWER]


def read(*messages: dict[str, Any], **beside: Any) -> Dataset:
    return Dataset.from_rows([{"messages": list(messages), **beside}])


def trained(row: Any, tokenizer: Any) -> str:
    ids = [token for token, is_trained in zip(row.input_ids, row.trained, strict=True) if is_trained]
    return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def test_calls_stay_as_they_are_from_the_file_through_the_store(tmp_path: Path) -> None:
    file = tmp_path / "talk.jsonl"
    rows = [{"messages": [ASK, ANSWER]}] * 1500 + [
        {"messages": TALK, "tools": [WEATHER], "parallel_tool_calls": False, "id": 7}
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    dataset = Dataset.from_file(file)
    assert dataset[0] == {"messages": [ASK, ANSWER]}
    last = dataset[1500]
    assert last["messages"][1] == {**call(), "content": ""}
    assert last["messages"][2] == told()
    assert json.dumps(last["tools"]) == json.dumps([WEATHER])  # in the order of its keys, as templates show them
    assert last["parallel_tool_calls"] is False
    store = Store(tmp_path / "store")
    store.put(dataset)
    assert list(store.open(dataset.fingerprint, format="chat")) == list(dataset)
    again = Dataset.from_file(dataset.to_jsonl(tmp_path / "again.jsonl"))
    assert again.fingerprint == dataset.fingerprint
    joined = Dataset.from_rows(rows[:1]) + Dataset.from_rows(rows[-1:])
    store.put(joined)
    assert list(store.open(joined.fingerprint, format="chat")) == [dataset[0], last]


def test_rows_without_tools_keep_their_fingerprint() -> None:
    line = '{"messages":[{"content":"Rain in Rome?","role":"user"},{"content":"No rain.","role":"assistant"}]}\n'
    assert read(ASK, ANSWER).to_bytes() == line.encode()
    assert read(ASK, ANSWER, tools=[], parallel_tool_calls=None).to_bytes() == line.encode()


@pytest.mark.parametrize(
    ("messages", "beside"),
    [
        (TALK, {"tools": json.dumps([WEATHER])}),
        (TALK, {"tools": [WEATHER["function"]]}),
        ([ASK, call({"days": 2, "city": "Rome"}), told(), ANSWER], {"tools": [{**WEATHER, "strict": None}]}),
    ],
)
def test_other_spellings_of_tools_and_calls_say_the_same(messages: list[Any], beside: dict[str, Any]) -> None:
    row = read(*messages, **beside)[0]
    assert row["tools"] == [WEATHER]
    assert json.loads(row["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"days": 2, "city": "Rome"}


def test_legacy_functions_are_tools_without_ids() -> None:
    function = {"name": "weather", "arguments": '{"days":2,"city":"Rome"}'}
    legacy = [ASK, {"role": "assistant", "content": None, "function_call": function}]
    legacy += [{"role": "function", "name": "weather", "content": "dry"}, ANSWER]
    today = [ASK, call(id_=None), {"role": "tool", "name": "weather", "content": "dry"}, ANSWER]
    assert read(*legacy, functions=[WEATHER["function"]])[0] == read(*today, tools=[WEATHER])[0]


TWO = {**call(), "tool_calls": [call()["tool_calls"][0], call(id_="call_0002")["tool_calls"][0]]}


@pytest.mark.parametrize(
    ("messages", "beside", "message"),
    [
        ([ASK, call("{days: 2}"), told(), ANSWER], {}, "the arguments of call 0 of message 1 aren't JSON"),
        ([ASK, call('{"a": 1, "a": 2}'), told(), ANSWER], {}, "aren't JSON: the key 'a' appears twice"),
        ([ASK, call("[1]"), told(), ANSWER], {}, "are no JSON object"),
        ([ASK, call('{"a": NaN}'), told(), ANSWER], {}, "can't be written as JSON"),
        ([ASK, call(name=""), told(), ANSWER], {}, "names no function"),
        ([ASK, call(), ASK, ANSWER], {}, "message 2 is from 'user'|has 1 tool calls, and 0 messages"),
        ([ASK, TWO, told(), ANSWER], {}, "message 1 has 2 tool calls, and 1 messages from tools answer them"),
        ([ASK, call(), told(id_="call_9"), ANSWER], {}, "answers the call 'call_9', which message 1 doesn't have"),
        ([ASK, TWO, told(), told(), ANSWER], {}, "the call 'call_0001' of message 1 is there or answered twice"),
        ([ASK, TWO], {"tools": [WEATHER], "parallel_tool_calls": False}, "has 2 calls, and parallel_tool_calls is"),
        (TALK, {"tools": [{"name": "wether"}]}, "calls 'weather', which isn't among the row's tools; did you mean"),
        (TALK, {"tools": [WEATHER, WEATHER]}, "names 'weather' twice"),
        (TALK, {"tools": "not JSON"}, "is text that isn't JSON"),
        (TALK, {"tools": [{"type": "retrieval"}]}, "has no name|has the type 'retrieval'"),
        (TALK, {"tools": [{"name": "weather", "parameters": {"properties": {"city": None}}}]}, "'city' as null"),
        (TALK, {"tools": [WEATHER], "functions": [WEATHER]}, "can't go with a column 'tools'"),
        (TALK, {"tools": [WEATHER], "parallel_tool_calls": "no"}, "is 'no', not true or false"),
        ([ASK, {**ANSWER, "weight": 0}], {}, "all have the weight 0"),
    ],
)
def test_calls_that_no_service_would_take_are_refused(
    messages: list[Any], beside: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        read(*messages, **beside)
    assert caught.value.line == 1
    assert caught.value.field is not None


@pytest.mark.parametrize(
    ("template", "written"),
    [
        (TOOLS_CHATML, '<tool_call>\n{"name": "weather", "arguments": {"days": 2, "city": "Rome"}}\n</tool_call>'),
        (TOOLS_LLAMA, '{"name": "weather", "parameters": {"days": 2, "city": "Rome"}}'),
        (CALLS_AS_TEXT, '<tool_call>\n{"name": "weather", "arguments": {"days":2,"city":"Rome"}}\n</tool_call>'),
        (
            XML_CALLS,
            "<function=weather><parameter=days>2</parameter><parameter=city>Rome</parameter></function>",
        ),
    ],
)
def test_calls_are_trained_and_what_tools_say_is_read(either_tokenizer: Any, template: str, written: str) -> None:
    rendered = render_dataset(read(*TALK, tools=[WEATHER]), either_tokenizer, chat_template=template)
    rendered.report.check()
    row = rendered.rows[0]
    assert isinstance(row, RenderedRow)
    assert trained(row, either_tokenizer) == f"{written}<|im_end|>No rain.<|im_end|>"
    assert "dry" in row.text
    assert "description" in row.text
    assert row.flags == frozenset()
    last = render_dataset(read(*TALK, tools=[WEATHER]), either_tokenizer, chat_template=template, train_on="completion")
    assert trained(last.rows[0], either_tokenizer) == "No rain.<|im_end|>"


def test_an_end_of_turn_inside_of_arguments_ends_nothing(tokenizer: Any) -> None:
    arguments = '{"days": 2, "city": "a<|im_end|>"}'
    row = render_dataset(read(ASK, call(arguments), tools=[WEATHER]), tokenizer, chat_template=TOOLS_CHATML).rows[0]
    assert trained(row, tokenizer).endswith('a<|im_end|>"}}\n</tool_call><|im_end|>')
    assert "special_tokens_in_content" in row.flags


def test_parallel_calls_and_rows_with_other_tools_go_together(tokenizer: Any) -> None:
    other = {"type": "function", "function": {"name": "clock"}}
    rows = [
        {"messages": [ASK, TWO, told(), told("wet", "call_0002"), ANSWER], "tools": [WEATHER]},
        {"messages": [ASK, ANSWER]},
        {"messages": [ASK, call("", "clock", None)], "tools": [other, WEATHER]},
    ]
    rendered = render_dataset(Dataset.from_rows(rows), tokenizer, chat_template=TOOLS_CHATML)
    rendered.report.check()
    for row, alone in zip(rendered.rows, rows, strict=True):
        assert render_dataset(Dataset.from_rows([alone]), tokenizer, chat_template=TOOLS_CHATML).rows == (row,)
    assert trained(rendered.rows[0], tokenizer).count("<tool_call>") == 2
    assert '{"name": "clock", "arguments": {}}' in trained(rendered.rows[2], tokenizer)
    with pytest.raises(ModelError, match=r"refuses row 1 .*only supports single tool-calls"):
        render_dataset(Dataset.from_rows(rows), tokenizer, chat_template=TOOLS_LLAMA)


NO_CALLS = TOOLS_CHATML.replace("for call in m.tool_calls", "for call in []").replace(
    "{%- if m.content %}{{- '\\n' + m.content }}{% endif %}", "{{- '\\n' + m.content }}"
)
OTHER_VALUE = TOOLS_CHATML.replace("call.function.arguments | tojson", "{'days': 3, 'city': 'Rome'} | tojson")
NO_TOOLS = TOOLS_CHATML.replace("{{ tool | tojson }}", "")


@pytest.mark.parametrize("template", [CHATML, NO_CALLS, OTHER_VALUE, NO_TOOLS])
@pytest.mark.parametrize("train_on", ["assistant", "completion", "all"])
def test_a_template_that_leaves_out_tools_or_calls_is_refused(tokenizer: Any, template: str, train_on: Any) -> None:
    rows = [{"messages": [ASK, ANSWER]}] * 300 + [{"messages": TALK, "tools": [WEATHER]}]
    report = render_dataset(Dataset.from_rows(rows), tokenizer, chat_template=template, train_on=train_on).report
    with pytest.raises(DatasetError, match=r"1 of 301 rows, first in row 301; .*Model\(chat_template=\.\.\.\)"):
        report.check()


def test_a_call_of_no_arguments_that_is_left_out_is_found(tokenizer: Any) -> None:
    dataset = read(ASK, call("{}"), told(), ANSWER, tools=[WEATHER])
    for train_on in ("assistant", "completion"):
        report = render_dataset(dataset, tokenizer, chat_template=NO_CALLS, train_on=train_on).report
        assert report.rows_losing_tools == 1


def test_a_model_without_a_template_learns_no_tools(base_tokenizer: Any) -> None:
    with pytest.raises(ModelError, match=r"no chat template.* and tools"):
        render_dataset(read(ASK, ANSWER, tools=[WEATHER]), base_tokenizer)


def test_weights_leave_turns_out_of_the_loss(tokenizer: Any) -> None:
    talk = [ASK, {**ANSWER, "weight": 0}, ASK, {"role": "assistant", "content": "Dry.", "weight": 1}]
    row = render_dataset(read(*talk), tokenizer, chat_template=CHATML).rows[0]
    assert trained(row, tokenizer) == "Dry.<|im_end|>"
    everything = render_dataset(read(*talk), tokenizer, chat_template=CHATML, train_on="all").rows[0]
    assert isinstance(everything, RenderedRow)
    assert "No rain." not in trained(everything, tokenizer)
    assert trained(everything, tokenizer).count("Rain in Rome?") == 2
    ends = read(ASK, ANSWER, ASK, {**ANSWER, "train": False})
    with pytest.raises(DatasetError, match="last message of row 1 has the weight 0, and train_on='completion'"):
        render_dataset(ends, tokenizer, chat_template=CHATML, train_on="completion")


def test_preference_pairs_may_prefer_a_call(tokenizer: Any) -> None:
    pair = {"prompt": [ASK], "chosen": [call()], "rejected": [ANSWER], "tools": [WEATHER]}
    dataset = Dataset.from_rows([pair])
    assert dataset.format == "preference"
    rendered = render_dataset(dataset, tokenizer, chat_template=TOOLS_CHATML)
    rendered.report.check()
    row = rendered.rows[0]
    assert isinstance(row, RenderedPair)
    assert tokenizer.decode(row.chosen_ids).startswith("<tool_call>")
    assert '"description"' in row.prompt_text
    with pytest.raises(DatasetError, match="tools or the tool calls of 1 of 1 rows"):
        render_dataset(dataset, tokenizer, chat_template=CHATML).report.check()


def test_the_preview_shows_calls_as_they_are_trained(tokenizer: Any) -> None:
    dataset = read(*TALK, tools=[WEATHER])
    shown = preview(dataset, tokenizer, chat_template=TOOLS_CHATML)
    row = render_dataset(dataset, tokenizer, chat_template=TOOLS_CHATML).rows[0]
    assert isinstance(row, RenderedRow)
    assert [token.id for token in shown.rows[0].tokens] == list(row.input_ids)
    assert [token.is_trained for token in shown.rows[0].tokens] == list(row.trained)
    assert '⟦<tool_call>\n{"name": "weather"' in str(shown)


def test_rows_that_call_tools_differently_differ() -> None:
    rows = [{"messages": [ASK, call(f'{{"days": {days}}}', id_=f"call_{n}")]} for n, days in enumerate((1, 2, 1))]
    dataset = Dataset.from_rows(rows)
    assert len(dataset.drop_duplicates()) == 2
    assert dataset.summary().duplicate_rows == 1
    assert [(found.code, found.rows) for found in dataset.report().findings if "duplicates" in found.code] == [
        ("exact_duplicates", 1)
    ]


def test_growing_by_models_refuses_rows_that_use_tools() -> None:
    rows = [{"messages": [ASK, ANSWER]}, {"messages": TALK, "tools": [WEATHER]}]
    dataset = Dataset.from_rows(rows)
    with pytest.raises(DatasetError, match="row 2: uses tools, and augment asks models for text alone"):
        dataset.augment(lambda _: "never asked")
    with pytest.raises(DatasetError, match="row 2: uses tools, and to_preference asks"):
        dataset.to_preference(lambda _: "a", lambda _: "b", lambda *_: "tie")


def test_tasks_for_reviewers_show_calls(tmp_path: Path) -> None:
    read(*TALK, tools=[WEATHER]).to_label_studio(tmp_path / "tasks.json")
    (task,) = json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))
    assert 'weather({"days":2,"city":"Rome"})' in task["data"]["prompt"]


def test_scrubbing_leaves_calls_that_can_be_parsed() -> None:
    dataset = read(ASK, call('{"days": 2, "city": "write to ada@example.com"}'), told(), ANSWER, tools=[WEATHER])
    cleaned = dataset.clean("pii")
    function = cleaned[0]["messages"][1]["tool_calls"][0]["function"]
    assert "ada@example.com" not in function["arguments"]
    assert json.loads(function["arguments"])["days"] == 2
    assert cleaned[0]["tools"] == [WEATHER]


def test_a_reasoning_template_keeps_thoughts_of_a_chain_of_calls(tokenizer: Any) -> None:
    """What was thought since the last question stays in the text, so that one sequence holds the whole chain."""
    talk = [ASK, {**call(), "reasoning_content": "Look it up."}, told(), {**ANSWER, "reasoning_content": "It is dry."}]
    rendered = render_dataset(read(*talk, tools=[WEATHER]), tokenizer, chat_template=REASONING)
    assert len(rendered.rows) == 1
    assert trained(rendered.rows[0], tokenizer).count("<think>") == 2
    rendered.report.check()


def test_cleaning_keeps_calls_and_tools_that_answer_nothing() -> None:
    dataset = read(ASK, call(), told(""), ANSWER, tools=[WEATHER]) + read(ASK, call("{}"))
    assert list(dataset.clean()) == list(dataset)
