"""What a report has beside its scores, and that it comes back whole."""

from __future__ import annotations

import contextlib
import io
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ftsdk import Dataset, Eval, EvalReport, SpecError
from ftsdk.evals import Answer, Gate, Target, evaluate
from ftsdk.evals.report import TargetCost

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202eevil\ud800 ]]>&\x00"
CLASSES = ("cat", "dog")


@dataclass(frozen=True)
class Scripted:
    """Answers by a rule, with what the answers took."""

    name: str
    answer: Callable[[int], str]
    usd: Decimal | None = None
    seconds: float | None = None
    fails: Collection[int] = ()

    @property
    def identity(self) -> str:
        return self.name

    @contextlib.contextmanager
    def open(self) -> Iterator[Any]:
        yield self

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]

    def generate(self, *_: Any, **__: Any) -> list[str]:
        raise NotImplementedError

    def stream(
        self, conversations: Sequence[Any], *, max_new_tokens: int, skip: Collection[int] = ()
    ) -> Iterator[tuple[int, Answer]]:
        del max_new_tokens
        for index in range(len(conversations)):
            if index in self.fails:
                yield index, Answer(text="", error=f"HTTP 503 {HOSTILE}")
            elif index not in skip:
                yield index, Answer(text=self.answer(index), usd=self.usd, seconds=self.seconds)


def animals(count: int = 40, **options: Any) -> Eval:
    rows = [
        {"text": f"animal {n} {HOSTILE if n == 3 else ''}", "kind": CLASSES[n % 2], "size": None if n % 4 else "big"}
        for n in range(count)
    ]
    data = Dataset.from_rows([{**row, "text": row["text"].replace("\ud800", "")} for row in rows])
    return Eval.of(data.as_chat("{text}", "{kind}"), "choice", name="kinds", **options)


def right_below(limit: int) -> Callable[[int], str]:
    return lambda index: CLASSES[index % 2] if index < limit else HOSTILE


def report_of(into: Path, *targets: Target, **options: Any) -> EvalReport:
    chosen = targets or (Scripted("base", right_below(20)), Scripted("tuned", right_below(36), fails=[5]))
    return evaluate([animals(slices=("size",))], chosen, into=into, title=HOSTILE, **options)


def test_a_report_that_is_read_back_shows_the_same(tmp_path: Path) -> None:
    report = report_of(tmp_path, gate=Gate(metric="kinds", at_least=0.5), usd_per_hour=1)
    again = EvalReport.read(tmp_path)
    assert again == report
    assert (again.to_html(), str(again), again.to_dict()) == (report.to_html(), str(report), report.to_dict())


def test_a_slice_has_a_value_for_each_target(tmp_path: Path) -> None:
    slices = report_of(tmp_path).slices
    assert [(one.value, one.score.target, one.score.n) for one in slices] == [
        ("(none)", "base", 30), ("(none)", "tuned", 30), ("big", "base", 10), ("big", "tuned", 10),
    ]  # fmt: skip
    assert [one.is_small for one in slices] == [False, False, True, True]
    assert sum(one.score.correct or 0 for one in slices if one.score.target == "base") == 20


def test_a_slice_has_a_difference_that_allows_for_all_slices(tmp_path: Path) -> None:
    report = report_of(tmp_path, Scripted("base", right_below(10)), Scripted("tuned", right_below(40)))
    pairs = report.slice_pairs
    assert [(one.value, one.pair.base, one.pair.tuned) for one in pairs] == [
        ("(none)", "base", "tuned"), ("big", "base", "tuned"),
    ]  # fmt: skip
    assert [(one.pair.only_tuned, one.pair.only_base, one.pair.comparisons) for one in pairs] == [(23, 0, 2), (7, 0, 2)]
    assert all(one.pair.low < one.pair.difference <= one.pair.high for one in pairs)
    assert all((one.pair.p_holm or 0) >= (one.pair.p_value or 1) for one in pairs)
    text, page = str(report), report.to_html()
    row = next(line for line in text.splitlines() if "size = big" in line and "+70.0" in line)
    assert row.split()[-1] == f"{pairs[1].pair.p_holm:.2g}"
    assert "allow for all 2 of them (Holm)" in text
    assert "+70.0 points" in page
    assert max(len(line) for line in text.splitlines() if line.startswith(("kinds  ", "---"))) <= 80


def test_a_slice_of_a_few_examples_has_no_difference_and_is_named(tmp_path: Path) -> None:
    targets = Scripted("base", right_below(10)), Scripted("tuned", right_below(36))
    report = evaluate([animals(36, slices=("size",))], targets, into=tmp_path)
    assert [one.value for one in report.slice_pairs] == ["(none)"]
    assert any("fewer than 10 examples have no difference here: size = big." in note for note in report.notes)


def test_many_values_of_a_column_share_a_slice(tmp_path: Path) -> None:
    data = Dataset.from_rows([{"text": str(n), "kind": "x", "id": n} for n in range(30)]).as_chat("{text}", "{kind}")
    report = evaluate([Eval.exact_match(data, slices=["id"])], [Scripted("base", lambda _: "x")], into=tmp_path)
    assert [one.score.n for one in report.slices] == [1] * 20 + [10]
    assert report.slices[-1].value == "(10 other values)"
    assert any("of 21 intervals of slices, about 1 miss" in note for note in report.notes)


def test_lists_name_what_changed_failed_and_went_worst(tmp_path: Path) -> None:
    found = {(one.kind, one.target): one for one in report_of(tmp_path).lists}
    assert (found["lost", "tuned"].indexes, found["lost", "tuned"].other) == ((5,), "base")
    assert (found["won", "tuned"].total, len(found["won", "tuned"].indexes)) == (16, 10)
    assert found["failed", "tuned"].indexes == (5,)
    assert (found["worst", "base"].total, found["worst", "tuned"].total) == (20, 4)


def test_long_texts_are_shortened_in_the_middle(tmp_path: Path) -> None:
    report = report_of(tmp_path, Scripted("base", lambda index: f"{'a' * 50_000}{index}"))
    shown = report.examples[0].answers[0].output
    assert len(shown) < 2_100
    assert "characters ...]" in shown
    assert len((tmp_path / "kinds" / "base.jsonl").read_text()) > 40 * 50_000


def test_the_cost_of_accepted_answers_is_unknown_rather_than_zero(tmp_path: Path) -> None:
    report = report_of(
        tmp_path,
        Scripted("base", right_below(20)),
        Scripted("tuned", right_below(40), seconds=0.9),
        Scripted("api", right_below(30), usd=Decimal("0.003"), seconds=2.0),
        Scripted("free", right_below(10), usd=Decimal(0)),
        usd_per_hour={"tuned": 2},
    )
    costs = {one.target: one for one in report.costs}
    assert (costs["base"].usd, costs["base"].basis, costs["base"].median_seconds) == (None, "unknown", None)
    assert (costs["tuned"].usd, costs["tuned"].basis) == (Decimal("0.02"), "hourly")
    assert costs["tuned"].usd_per_1000_accepted == Decimal("0.5")
    assert costs["api"].usd_per_1000_accepted == 4
    assert costs["free"].usd_per_1000_accepted == 0
    assert (costs["api"].accepted, costs["api"].median_seconds) == (30, 2.0)
    spent = "Total cost of the answers, stored ones included: tuned $0.02, api $0.12, free $0.00."
    assert spent in str(report)
    assert spent in report.to_html()
    words = [line.split() for line in str(report).splitlines()]
    assert ["kinds", "base", "50.0%", "20", "of", "40", "unknown", "unknown"] in words
    assert "\x1b" not in str(report)
    assert "Cost unknown (pass usd_per_hour, or a price for an endpoint): base." in report.to_html()


def test_no_accepted_answer_has_no_cost() -> None:
    cost = TargetCost(name="e", target="t", n=4, accepted=0, usd=Decimal(1), basis="metered")
    assert cost.usd_per_1000_accepted is None


@pytest.mark.parametrize("options", [{"accept_at": 1.5}, {"usd_per_hour": {"nobody": 1}}, {"usd_per_hour": -1}])
def test_impossible_prices_and_thresholds_are_refused_at_once(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        report_of(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_tables_fit_a_terminal_whatever_the_names(tmp_path: Path) -> None:
    names = [f"{letter * 60}-{n}" for n, letter in enumerate("ab")]
    report = report_of(tmp_path, *(Scripted(name, right_below(20), seconds=1.0) for name in names))
    lines = str(report).splitlines()
    tables = [line for line in lines if line.startswith(("eval ", "kinds  ", "---"))]
    assert tables
    assert max(map(len, tables)) <= 80
    assert any("aaa" in line and "-0" in line for line in tables)


def test_a_terminal_of_80_columns_shows_no_longer_line(tmp_path: Path) -> None:
    screen = Console(width=80, file=io.StringIO(), record=True)
    screen.print(report_of(tmp_path, gate=Gate(metric="kinds", at_least=0.8)))
    lines = screen.export_text().splitlines()
    assert any("Verdict" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_no_note_is_given_twice(tmp_path: Path) -> None:
    item = animals(metric=["mean", "macro_f1"])
    report = evaluate([item], (Scripted("base", right_below(30)), Scripted("tuned", right_below(34))), into=tmp_path)
    assert sum("overlap" in note for note in report.notes) == 2
    assert len(set(report.notes)) == len(report.notes)


def test_a_page_holds_hostile_text_and_loads_nothing(tmp_path: Path) -> None:
    page = report_of(tmp_path).to_html()
    assert "<script" not in page.replace("&lt;script", "")
    assert "default-src 'none'" in page
    assert not {"\x1b", "\u202e", "\x00", "\ud800"} & set(page)
    assert all(word not in page for word in ("src=", "@import", "url(", "http://", "https://"))
    page.encode()


def test_a_page_marks_what_differs_from_the_reference(tmp_path: Path) -> None:
    data = Dataset.from_rows([{"prompt": "q", "completion": "Dear Ann, your parcel left today."}])
    target = Scripted("base", lambda _: "Dear Ann, your letter left today.")
    page = evaluate([Eval.exact_match(data)], [target], into=tmp_path).to_html()
    assert "your <del>parcel</del><mark>letter</mark> left" in page


def test_a_notebook_shows_the_page_without_its_frame(tmp_path: Path) -> None:
    report = report_of(tmp_path)
    block = report._repr_html_()
    assert block in report.to_html()
    assert "<body" not in block


def test_junit_has_a_suite_for_each_target_and_one_for_the_gate(tmp_path: Path) -> None:
    report = report_of(tmp_path, gate=Gate(metric="kinds", at_least=0.99))
    text = report.to_junit(most_failures=3, timestamp=datetime(2026, 11, 28, 5, tzinfo=UTC))
    root = ElementTree.fromstring(text)
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["kinds.base", "kinds.tuned", "gate"]
    for suite in root:
        children = [child.tag for child in suite]
        cases = suite.findall("testcase")
        assert children == ["properties", *["testcase"] * len(cases), "system-out", "system-err"]
        assert suite.get("tests") == str(len(cases))
        assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
        assert suite.get("errors") == str(len(suite.findall("testcase/error")))
        assert all(case.get("name") and case.get("classname") and case.get("time") for case in cases)
        assert all(one.get("type") for one in suite.iter() if one.tag in ("failure", "error"))
        assert (suite.get("timestamp"), suite.get("hostname")) == ("2026-11-28T05:00:00", "localhost")
    assert (suites["kinds.base"].get("failures"), suites["kinds.tuned"].get("errors")) == ("3", "1")
    assert suites["gate"].find("testcase/failure") is not None


def test_a_damaged_report_is_refused(tmp_path: Path) -> None:
    report = report_of(tmp_path)
    whole = json.loads(json.dumps(report.to_dict()))
    odd_score, odd_pair = {**whole["scores"][0], "value": "high"}, {**whole["pairs"][0], "base": "nobody"}
    for change in (
        *({"examples": []}, {"costs": [{"name": 1}]}, {"lists": [{}]}, {"slices": [1]}, {"title": 5}),
        *({"scores": 3}, {"scores": []}, {"scores": ["x"]}, {"scores": [odd_score]}, {"pairs": [odd_pair]}),
        {"gate": "x"},
    ):
        with pytest.raises(SpecError, match="not the data of an eval report"):
            EvalReport.from_dict({**whole, **change})
    for content in ("[1]", "{", ""):
        (tmp_path / "report.json").write_text(content)
        with pytest.raises(SpecError):
            EvalReport.read(tmp_path)


def test_a_report_of_an_earlier_version_has_no_parts(tmp_path: Path) -> None:
    written = report_of(tmp_path).to_dict()
    for name in ("slices", "slice_pairs", "confusions", "costs", "lists", "examples"):
        del written[name]
    report = EvalReport.from_dict(written)
    assert report.lists == ()
    assert "kinds" in report.to_html()
    assert ElementTree.fromstring(report.to_junit()).tag == "testsuites"


def test_lower_is_worse_only_where_more_is_better(tmp_path: Path) -> None:
    from ftsdk.evals import Score, scorer

    @scorer(name="surplus_words", is_unbounded=True, is_lower_better=True)
    def surplus_words(example: Any, answer: str) -> Score:
        return Score(float(len(answer)), "characters")

    data = Dataset.from_rows([{"prompt": f"q{n}", "completion": "x"} for n in range(4)])
    targets = Scripted("base", lambda index: "x" * index), Scripted("tuned", lambda index: "x" * 2 * index)
    report = evaluate([Eval.of(data, surplus_words)], targets, into=tmp_path)
    found = {(one.kind, one.target): one for one in report.lists}
    assert found["lost", "tuned"].indexes == (3, 2, 1)
    assert found["worst", "tuned"].indexes[0] == 3
    assert all(cost.accepted is None for cost in report.costs)
    assert "<failure" not in report.to_junit()
