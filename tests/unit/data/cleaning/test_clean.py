"""Cleaning: what is planted is found, good rows stay, and nothing is lost."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk import Dataset, DatasetError, SpecError
from ftsdk.data.cleaning import GROUPS
from ftsdk.data.cleaning.registry import CLEANERS
from ftsdk.data.quality import RULES

TOPICS = ("parcels", "invoices", "passwords", "refunds", "opening hours", "vouchers")
AWS = "AKIAIOSFODNN7EXAMPLQ"


def good_rows(count: int = 120) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"Question {number}: what should one know about {TOPICS[number % 6]} in case {number * 17}?",
            "completion": f"In case {number * 17}, see page {number} of the manual, and call us on any working day.",
        }
        for number in range(count)
    ]


def chat_of(rows: list[dict[str, Any]]) -> Dataset:
    return Dataset.from_rows(rows)


LONG = (
    "the parcel that I ordered in the first week of spring has still not come, although the letter promised that it "
    "would be here before the end of the month, and nobody picks up the telephone at the number given on the invoice"
)

PLANTED: dict[str, tuple[list[dict[str, Any]], int, int]] = {
    # by step: rows that are added behind the good ones, how many are removed, how many are changed
    "encoding": ([{"prompt": "Where is the cafÃ©?", "completion": "Beside the hotel, on the left."}], 0, 1),
    "credentials": (
        [{"prompt": f"My key is {AWS}, why?", "completion": "Revoke it at once, please."}],
        0,
        1,
    ),
    "pii": (
        [{"prompt": "Write to eva@example.org, please.", "completion": "I wrote to eva@example.org."}],
        0,
        1,
    ),
    "exact_duplicates": (good_rows(2), 2, 0),
    "near_duplicates": (
        [
            {"prompt": f"Order one: {LONG}.", "completion": "We are sorry, and send it again."},
            {"prompt": f"Order two: {LONG}!", "completion": "We are sorry, and send it again."},
        ],
        1,
        0,
    ),
    "length": (
        [{"prompt": "Hm?", "completion": "n/a"}, {"prompt": "Go on. " * 900, "completion": "Done."}],
        2,
        0,
    ),
    "language": (
        [
            {
                "prompt": "Wann kommt das Paket, das ich in der letzten Woche bei Ihnen bestellt habe?",
                "completion": "Das Paket kommt voraussichtlich am kommenden Montag oder Dienstag bei Ihnen an.",
            }
        ],
        1,
        0,
    ),
    "cut_off": (
        [{"prompt": "How is it returned?", "completion": "Put it into the box, close the lid, and you"}],
        1,
        0,
    ),
    "template_leftover": ([{"prompt": "Hello {customer_name}, how are you?", "completion": "I am well."}], 1, 0),
    "unclosed_fence": ([{"prompt": "Show me code.", "completion": "Here:\n```python\nprint(1)\n"}], 1, 0),
    "lost_characters": ([{"prompt": "Where is the caf\ufffd?", "completion": "On the left side."}], 1, 0),
    "repetition": ([{"prompt": "Sing.", "completion": "the wheels go round and round\n" * 40}], 1, 0),
}


@pytest.mark.parametrize("step", sorted(PLANTED))
def test_a_step_touches_what_is_planted_and_nothing_else(step: str) -> None:
    if step == "language":
        pytest.importorskip("py3langid", reason="the extra 'data' isn't installed")
    added, removed, changed = PLANTED[step]
    good = good_rows()
    untouched = chat_of(good).clean(step)
    assert (len(untouched), untouched.removed, len(untouched.changed)) == (120, (), 0)
    found = chat_of([*good, *added]).clean(step)
    assert (len(found.removed), len(found.changed)) == (removed, changed)
    assert all(row.line > 120 for row in (*found.removed, *found.changed))
    assert list(found)[:120] == list(chat_of(good))
    again = found.clean(step)
    assert again.fingerprint == found.fingerprint


def test_invalid_json_is_removed_where_answers_are_json() -> None:
    rows = [{"prompt": f"case {n}", "completion": json.dumps({"n": n})} for n in range(60)]
    found = chat_of([*rows, {"prompt": "case x", "completion": '{"n": 1'}]).clean("invalid_json")
    assert [row.line for row in found.removed] == [61]


def test_labels_get_one_spelling() -> None:
    rows = [{"prompt": f"mail {n}", "completion": ("billing", "returns")[n % 2]} for n in range(20)]
    found = chat_of([*rows, {"prompt": "mail x", "completion": "Billing "}]).clean("labels")
    assert found[20]["messages"][-1]["content"] == "billing"
    assert found.changed[0].before["messages"][-1]["content"] == "Billing "
    cells = [{"text": row["prompt"], "label": row["completion"]} for row in rows]
    table = Dataset.from_rows([*cells, {"text": "x", "label": "BILLING"}])
    assert table.clean("labels", column="label")[20] == {"text": "x", "label": "billing"}


def test_label_errors_are_removed_with_the_better_label() -> None:
    pytest.importorskip("sklearn", reason="the extra 'data' isn't installed")
    words = {"billing": "invoice amount charge payment bank", "travel": "flight hotel luggage airport ticket"}
    rows = [
        {"prompt": f"{words[label]} number {n} {words[label].split()[n % 5]}", "completion": label}
        for n in range(60)
        for label in words
    ]
    rows[7] = {**rows[7], "completion": "billing"}
    found = chat_of(rows).clean("label_errors")
    assert [row.line for row in found.removed] == [8]
    assert "'travel' fits better" in found.removed[0].reason


def test_rows_with_other_labels_are_no_near_duplicates() -> None:
    rows = [{"prompt": f"{LONG} ({n})", "completion": label} for n, label in enumerate(("angry", "sad", "angry"))]
    found = chat_of([*good_rows(), *rows]).clean("near_duplicates")
    assert [row.row["messages"][-1]["content"] for row in found.removed] == ["angry"]
    table = Dataset.from_rows([{"text": row["prompt"], "label": row["completion"]} for row in [*rows, *rows[:1]] * 2])
    assert sorted(row["label"] for row in table.clean("near_duplicates")) == ["angry", "sad"]


def test_placeholders_agree_within_a_conversation_and_are_put_back(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "I am eva@example.org, my friend is tom@example.org."},
        {"role": "assistant", "content": "Hello eva@example.org!"},
        {"role": "user", "content": "Please write to tom@example.org and [EMAIL_2]."},
        {"role": "assistant", "content": "I wrote to tom@example.org."},
    ]
    rows = Dataset.from_rows([{"messages": messages}, *({"messages": messages[:2]} for _ in range(2))])
    key = tmp_path / "names.json"
    found = rows.clean("pii", key=key)
    assert found[0]["messages"][3]["content"] == "I wrote to [EMAIL_3]."
    assert found[0]["messages"][1]["content"] == found[1]["messages"][1]["content"] == "Hello [EMAIL_1]!"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert list(found.restore(key)) == list(rows)
    assert list(found.sample(2, seed=3).restore(key)) == list(rows.sample(2, seed=3))
    assert "example.org" not in json.dumps(found.lineage)
    in_memory: dict[str, dict[str, str]] = {}
    assert rows.clean("pii", key=in_memory).restore(in_memory).fingerprint == rows.fingerprint


def test_a_recipe_repeats_cleaning(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    planted = [row for rows, _, _ in PLANTED.values() for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in [*good_rows(), *planted]))
    found = Dataset.from_file(file).clean().clean("near_duplicates", "pii", threshold=0.8)
    recipe = found.to_dict(tmp_path)
    again = Dataset.from_dict(recipe, tmp_path)
    assert (again.fingerprint, again.lineage) == (found.fingerprint, found.lineage)
    assert again.removed == found.removed
    assert again.changed == found.changed
    steps = [entry["clean"] for entry in found.lineage[1:]]
    assert [step["name"] for step in steps] == [*GROUPS["safe"], "near_duplicates", "pii"]
    assert steps[4]["parameters"] == {"threshold": 0.8}
    assert [step["before"] for step in steps[1:]] == [step["after"] for step in steps[:-1]]
    # What a person writes needs no record.
    short = Dataset.from_dict({"file": str(file), "steps": [{"clean": {"name": "empty", "version": 1}}]})
    assert len(short) == len(Dataset.from_file(file))


def test_a_recipe_of_another_version_or_result_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*good_rows(), *good_rows(1)]))
    recipe = Dataset.from_file(file).clean("exact_duplicates").to_dict()
    step = recipe["steps"][0]["clean"]
    for change, message in (
        ({"version": 99}, "has version 1"),
        ({"after": "0" * 64}, "to others"),
        ({"name": "x"}, "no such"),
    ):
        with pytest.raises(DatasetError, match=message):
            Dataset.from_dict({**recipe, "steps": [{"clean": {**step, **change}}]})


_CELL = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8), st.just(AWS)
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), _CELL), min_size=1, max_size=30))
def test_no_row_of_a_table_is_lost(rows: list[dict[str, Any]]) -> None:
    table = Dataset.from_rows([*rows, {"a": "a row that stays"}])
    found = table.clean()
    assert len(found) + len(found.removed) == len(table)
    kept = {found.line_of(position): row for position, row in enumerate(found)}
    changed = {row.line: row for row in found.changed}
    removed = {row.line: row.row for row in found.removed}
    assert kept.keys() | removed.keys() == set(range(1, len(table) + 1))
    for line, row in enumerate(table, start=1):
        before = changed[line].before if line in changed else {**kept, **removed}[line]
        assert before == row
        assert not (line in changed and line in kept) or changed[line].after == kept[line]


def test_changed_rows_are_not_made_anew_from_their_columns() -> None:
    rows = Dataset.from_rows([{"mail": "I am eva@example.org", "label": "a"}, {"mail": "Nobody", "label": "b"}])
    shaped = rows.as_chat("{mail}", "{label}").clean("pii")
    with pytest.raises(DatasetError, match=r'as_chat would .* undo clean\("pii"\)'):
        shaped.filter(bool).as_chat("{mail}", "{label}")
    with pytest.raises(DatasetError, match="undo"):
        (shaped + shaped).as_chat("{mail}", "{label}")
    again = rows.clean("pii").as_chat("{mail}", "{label}").as_chat("Mail: {mail}", "{label}")
    assert again[0]["messages"][0]["content"] == "Mail: I am [EMAIL_1]"
    assert shaped.split(test=1, group="mail").test is not None  # columns still serve to group rows


def test_every_step_that_a_rule_names_exists() -> None:
    assert {rule.step for rule in RULES.values() if rule.step} <= CLEANERS.keys()
    assert {rule.step for rule in RULES.values() if rule.is_safe} <= set(GROUPS["safe"])
    assert all(step.does and step.version >= 1 for step in CLEANERS.values())


def test_unknown_steps_and_parameters_are_refused() -> None:
    rows = chat_of(good_rows())
    for call, message in (
        (lambda: rows.clean("near_duplicate"), "did you mean 'near_duplicates'"),
        (lambda: rows.clean(threshold=0.5), "belongs to clean"),
        (lambda: rows.clean("pii", "credentials", kinds=("email",)), "parameter of pii and credentials"),
        (lambda: rows.clean("pii", kinds=("mail",)), "did you mean 'email'"),
        (lambda: rows.clean("empty", key={}), "placeholders"),
        (lambda: rows.clean("empty", columns=("prompt",)), "for tables"),
        (lambda: rows.clean("length", max_characters=1), "removes all"),
    ):
        with pytest.raises(DatasetError, match=message):
            call()
    with pytest.raises(SpecError, match="threshold"):
        rows.clean("near_duplicates", threshold=7)
    with pytest.raises(DatasetError, match="rows are a table"):
        Dataset.from_rows([{"text": "a"}]).clean("quality")


def test_a_card_names_source_steps_and_licence() -> None:
    card = chat_of([*good_rows(), *good_rows(1)]).clean().card(licence="cc-by-4.0", description="Mails | notes.")
    assert card.startswith('---\nlicense: "cc-by-4.0"\n---\n')
    assert "| Rows | 120 |" in card
    assert "clean exact_duplicates (version 1)" in card
    assert "| 1 | 0 |" in card


def test_rows_are_written_to_a_file_that_is_read_back(tmp_path: Path) -> None:
    rows = chat_of(good_rows())
    assert Dataset.from_file(rows.to_jsonl(tmp_path / "new" / "rows.jsonl")).fingerprint == rows.fingerprint
    cells = [{"a": "ä\ud800", "n": 12345678901234567890, "x": None, "l": [1, {"b": "\n"}]}, {"a": "", "b": True}]
    table = Dataset.from_rows(cells)
    assert list(Dataset.from_file(table.to_jsonl(tmp_path / "table.jsonl"))) == cells
    with pytest.raises(DatasetError, match=r"row 1.*set"):
        Dataset.from_rows([{"a": {1, 2}}]).to_jsonl(tmp_path / "bad.jsonl")
    assert not (tmp_path / "bad.jsonl").exists()
    with pytest.raises(DatasetError, match=r"\.jsonl"):
        rows.to_jsonl(tmp_path / "rows.csv")


def test_the_manifest_gets_the_lineage_without_paths(tmp_path: Path) -> None:
    rows = Dataset.from_file(chat_of([*good_rows(), *good_rows(1)]).to_jsonl(tmp_path / "rows.jsonl"))
    assert rows.ref().lineage is None
    record = rows.clean("exact_duplicates").ref().lineage
    assert record is not None
    assert record[0] == {"file": "rows.jsonl", "form": "OpenAI chat"}
    assert record[1]["clean"]["removed"] == 1
    joined = (rows.clean() + rows).filter(bool).ref().lineage
    assert joined is not None
    assert str(tmp_path) not in json.dumps(joined)


def test_preference_rows_are_cleaned_and_stay_pairs() -> None:
    mail = {"prompt": "Write to eva@example.org.", "chosen": "I wrote to eva@example.org.", "rejected": "No."}
    broken = {"prompt": "Where?", "chosen": "In the café.", "rejected": "In the cafÃ©."}
    found = Dataset.from_rows([mail, broken, mail]).clean("safe", "pii")
    assert found[0]["chosen"] == [{"role": "assistant", "content": "I wrote to [EMAIL_1]."}]
    assert [(row.line, row.reason.partition(":")[0]) for row in found.removed] == [
        (2, "encoding"),
        (3, "exact_duplicates"),
    ]


def test_a_language_that_is_not_the_most_frequent_can_be_kept() -> None:
    pytest.importorskip("py3langid", reason="the extra 'data' isn't installed")
    german = PLANTED["language"][0]
    found = chat_of([*good_rows(9), *german]).clean("language", keep=["de"])
    assert [row["messages"][0]["content"] for row in found] == [german[0]["prompt"]]


def test_spellings_of_many_classes_are_mended_too() -> None:
    rows = [{"text": f"mail {n}", "label": f"class_{n % 150}"} for n in range(3_000)]
    rows[7] = {"text": "mail 7", "label": "Class_7"}
    for found in (
        Dataset.from_rows(rows).clean("labels", column="label"),
        Dataset.from_rows(rows).as_chat("{text}", "{label}").clean("labels"),
    ):
        assert [row.line for row in found.changed] == [8]


@pytest.mark.parametrize("is_chat", [True, False])
def test_copies_can_differ_by_case_and_blanks(is_chat: bool) -> None:
    prompts = ["now  here", "now here ", "Now\nhere", "straße", "STRASSE", "nowhere"]
    rows = [{"prompt": prompt, "completion": "same"} for prompt in prompts]
    data = chat_of(rows) if is_chat else Dataset.from_rows([{"a": one["prompt"], "b": 1} for one in rows])
    assert len(data.clean("exact_duplicates", ignore_blanks=True)) == 5
    assert len(data.clean("exact_duplicates", ignore_case=True)) == 5
    assert len(data.clean("exact_duplicates", ignore_case=True, ignore_blanks=True)) == 3
    if not is_chat:
        assert len(data.clean("exact_duplicates", columns=["a"], ignore_case=True, ignore_blanks=True)) == 3


def test_a_step_that_is_no_name_is_refused() -> None:
    for step in ({"empty": True}, ["empty"], None, 5):
        with pytest.raises(DatasetError, match="there is no step"):
            chat_of(good_rows(3)).clean(step)  # type: ignore[arg-type]
