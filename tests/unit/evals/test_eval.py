"""What an eval is: rows with right answers, a rule, and plain data that can be read back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ftsdk.errors import DatasetError, SpecError
from ftsdk.evals import Eval

MakeRows = Callable[..., Any]


def test_the_last_assistant_message_is_the_reference(make_rows: MakeRows) -> None:
    data = make_rows()
    talk = [
        {"role": "system", "content": "Sort."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
    ]
    data.rows.append({"messages": talk})

    (example,) = Eval.exact_match(data).examples()

    assert example.expected == "d"
    assert example.prompt == talk[:-1]


@pytest.mark.parametrize(
    ("options", "output", "is_correct"),
    [
        ({}, " travel\n", True),
        ({}, "Travel", False),
        ({}, "travel.", False),
        ({"ignore_case": True}, "TRAVEL", True),
        ({"strip": False}, "travel ", False),
        ({"strip": False}, "travel", True),
    ],
)
def test_an_answer_is_right_if_it_is_the_reference(
    make_rows: MakeRows, options: dict[str, Any], output: str, is_correct: bool
) -> None:
    item = Eval.exact_match(make_rows(("q", "travel")), **options)
    assert item.score(item.examples()[0], output).value == float(is_correct)


@pytest.mark.parametrize(
    ("kind", "advice"), [("preference", "no single reference"), ("table", r"Dataset\.as_chat\(prompt=")]
)
def test_rows_of_another_format_are_refused_with_advice(make_rows: MakeRows, kind: str, advice: str) -> None:
    with pytest.raises(DatasetError, match=rf"test\.jsonl: .*these are {kind} rows\..*{advice}"):
        Eval.exact_match(make_rows(("q", "a"), format=kind))


def test_no_rows_are_refused(make_rows: MakeRows) -> None:
    with pytest.raises(DatasetError, match="at least one row"):
        Eval.exact_match(make_rows())


def test_a_row_without_a_right_answer_is_named(make_rows: MakeRows) -> None:
    data = make_rows(("q", "a"))
    data.rows.append({"messages": [{"role": "user", "content": "q"}]})

    with pytest.raises(DatasetError, match=r"test\.jsonl:2, field 'messages'"):
        Eval.exact_match(data).examples()


@pytest.mark.parametrize("options", [{"name": "../up"}, {"name": ""}, {"max_new_tokens": 0}])
def test_impossible_options_are_refused(make_rows: MakeRows, options: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=next(iter(options)).split("_")[0]):
        Eval.exact_match(make_rows(("q", "a")), **options)


@pytest.mark.parametrize(
    "options", [{}, {"name": "accuracy", "max_new_tokens": 5, "ignore_case": True, "strip": False}]
)
def test_an_eval_survives_the_way_through_plain_data(make_rows: MakeRows, options: dict[str, Any]) -> None:
    data = make_rows(("q", "a"))
    written = Eval.exact_match(data, **options).to_dict()

    assert written == {"scorer": "exact_match", "name": "exact_match", "data": data.to_dict(), **options}
    assert Eval.from_dict(written, lambda recipe: type(data)(recipe["rows"])) == Eval.exact_match(data, **options)
    older = {"kind": written.pop("scorer"), **written}
    assert Eval.from_dict(older, lambda recipe: type(data)(recipe["rows"])) == Eval.exact_match(data, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"igonre_case": True}, "unknown option 'igonre_case'.*did you mean 'ignore_case'"),
        (
            {"scorer": "exact_matches"},
            "unknown scorer 'exact_matches'; did you mean 'exact_match'.*Known: .*exact_match",
        ),
        ({"kind": "exact_match"}, "one scorer"),
        ({"metric": "meen"}, "unknown metric 'meen'; did you mean 'mean'"),
        ({"ignore_case": "yes"}, "ignore_case of the scorer 'exact_match' must be bool; got 'yes'"),
        ({"name": 7}, "name of an eval must be text; got 7"),
        ({"data": None}, "needs data"),
        ({"max_new_tokens": "5"}, "max_new_tokens of an eval must be a whole number; got '5'"),
        ({"max_new_tokens": True}, "must be a whole number; got True"),
    ],
)
def test_wrong_plain_data_is_refused(make_rows: MakeRows, change: dict[str, Any], message: str) -> None:
    data = make_rows(("q", "a"))

    with pytest.raises(SpecError, match=message):
        Eval.from_dict({**Eval.exact_match(data).to_dict(), **change}, lambda _: data)
