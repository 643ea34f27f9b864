# Chat rows come out as RenderedRow, preference rows as RenderedPair; each test knows which.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false
from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftsdk.data import Dataset, RenderedRow, render_chat, render_dataset, render_preference
from ftsdk.errors import DatasetError, ModelError

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ASK = {"role": "user", "content": "Where is my parcel?"}
ANSWER = {"role": "assistant", "content": "shipping"}
LONG = [ASK, ANSWER, {"role": "user", "content": "And my money?"}, {"role": "assistant", "content": "billing"}]

# Both answers and questions, but no surrogates and no text that spells out a special token.
words = st.text(st.characters(exclude_categories=("Cs",)), max_size=40).filter(
    lambda text: "<|" not in text and "<s>" not in text
)
answers = words.filter(lambda text: bool(text.strip()))


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": draw(words)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages += [{"role": "user", "content": draw(words)}, {"role": "assistant", "content": draw(answers)}]
    return messages


def trained_ids(row: RenderedRow) -> list[int]:
    return [token for token, trained in zip(row.input_ids, row.trained, strict=True) if trained]


def trained_text(row: RenderedRow, tokenizer: Any) -> str:
    return tokenizer.decode(trained_ids(row), skip_special_tokens=False, clean_up_tokenization_spaces=False)


def pad(text: str) -> dict[str, list[dict[str, str]]]:
    return {"messages": [{"role": "user", "content": text}, ANSWER]}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(conversations())
def test_train_on_widens_from_completion_to_assistant_to_all(
    either_tokenizer: Any, messages: list[dict[str, str]]
) -> None:
    completion, assistant, everything = (
        render_chat(messages, either_tokenizer, train_on=on) for on in ("completion", "assistant", "all")
    )
    assert completion.input_ids == assistant.input_ids == everything.input_ids
    assert all(everything.trained)
    assert any(completion.trained)
    assert all(a or not c for c, a in zip(completion.trained, assistant.trained, strict=True))
    if sum(message["role"] == "assistant" for message in messages) == 1:
        assert completion.trained == assistant.trained


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(conversations())
def test_trained_tokens_are_the_answers_and_their_ends(either_tokenizer: Any, messages: list[dict[str, str]]) -> None:
    for train_on in ("completion", "assistant"):
        row = render_chat(messages, either_tokenizer, train_on=train_on)
        if row.flags:
            continue
        said = [message["content"] for message in messages if message["role"] == "assistant"]
        said = said[-1:] if train_on == "completion" else said
        assert trained_text(row, either_tokenizer) == "".join(text + "<|im_end|>" for text in said)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(conversations(), st.sampled_from(["completion", "assistant", "all"]), st.integers(1, 200))
def test_truncation_keeps_the_beginning_and_counts_what_it_takes(
    either_tokenizer: Any, messages: list[dict[str, str]], train_on: Any, max_length: int
) -> None:
    whole = render_chat(messages, either_tokenizer, train_on=train_on)
    cut = render_chat(messages, either_tokenizer, train_on=train_on, max_length=max_length)
    assert cut.input_ids == whole.input_ids[:max_length]
    assert cut.trained == whole.trained[:max_length]
    assert cut.truncated_tokens == len(whole.input_ids) - len(cut.input_ids)
    assert cut.lost_trained_tokens == sum(whole.trained) - sum(cut.trained)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(conversations())
def test_ids_are_those_of_the_tokenizers_own_chat_template(
    either_tokenizer: Any, messages: list[dict[str, str]]
) -> None:
    _compare_with_the_tokenizer(messages, either_tokenizer)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(conversations())
def test_ids_match_a_template_without_special_tokens_between_turns(
    sentencepiece_tokenizer: Any, messages: list[dict[str, str]]
) -> None:
    _compare_with_the_tokenizer(messages, sentencepiece_tokenizer)


def _compare_with_the_tokenizer(messages: list[dict[str, str]], tokenizer: Any) -> None:
    row = render_chat(messages, tokenizer, train_on="completion")
    assert list(row.input_ids) == tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
    prompt = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert ("boundary_mismatch" not in row.flags) == (list(row.input_ids[: len(prompt)]) == prompt)
    if "boundary_mismatch" not in row.flags:
        assert row.trained.index(True) == len(prompt)


def test_the_line_break_after_the_end_of_turn_is_not_trained(tokenizer: Any) -> None:
    row = render_chat([ASK, ANSWER], tokenizer)
    assert row.text.endswith("shipping<|im_end|>\n")
    assert row.trained[-2:] == (True, False)
    assert trained_text(row, tokenizer) == "shipping<|im_end|>"


def test_rows_rendered_together_are_those_rendered_alone(tokenizer: Any) -> None:
    rows = [
        {"messages": LONG},
        {"messages": [ASK, ANSWER]},
        {"messages": [{"role": "system", "content": "Sort."}, ASK, ANSWER]},
    ] * 700
    rendered = render_dataset(rows, tokenizer)
    assert len(rendered.rows) == len(rows)
    assert list(rendered.indices) == list(range(len(rows)))
    for index in (0, 1, 2, 1200, 2099):
        assert rendered.rows[index] == render_chat(rows[index]["messages"], tokenizer)


def test_an_end_token_inside_an_answer_is_flagged_and_ends_nothing(tokenizer: Any) -> None:
    row = render_chat([ASK, {"role": "assistant", "content": "a<|im_end|>b"}], tokenizer)
    assert trained_text(row, tokenizer) == "a<|im_end|>b<|im_end|>"
    assert row.flags == {"special_tokens_in_content"}


def test_a_template_that_trims_answers_is_masked_right(tokenizer: Any) -> None:
    template = CHATML.replace("m['content']", "m['content'] | trim")
    row = render_chat([ASK, {"role": "assistant", "content": "  shipping \n"}], tokenizer, chat_template=template)
    assert trained_text(row, tokenizer) == "shipping<|im_end|>"


def test_an_answer_without_an_end_of_text_token_is_counted(tokenizer: Any) -> None:
    template = CHATML.replace("<|im_end|>", "<|pad|>")
    report = render_dataset([{"messages": LONG}], tokenizer, chat_template=template).report
    assert report.rows_missing_eos == 1
    assert "the model won't learn to stop there" in str(report)
    pad_id = tokenizer.convert_tokens_to_ids("<|pad|>")
    assert (
        render_dataset(
            [{"messages": LONG}], tokenizer, chat_template=template, eos_token_ids=[2, pad_id]
        ).report.rows_missing_eos
        == 0
    )


def test_two_beginning_of_text_tokens_are_counted(base_tokenizer: Any) -> None:
    report = render_dataset(
        [{"messages": LONG}], base_tokenizer, chat_template="{{ bos_token }}{{ bos_token }}" + CHATML
    ).report
    assert report.rows_double_bos == 1
    assert (
        render_dataset(
            [{"messages": LONG}], base_tokenizer, chat_template="{{ bos_token }}" + CHATML
        ).report.rows_double_bos
        == 0
    )


def test_an_answer_that_merges_with_the_prompt_is_counted_and_trained(tokenizer: Any) -> None:
    """' billing' is one token, and the prompt alone ends with a blank.

    Serving would never see the sequence that was trained.
    """
    template = CHATML.replace("assistant\n{% endif %}", "assistant: {% endif %}").replace(
        "{{ m['role'] }}\n", "{{ m['role'] }}: "
    )
    rendered = render_dataset(
        [{"messages": [ASK, {"role": "assistant", "content": "billing"}]}], tokenizer, chat_template=template
    )
    assert rendered.report.boundary_mismatch == 1
    assert "in serving" in str(rendered.report)
    assert trained_text(rendered.rows[0], tokenizer) == " billing<|im_end|>"


def test_a_template_without_a_stable_last_turn_needs_all(tokenizer: Any) -> None:
    template = "{{ messages | length }}" + CHATML
    for train_on in ("completion", "assistant"):
        with pytest.raises(ModelError, match=r"Model\(chat_template=...\), or train_on='all'"):
            render_chat([ASK, ANSWER], tokenizer, train_on=train_on, chat_template=template)
    row = render_chat([ASK, ANSWER], tokenizer, train_on="all", chat_template=template)
    assert all(row.trained)
    assert row.flags == {"boundary_mismatch"}


def test_a_row_that_the_template_refuses_is_named(tokenizer: Any) -> None:
    template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
    )
    rows = [{"messages": [ASK, ANSWER]}, {"messages": [{"role": "system", "content": "Sort."}, ASK, ANSWER]}]
    with pytest.raises(
        ModelError, match=r"refuses row 2 \(roles: system, user, assistant\): System role not supported"
    ):
        render_dataset(rows, tokenizer, chat_template=template)


def test_a_model_without_a_template_gets_prompt_completion_and_end(base_tokenizer: Any) -> None:
    rendered = render_dataset([{"messages": [ASK, ANSWER]}], base_tokenizer)
    row = rendered.rows[0]
    assert row.text == "<s>Where is my parcel?shipping<|im_end|>"
    assert trained_text(row, base_tokenizer) == "shipping<|im_end|>"
    prompt = base_tokenizer(ASK["content"])["input_ids"]
    assert list(row.input_ids[: len(prompt)]) == prompt
    assert "has no chat template" in str(rendered.report)
    for messages in (LONG, [{"role": "system", "content": "Sort."}, ASK, ANSWER]):
        with pytest.raises(ModelError, match=r"no chat template.*row 1 has the roles.*Model\(chat_template=...\)"):
            render_chat(messages, base_tokenizer)


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(ModelError, match="object is not a fast tokenizer"):
        render_chat([ASK, ANSWER], object())


def test_truncation_and_padding_settings_of_the_tokenizer_are_off(tokenizer: Any) -> None:
    expected = render_dataset([{"messages": LONG}, {"messages": [ASK, ANSWER]}], tokenizer).rows
    tokenizer.backend_tokenizer.enable_truncation(5)
    tokenizer.backend_tokenizer.enable_padding(length=50)
    assert render_dataset([{"messages": LONG}, {"messages": [ASK, ANSWER]}], tokenizer).rows == expected


def test_the_report_counts_lengths_cuts_and_dropped_rows(tokenizer: Any) -> None:
    rows = [pad("hi")] * 8 + [pad("hi " * 20)] + [pad("hi " * 60)]
    whole = render_dataset(rows, tokenizer)
    lengths = [len(row.input_ids) for row in whole.rows]
    report = whole.report
    assert (report.length_min, report.length_median, report.length_max, report.longest_row) == (
        min(lengths),
        lengths[0],
        max(lengths),
        9,
    )
    assert (report.tokens_total, report.trained_tokens) == (sum(lengths), sum(sum(row.trained) for row in whole.rows))
    assert (report.rows_truncated, report.notes) == (0, ())
    report.check(0.0)
    cut = render_dataset(rows, tokenizer, max_length=lengths[8] - 3)
    assert (cut.report.rows, len(cut.rows)) == (10, 9)
    assert (
        cut.report.rows_truncated,
        cut.report.rows_losing_trained_tokens,
        cut.report.rows_without_trained_tokens,
    ) == (2, 1, 1)
    assert cut.indices == tuple(range(9))
    assert cut.report.length_max == report.length_max
    assert "1 row has nothing left to learn and is dropped." in cut.report.notes
    assert cut.report.to_dict()["rows_truncated"] == 2


def test_losing_the_line_break_after_a_turn_loses_nothing(tokenizer: Any) -> None:
    whole = render_chat([ASK, ANSWER], tokenizer)
    report = render_dataset([{"messages": [ASK, ANSWER]}], tokenizer, max_length=len(whole.input_ids) - 1).report
    assert (report.rows_truncated, report.rows_losing_trained_tokens) == (1, 0)
    report.check(0.0)


def test_the_check_refuses_too_many_cuts_with_numbers_and_advice(tokenizer: Any) -> None:
    report = render_dataset([pad("hi")] * 9 + [pad("hi " * 60)], tokenizer, max_length=60).report
    report.check(0.1)
    with pytest.raises(DatasetError) as caught:
        report.check()
    for part in (
        "1 of 10 rows (10.0%)",
        "max_length=60",
        "1.0%",
        "row 10 with",
        "Raise max_length",
        "max_truncated=0.1",
    ):
        assert part in str(caught.value)


def test_the_check_refuses_data_of_which_nothing_is_left(tokenizer: Any) -> None:
    rendered = render_dataset([pad("hi " * 60)], tokenizer, max_length=20)
    assert rendered.rows == ()
    with pytest.raises(DatasetError, match="1 of 1 rows"):
        rendered.report.check(1.0)


def test_no_rows_are_no_dataset(tokenizer: Any) -> None:
    with pytest.raises(DatasetError, match="no rows to render"):
        render_dataset([], tokenizer)


def test_a_preference_pair_shares_its_prompt_and_ends_both_answers(tokenizer: Any) -> None:
    row = {"prompt": [ASK], "chosen": [ANSWER], "rejected": [{"role": "assistant", "content": "weather travel"}]}
    pair = render_preference(row, tokenizer)
    assert (
        tokenizer.decode(pair.prompt_ids)
        == pair.prompt_text
        == tokenizer.apply_chat_template([ASK], tokenize=False, add_generation_prompt=True)
    )
    assert tokenizer.decode(pair.chosen_ids) == "shipping<|im_end|>"
    assert tokenizer.decode(pair.rejected_ids) == "weather travel<|im_end|>"
    assert (pair.truncated_tokens, pair.flags) == (0, frozenset())
    assert pair.length == len(pair.prompt_ids) + max(len(pair.chosen_ids), len(pair.rejected_ids))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(conversations(), answers, st.integers(1, 120))
def test_a_cut_pair_keeps_the_beginnings_and_counts_the_rest(
    either_tokenizer: Any, messages: list[dict[str, str]], other: str, max_length: int
) -> None:
    row = {"prompt": messages[:-1], "chosen": messages[-1:], "rejected": [{"role": "assistant", "content": other}]}
    whole, cut = (
        render_preference(row, either_tokenizer),
        render_preference(row, either_tokenizer, max_length=max_length),
    )
    lost = 0
    for side in ("chosen_ids", "rejected_ids"):
        sequence, kept = whole.prompt_ids + getattr(whole, side), cut.prompt_ids + getattr(cut, side)
        assert kept == sequence[:max_length]
        lost += len(sequence) - len(kept)
    assert cut.truncated_tokens == lost


def test_pairs_that_a_cut_made_the_same_are_dropped(tokenizer: Any) -> None:
    rows = list(
        Dataset.from_rows(
            [
                {"prompt": "hi", "chosen": "a a a a a a b", "rejected": "a a a a a a c"},
                {"prompt": "hi", "chosen": "a", "rejected": "b"},
            ]
        )
    )
    length = len(render_preference(rows[0], tokenizer).prompt_ids)
    rendered = render_dataset(rows, tokenizer, max_length=length + 3)
    assert (rendered.indices, rendered.report.rows_without_trained_tokens) == ((1,), 1)
    whole = render_dataset(rows, tokenizer).report
    assert (whole.rows, whole.rows_without_trained_tokens) == (2, 0)


def test_pairs_that_a_template_makes_equal_are_refused(tokenizer: Any) -> None:
    template = CHATML.replace("m['content']", "m['content'] | trim")
    rows = list(Dataset.from_rows([{"prompt": "hi", "chosen": "a", "rejected": "a "}]))
    with pytest.raises(DatasetError, match="both answers give the same tokens"):
        render_dataset(rows, tokenizer, chat_template=template).report.check()


def test_rendering_loads_no_torch() -> None:
    code = (
        "import sys, ftsdk.data; assert not {'torch', 'transformers', 'datasets', 'pyarrow', 'jinja2', 'rich'} & "
        "set(sys.modules), sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("answer", ["d", "im_end", "<", "|", "end|>"])
def test_an_answer_that_the_end_token_spells_out_ends_where_it_ends(either_tokenizer: Any, answer: str) -> None:
    row = render_chat([ASK, {"role": "assistant", "content": answer}], either_tokenizer)
    assert trained_text(row, either_tokenizer) == f"{answer}<|im_end|>"
    assert row.flags == frozenset()
    pair = render_preference(
        {"prompt": [ASK], "chosen": [ANSWER], "rejected": [{"role": "assistant", "content": answer}]}, either_tokenizer
    )
    assert pair.chosen_ids[-1] == pair.rejected_ids[-1] == either_tokenizer.eos_token_id
    whole = render_chat(
        [ASK, {"role": "assistant", "content": answer}],
        either_tokenizer,
        train_on="all",
        chat_template="{{ messages | length }}" + CHATML,
    )
    assert whole.flags == {"boundary_mismatch"}


@pytest.mark.parametrize("answer", ["d", "im_end", "D", "im_end|>  ", "q", "v \n"])
@pytest.mark.parametrize("change", ["| upper", "| trim", "| lower", "| tojson", "~ '.'"])
def test_an_end_comes_from_the_rendering_when_the_template_changes_an_answer(
    either_tokenizer: Any, answer: str, change: str
) -> None:
    template = CHATML.replace("m['content']", f"m['content'] {change}")
    message = {"role": "assistant", "content": answer}
    row = render_chat([ASK, message, ASK, message], either_tokenizer, chat_template=template)
    assert trained_ids(row).count(either_tokenizer.eos_token_id) == 2
    assert "missing_eos" not in row.flags
    preference = {"prompt": [ASK], "chosen": [message], "rejected": [ANSWER]}
    pair = render_preference(preference, either_tokenizer, chat_template=template)
    assert pair.chosen_ids[-1] == pair.rejected_ids[-1] == either_tokenizer.eos_token_id
    assert "missing_eos" not in pair.flags


@pytest.mark.parametrize("answer", ["a<|im_end|>", "<|im_end|>", "<|im_end|>b"])
def test_an_end_token_in_an_answer_is_not_taken_for_the_templates(tokenizer: Any, answer: str) -> None:
    template = CHATML.replace("<|im_end|>", "\n")
    for train_on in ("completion", "assistant", "all"):
        row = render_chat(
            [ASK, {"role": "assistant", "content": answer}], tokenizer, train_on=train_on, chat_template=template
        )
        assert "missing_eos" in row.flags


SYSTEM = {"role": "system", "content": "ALWAYS IN FRENCH"}
TOOL = [ASK, {"role": "assistant", "content": "wait"}, {"role": "tool", "content": 'RAIN "AT" NOON'}, ANSWER]
THOUGHT = {"role": "assistant", "content": "<think>\nTWO AND TWO\n</think>\n\n4"}
WITHOUT_THOUGHT = CHATML.replace("{{ m['content'] }}", "{{ m['content'].split('</think>')[-1] }}")


@pytest.mark.parametrize(
    ("template", "messages"),
    [
        (
            "{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}" + CHATML,
            [SYSTEM, ASK, ANSWER],
        ),
        ("{% set messages = messages | rejectattr('role', 'equalto', 'tool') | list %}" + CHATML, TOOL),
        (WITHOUT_THOUGHT, [ASK, THOUGHT]),
        (CHATML.replace("m['content']", "m['content'] | e"), [ASK, {"role": "assistant", "content": "a < b"}]),
        (CHATML.replace("m['content']", "m['content'] | lower"), [ASK, ANSWER]),
        (CHATML.replace("for m in messages", "for m in messages[-2:]"), LONG),
    ],
)
def test_content_that_a_template_loses_is_flagged_and_refused(
    tokenizer: Any, template: str, messages: list[dict[str, str]]
) -> None:
    report = render_dataset([{"messages": messages}] * 3, tokenizer, train_on="all", chat_template=template).report
    assert report.rows_losing_content == 3
    assert "3 rows: the model's chat template leaves out or changes what a message says." in report.notes
    with pytest.raises(DatasetError, match=r"in 3 of 3 rows.*Model\(chat_template=...\).*max_truncated=1"):
        report.check()
    report.check(1.0)


@pytest.mark.parametrize(
    ("template", "messages"),
    [
        (
            CHATML.replace("m['content']", "m['content'] | trim"),
            [SYSTEM, ASK, {"role": "assistant", "content": "  a \n"}],
        ),
        (CHATML.replace("m['content']", "m['content'] | tojson if m['role'] == 'tool' else m['content']"), TOOL),
        (WITHOUT_THOUGHT, [ASK, THOUGHT, {"role": "user", "content": "3+3"}, {"role": "assistant", "content": "6"}]),
        (CHATML, [ASK, ANSWER, ASK, ANSWER]),
    ],
)
def test_templates_that_keep_every_message_in_their_way_are_fine(
    tokenizer: Any, template: str, messages: list[dict[str, str]]
) -> None:
    assert (
        render_dataset(
            [{"messages": messages}], tokenizer, train_on="completion", chat_template=template
        ).report.rows_losing_content
        == 0
    )
