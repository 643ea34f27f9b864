"""Each planted fault is found, with its row and the call that mends it; clean rows have none."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ftsdk import Dataset, DatasetError
from ftsdk.data.report import DataReport, Finding

WORDS = {
    "billing": ("invoice", "refund", "charge", "card", "payment", "receipt", "amount", "euro"),
    "shipping": ("parcel", "delivery", "courier", "address", "late", "tracking", "box", "door"),
    "technical": ("screen", "login", "crash", "update", "error", "button", "app", "password"),
}
FILL = ("my", "please", "since", "yesterday", "again", "today", "about", "with", "this", "old", "new", "one", "second")


def mails(rows: int = 90, seed: int = 3) -> list[dict[str, Any]]:
    """Return short mails of three classes, without a fault."""
    draw = random.Random(seed)
    found: list[dict[str, Any]] = []
    for n in range(rows):
        label = list(WORDS)[n % 3]
        words = [*draw.choices(WORDS[label], k=8), *draw.choices(FILL, k=12)]
        draw.shuffle(words)
        found.append({"prompt": f"Mail {n}: {' '.join(words)}.", "completion": label})
    return found


def answers(rows: int = 60, seed: int = 5) -> list[dict[str, Any]]:
    """Return questions with answers of a sentence, without a fault."""
    draw = random.Random(seed)
    every = [word for words in WORDS.values() for word in words] + list(FILL)
    return [
        {
            "prompt": f"Question {n}: {' '.join(draw.sample(every, 14))}?",
            "completion": f"Answer {n}: {' '.join(draw.sample(every, 22))}.",
        }
        for n in range(rows)
    ]


def report_of(rows: list[dict[str, Any]], **options: Any) -> DataReport:
    return Dataset.from_rows(rows).report(**options)


def finding(report: DataReport, code: str) -> Finding:
    return next(one for one in report.findings if one.code == code)


@pytest.mark.parametrize("rows", [mails(), answers(), [{"text": row["prompt"]} for row in mails()]])
def test_clean_rows_have_no_findings(rows: list[dict[str, Any]]) -> None:
    assert report_of(rows).findings == ()


PLANTED: dict[str, tuple[str, str]] = {
    "credentials": ("My key is ghp_" + "a1B2c3D4e5F6" * 3 + " here.", 'dataset.clean("credentials")'),
    "pii": ("Write to jane.doe@mail.example.org or call +1 415 555 0134.", 'dataset.clean("pii")'),
    "broken_encoding": ("The cafÃ© is dÃ©jÃ\xa0 closed, she says.", 'dataset.clean("encoding")'),
    "lost_characters": ("The caf\ufffd is closed today, she says.", 'dataset.clean("quality")'),
    "template_leftover": ("Dear {customer_name}, the parcel is on its way to you.", 'dataset.clean("quality")'),
    "unclosed_fence": ("Like this:\n```python\nprint(1)", 'dataset.clean("quality")'),
    "repetition": ("\n".join(["the same line again and again"] * 30), 'dataset.clean("quality")'),
    "very_short": ("Ok.", 'dataset.clean("length")'),
    "very_long": ("".join(f"Sentence {n} has its own words {n * 7}. " for n in range(400)), 'dataset.clean("length")'),
    "cut_off": ("The parcel left our house on Monday and will be with you by the", 'dataset.clean("quality")'),
}


@pytest.mark.parametrize("code", PLANTED)
def test_a_planted_answer_is_found(code: str) -> None:
    rows = answers()
    text, fix = PLANTED[code]
    rows[17]["completion"] = text
    found = finding(report_of(rows), code)
    assert (found.positions, found.rows, found.share) == ((17,), 1, 1 / 60)
    assert [(one.row, one.line) for one in found.examples] == [(17, 18)]
    assert found.fix == fix
    assert found.why


def test_copies_and_near_copies_are_told_apart() -> None:
    rows = answers()
    rows[20] = dict(rows[4])
    rows[30] = {**rows[5], "completion": rows[5]["completion"].replace("Answer 5", "Answer five")}
    report = report_of(rows)
    assert finding(report, "exact_duplicates").positions == (20,)
    assert finding(report, "near_duplicates").positions == (30,)


def test_the_same_prompt_with_different_answers_is_found() -> None:
    rows = mails()
    rows[40] = {"prompt": rows[3]["prompt"].upper(), "completion": "shipping"}
    rows[50] = {"prompt": rows[2]["prompt"].upper(), "completion": rows[2]["completion"]}
    report = report_of(rows)
    assert finding(report, "conflicting_answers").positions == (3, 40)
    assert finding(report, "repeated_prompts").positions == (50,)


def test_a_wrong_label_is_found_with_the_likely_one() -> None:
    pytest.importorskip("sklearn")
    rows = mails(300)
    planted = range(20, 300, 20)
    for row in planted:
        rows[row]["completion"] = "technical" if rows[row]["completion"] != "technical" else "billing"
    found = finding(report_of(rows), "label_errors")
    assert found.positions == tuple(planted)
    assert "probably 'technical'" in str([one.excerpt for one in found.examples])


def test_spellings_of_a_label_and_rare_classes_are_found() -> None:
    rows = mails()
    rows[0]["completion"] = "Billing"
    rows.append({"prompt": "Mail 91: quite another thing altogether.", "completion": "praise"})
    report = report_of(rows)
    assert finding(report, "label_variants").positions == (0,)
    assert finding(report, "class_balance").positions == (90,)


def test_spellings_are_found_among_many_classes_too() -> None:
    rows = [{"prompt": f"{n}: text of class {n % 60}", "completion": f"class {n % 60}"} for n in range(240)]
    rows[0]["completion"] = "Class 0"
    assert finding(report_of(rows), "label_variants").positions == (0,)


def test_a_row_in_another_language_is_found() -> None:
    pytest.importorskip("py3langid")
    rows = [{"text": f"The parcel number {n} left the house on Monday and arrives soon."} for n in range(20)]
    rows[6]["text"] = "Bonjour, je voudrais savoir où se trouve mon colis, merci beaucoup de votre aide."
    assert finding(report_of(rows), "language").positions == (6,)


def test_broken_json_is_found_where_answers_are_json() -> None:
    rows = [{"prompt": f"Order {n}?", "completion": f'{{"id": {n}, "ok": true}}'} for n in range(30)]
    rows[9]["completion"] = '{"id": 9, "ok": tru'
    assert finding(report_of(rows), "invalid_json").positions == (9,)


def test_wrong_roles_are_found_in_a_column_of_conversations() -> None:
    talk = [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "On its way."}]
    rows: list[dict[str, Any]] = [{"talk": talk, "n": n} for n in range(5)]
    rows[3]["talk"] = talk[::-1]
    assert finding(report_of(rows), "role_order").positions == (3,)


def test_an_empty_cell_is_usual_and_an_empty_row_is_not() -> None:
    rows = [{"instruction": f"Do the thing number {n}", "input": ""} for n in range(5)]
    rows[2] = {"instruction": " ", "input": ""}
    assert finding(report_of(rows), "empty").positions == (2,)


def test_an_empty_prompt_is_found() -> None:
    talk = [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "On its way."}]
    rows = [{"messages": [dict(message) for message in talk], "n": n} for n in range(9)]
    rows[8]["messages"][0]["content"] = " "
    found = finding(report_of(rows), "empty")
    assert (found.positions, found.severity) == ((8,), "error")


def test_rows_of_a_test_set_are_leaks() -> None:
    rows = answers()
    test = Dataset.from_rows([*answers(10, seed=9), rows[7]])
    found = finding(report_of(rows, against={"test": test}), "leaks")
    assert (found.positions, found.severity, found.share) == ((10,), "error", 1 / 11)
    assert found.examples[0].dataset == "test"
    assert "line 8" in found.examples[0].excerpt


def test_long_rows_are_truncated_at_max_length() -> None:
    rows = answers()
    rows[12]["completion"] = " ".join(row["completion"] for row in answers(40, seed=8))
    found = finding(report_of(rows, max_length=500), "truncated")
    assert found.positions == (12,)
    assert found.severity == "error"
    assert found.fix.startswith("job.replace(max_length=")


def test_queries_without_a_similar_prompt_are_found() -> None:
    pytest.importorskip("sklearn")
    rows = mails()
    found = finding(report_of(rows, queries=[rows[0]["prompt"], "How do gluons bind quarks?"]), "coverage")
    assert (found.positions, found.share) == ((1,), 0.5)


def test_short_texts_that_differ_by_a_letter_are_a_note() -> None:
    rows = [{"prompt": row["prompt"][:60], "completion": row["completion"]} for row in answers()]
    rows[5]["prompt"] = rows[4]["prompt"] + "s"
    found = finding(report_of(rows), "similar_short_texts")
    assert (found.positions, found.severity, found.fix) == ((5,), "note", "")


def test_both_answers_of_a_preference_row_are_checked() -> None:
    rows = [
        {"prompt": row["prompt"], "chosen": row["completion"], "rejected": "No idea, sorry."} for row in answers(20)
    ]
    rows[4]["rejected"] = "Mail jane.doe@mail.example.org"
    data = Dataset.from_rows(rows).as_preference(prompt="{prompt}")
    assert finding(data.report(), "pii").positions == (4,)


def test_a_table_says_what_it_takes_to_check_the_rest() -> None:
    report = report_of([{"text": "Where is it?", "category": "shipping"}] * 2)
    assert finding(report, "exact_duplicates").positions == (1,)
    assert "as_chat" in report.not_checked[0]
    with pytest.raises(DatasetError, match="as_chat"):
        Dataset.from_rows([{"text": "a", "category": "b"}]).report(
            against={"test": Dataset.from_rows([{"prompt": "a", "completion": "b"}])}
        )


def test_the_call_of_a_finding_mends_what_it_counts() -> None:
    rows = mails()
    rows[40] = {"prompt": f" {rows[3]['prompt'].upper()}", "completion": "shipping"}
    rows[50] = {"prompt": f"{rows[2]['prompt'].lower()}\n", "completion": rows[2]["completion"]}
    dataset = Dataset.from_rows(rows)
    for code in ("repeated_prompts", "conflicting_answers"):
        mended = eval(finding(dataset.report(), code).fix, {"dataset": dataset})
        assert code not in [one.code for one in mended.report().findings]


def test_near_copies_with_other_answers_are_told_from_those_that_clean_removes() -> None:
    rows = mails()
    rows[40] = {"prompt": rows[3]["prompt"].replace("Mail 3", "Mail three"), "completion": "shipping"}
    found = finding(report_of(rows), "near_duplicates")
    assert (found.positions, found.severity, found.fix) == ((40,), "note", "")
    assert "with another answer" in found.title
    rows[50] = {**rows[2], "prompt": rows[2]["prompt"].replace("Mail 2", "Mail two")}
    found = finding(report_of(rows), "near_duplicates")
    assert (found.positions, found.severity) == ((50,), "warning")
    assert found.detail.startswith("1 more with another answer")
    assert len(Dataset.from_rows(rows).clean("near_duplicates").removed) == found.rows
