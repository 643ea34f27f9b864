"""What is done to a whole batch in Arrow equals what is done to one row at a time."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk._home import home
from ftsdk.data import Dataset, JudgedBy, leaks_of
from ftsdk.data.asked import answers_of, loose_prompt_hashes, prompts_of, wholes_of
from ftsdk.data.bad_rows import BadRows
from ftsdk.data.csv_text import csv_rows
from ftsdk.data.duplicates.leaks import Asked, Learned, find_leaks
from ftsdk.data.kept_leaks import keep_leaks, kept_leaks
from ftsdk.data.message_rows import as_lines, line_blocks, message_lists, message_rows, row_characters
from ftsdk.data.row_keys import answer_text, loose_prompt_hash, prompt_text
from ftsdk.data.row_sequence import RowSequence
from ftsdk.data.split import choose, draws
from ftsdk.data.text_column import TextColumn
from ftsdk.data.token_guess import guess_rows
from ftsdk.errors import DatasetError
from ftsdk.models.chat_template import message_text

ODD = [
    '"',
    "\\",
    "\n",
    "\r\n",
    "\t",
    "\0",
    "\x01",
    "\x1f",
    "\x7f",
    "é",
    "İ",
    "K",
    "ſ",
    "\u2028",
    "\U0001f600",
    " ",
    "中",
]
texts = st.lists(st.sampled_from([*ODD, "a", "B", "word", "7"]), max_size=6).map("".join) | st.text(max_size=8)
said = {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": texts}
calls = st.just([{"type": "function", "function": {"name": "look", "arguments": '{"at": "\\u00e9"}'}}])
plain_talks = st.lists(st.fixed_dictionaries(said), min_size=1, max_size=4)
talks = plain_talks | st.lists(
    st.fixed_dictionaries(said, optional={"reasoning_content": texts, "tool_calls": calls}), min_size=1, max_size=4
)
tools = {"tools": st.just([{"type": "function", "function": {"name": "look"}}])}
plain_chats = st.lists(st.fixed_dictionaries({"messages": plain_talks}), min_size=1, max_size=20)
chats = plain_chats | st.lists(st.fixed_dictionaries({"messages": talks}, optional=tools), min_size=1, max_size=20)
sides = {"chosen": talks, "prompt": talks, "rejected": talks}
pairs = st.lists(st.fixed_dictionaries(sides, optional=tools), min_size=1, max_size=20)


def form_of(found: Sequence[dict[str, Any]]) -> Literal["chat", "preference"]:
    return "chat" if "messages" in found[0] else "preference"


@settings(max_examples=100)
@given(chats | pairs)
def test_rows_are_hashed_and_measured_as_one_by_one(found: list[dict[str, Any]]) -> None:
    rows, form = message_rows(found), form_of(found)
    assert b"".join(line_blocks(rows)) == as_lines(found)
    assert [json.loads(line) for line in as_lines(found).split(b"\n")[:-1]] == found
    plain = guess_rows(iter(found))
    assert numpy.array_equal(guess_rows(rows).sequences, plain.sequences)
    assert numpy.array_equal(guess_rows(rows).answers, plain.answers)
    assert row_characters(rows) == [
        sum(len(message_text(message)) for side, list_ in row.items() if side != "tools" for message in list_)
        + (len(json.dumps(row["tools"])) if "tools" in row else 0)
        for row in found
    ]
    assert loose_prompt_hashes(rows, form).tolist() == [loose_prompt_hash(row, form) for row in found]
    assert list(prompts_of(rows, form)) == [prompt_text(row, form) for row in found]
    assert list(answers_of(rows, form)) == [answer_text(row) for row in found]
    assert list(wholes_of(rows, form)) == [f"{prompt_text(row, form)}\n{answer_text(row)}" for row in found]


@settings(max_examples=50)
@given(chats, st.data())
def test_chosen_rows_are_read_as_their_positions_say(found: list[dict[str, Any]], data: st.DataObject) -> None:
    rows = message_rows(found * 3)
    positions = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=40))
    chosen = rows.at(positions)
    assert list(chosen) == [(found * 3)[position] for position in positions]
    assert b"".join(line_blocks(chosen)) == as_lines(chosen)
    assert prompts_of(rows, "chat").take(positions).to_pylist() == [prompt_text(row, "chat") for row in chosen]
    start = len(positions) // 2
    assert list(chosen[start:].at(range(len(positions) - start))) == list(chosen)[start:]


@given(plain_chats)
def test_a_summary_counts_what_the_rows_say(found: list[dict[str, Any]]) -> None:
    rows = [{"messages": [{"role": "user", "content": "é" * n + "?"}, *_answered(row)]} for n, row in enumerate(found)]
    dataset = Dataset.from_rows(rows + rows[:2])
    shown = dataset.summary()
    before = sorted(sum(len(m["content"]) for m in row["messages"][:-1]) for row in dataset)
    answers = sorted(len(row["messages"][-1]["content"]) for row in dataset)
    assert shown.prompt_chars_median == before[(len(before) - 1) // 2]
    assert shown.completion_chars_median == answers[(len(answers) - 1) // 2]
    assert shown.duplicate_rows == len(dataset) - len({json.dumps(row) for row in dataset})


def _answered(row: dict[str, Any]) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": row["messages"][-1]["content"] + "."}]


cells = texts | st.sampled_from(
    ["", " ", "\u2003", "\ud83d", "{x}", None, 7, 1.5, float("nan"), True, [1], {"a": {"b": "c"}}]
)


@settings(max_examples=200)
@given(
    st.lists(st.fixed_dictionaries({"x": cells, "y": texts, "system": texts}), min_size=1, max_size=12),
    st.sampled_from(["{x}", "{{{x}}}\n{y}", "fixed", "{y}{y}"]),
    st.sampled_from([None, "Be kind.", "{y}"]),
)
def test_templates_fill_a_batch_as_they_fill_a_row(
    found: list[dict[str, Any]], prompt: str, system: str | None
) -> None:
    def made(rows: list[dict[str, Any]]) -> tuple[list[Any], list[str]]:
        try:
            dataset = Dataset.from_rows(rows).as_chat(prompt, "{x} {y}", system, on_bad="drop")
        except DatasetError as error:
            return [], [error.reason]
        return list(dataset), [one.reason for one in dataset.removed]

    # A value that needs a closer look sends its batch the other way.
    other = {"x": 1, "y": "beside", "system": "s"}
    together, _ = made(found)
    alone = [row for one in found for row in made([one, other])[0][:-1]]
    assert together == alone


@pytest.mark.parametrize("text", ["half \ud83d", "\udc00"])
def test_half_a_surrogate_pair_is_refused_in_every_template(text: str) -> None:
    rows = [{"x": "fine", "y": "a"}] * 20
    with pytest.raises(DatasetError, match="half of a surrogate pair"):
        Dataset.from_rows([*rows, {"x": text, "y": "a"}]).as_chat("{x}", "{y}")
    with pytest.raises(DatasetError, match="half of a surrogate pair"):
        Dataset.from_rows(rows).as_chat(f"{text} {{x}}", "{y}")


@pytest.mark.parametrize("seed", [0, 1, 12345, -7, 2**70])
def test_draws_are_those_of_pythons_own_generator(seed: int) -> None:
    draw = random.Random(seed)
    assert draws(1000, seed).tolist() == [draw.random() for _ in range(1000)]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(0, 99), st.data())
def test_parts_are_whole_groups_and_miss_no_row(strata: list[str], seed: int, data: st.DataObject) -> None:
    count = len(strata)
    labels = data.draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
    first: dict[int, int] = {}
    groups = [first.setdefault(label, row) for row, label in enumerate(labels)]
    sizes = [count // 3, count // 4]
    parts = choose(count, sizes, seed, strata, numpy.asarray(groups))
    assert sorted(row for part in parts for row in part) == list(range(count))
    assert all(list(part) == sorted(part) for part in parts)
    assert all(len({n for n, part in enumerate(parts) if g in {groups[row] for row in part}}) == 1 for g in groups)


def test_a_split_draws_the_rows_that_it_always_drew() -> None:
    def words(seed: int) -> list[str]:
        draw = random.Random(seed)
        return [f"word{draw.randrange(500)}" for _ in range(30)]

    rows: list[dict[str, Any]] = []
    for n in range(120):
        text = words(n // 3 if n % 2 else n)
        text[n % 30] = "changed"
        rows.append({"text": " ".join(text), "label": "abcd"[n % 4], "who": n // 4})
    dataset = Dataset.from_rows(rows).as_chat(prompt="Sort.\n\n{text}", completion="{label}x")
    found = [[part.fingerprint[:12] for part in dataset.split(0.2, 11, 3, group=by)] for by in ("auto", "who", None)]
    assert found == [
        ["efa22df7885b", "37202b39cd38", "4b40eaf7ba38"],
        ["320616fe8fa9", "948a1ce54501", "72d12cf5e1f9"],
        ["408657c533b5", "342a2fd8efd3", "9635a74e4e8b"],
    ]


def words_of(seed: int, count: int = 30) -> str:
    draw = random.Random(seed)
    return " ".join(f"word{draw.randrange(900)}" for _ in range(count))


def test_leaks_are_the_same_for_texts_in_arrow_and_in_lists() -> None:
    draw = random.Random(3)
    known = [(words_of(n), words_of(n + 1000) if n % 3 else "label") for n in range(150)]
    judged = [("k STRASSE İ", "label"), ("K sstrasse", "x")]
    for n in range(60):
        prompt, answer = draw.choice(known)
        changed = prompt.replace(prompt.split()[3], "changed", 1) if n % 2 else prompt.upper().replace(" ", " \t")
        judged.append((changed, answer if n % 3 else words_of(n + 9000)))
    known.append(("K ſtraße İ", "label"))
    plain = [Asked(*map(list, zip(*rows, strict=True))) for rows in (judged, known)]
    arrow = [Asked(*map(TextColumn, rows)) for rows in plain]
    learned = Learned(*arrow[1])
    expected = find_leaks(plain[0], plain[1])
    assert [leak.kind for leak in expected[:2]] == ["row", "prompt"]
    assert {leak.kind for leak in expected} >= {"row", "near row", "prompt", "near prompt"}
    assert find_leaks(arrow[0], learned) == find_leaks(arrow[0], learned) == expected


def test_leaks_are_kept_for_large_data_and_found_anew_if_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftsdk.data.leak_check.KEPT_FROM", 2)
    rows = [{"prompt": words_of(n), "completion": "a"} for n in range(4)]
    train, test = Dataset.from_rows(rows), Dataset.from_rows(rows[2:])
    key, sizes = (test.fingerprint, train.fingerprint), (2, 4)
    assert kept_leaks(*key, sizes) is None
    found = leaks_of(JudgedBy("validation", test), train)
    assert kept_leaks(*key, sizes) == found != ()
    (path,) = (home() / "data" / "leaks").iterdir()
    whole = path.read_bytes()
    for torn in (b"", whole[:-1], whole.replace(b"row", b"raw"), whole[whole.index(b"\n") + 1 :], b"[" * 100_000):
        path.write_bytes(torn)
        assert kept_leaks(*key, sizes) is None
    keep_leaks(*key, found)
    assert path.read_bytes() == whole
    assert kept_leaks(*key, (2, 2)) is None


def test_a_home_that_cannot_be_written_to_keeps_no_leaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FTSDK_HOME", str(tmp_path / "file" / "home"))
    keep_leaks("a", "b", ())
    assert kept_leaks("a", "b", (0, 0)) is None


@settings(max_examples=200)
@given(st.text('a,"\n\r\t', max_size=30), st.lists(st.integers(1, 5), min_size=30, max_size=30))
def test_csv_in_blocks_is_read_as_in_one(text: str, sizes: list[int]) -> None:
    def read(blocks: list[str]) -> object:
        bad = BadRows("drop")
        try:
            return list(csv_rows(blocks, "file", bad, delimiter=",")), [row.reason for row in bad.dropped]
        except DatasetError as error:
            return str(error)

    text = "x,y\n" + text
    blocks: list[str] = []
    for size in sizes:
        blocks.append(text[:size])
        text = text[size:]
    blocks.append(text)
    assert read(blocks) == read(["".join(blocks)])


def test_rows_without_messages_go_the_plain_way() -> None:
    rows = RowSequence([message_rows([{"messages": []}] * 9)._batches.batches[0]], message_lists)  # pyright: ignore[reportPrivateUsage]
    assert b"".join(line_blocks(rows)) == b'{"messages":[]}\n' * 9
