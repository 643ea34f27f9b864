"""A report as text, page and JSON; what it never repeats; and what a plan says of it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ftsdk import Dataset, SpecError
from ftsdk.cli.app import app
from ftsdk.data.report import DataReport, headline

KEY = "ghp_" + "a1B2c3D4e5F6" * 3
ROWS: list[dict[str, Any]] = [
    {"prompt": f"Where is parcel number {n * 37}?", "completion": f"Parcel {n * 37} is on its way, with day {n}."}
    for n in range(12)
]


def faulty() -> list[dict[str, Any]]:
    rows = [dict(row) for row in ROWS]
    rows[2]["completion"] = f"Use <b>{KEY}</b>\x1b[31m and mail jane.doe@mail.example.org."
    rows[5] = dict(rows[2])
    return rows


@pytest.fixture
def report() -> DataReport:
    return Dataset.from_rows(faulty(), name="<i>mails</i>").report()


def test_values_that_must_not_be_repeated_are_in_no_form(report: DataReport) -> None:
    for shown in (str(report), report.to_html(), json.dumps(report.to_dict()), report._repr_html_()):
        assert KEY not in shown
        assert "jane.doe" not in shown
        assert "[GITHUB" in shown


def test_rows_drive_neither_the_terminal_nor_the_page(report: DataReport) -> None:
    assert "\x1b" not in str(report)
    page = report.to_html()
    assert "\x1b" not in page
    assert "<b>ghp" not in page
    assert "<i>mails" not in page


def test_the_worst_finding_comes_first(report: DataReport) -> None:
    assert report.findings[0].code == "credentials"
    order = ["error", "warning", "note"]
    found = [order.index(one.severity) for one in report.findings]
    assert found == sorted(found)
    assert len(str(report).split("\n\n")[0].splitlines()) <= 10


def test_the_page_loads_nothing_and_closes_its_elements(report: DataReport) -> None:
    page = report.to_html()
    assert page.startswith("<!doctype html>")
    assert not re.search(r"src=|href=|url\(|@import", page)
    open_tags: list[str] = []

    class Balanced(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag != "meta":
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Balanced().feed(page.replace("/>", "></rect>"))
    assert open_tags == []


def test_failed_takes_a_severity_or_a_code(report: DataReport) -> None:
    clean = Dataset.from_rows(ROWS).report()
    assert report.failed()
    assert report.failed("exact_duplicates")
    assert not report.failed("label_errors")
    assert not clean.failed("warning")
    with pytest.raises(SpecError, match="credentials"):
        report.failed("credential")


def test_a_headline_names_errors_and_is_silent_without() -> None:
    assert headline(Dataset.from_rows(ROWS)) is None
    found = headline(Dataset.from_rows(faulty()))
    assert found is not None
    assert "credentials in 2 rows" in found
    assert KEY not in found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mails.jsonl"
    rows = [{"text": row["prompt"], "reply": row["completion"]} for row in faulty()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["data", "report", *map(str, arguments)])


def test_the_command_prints_json_and_writes_a_page(file: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = run(file, "--prompt", "{text}", "--completion", "{reply}", "--json", "--html", page)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["format"] == "chat"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("on", "status"), [("error", 1), ("warning", 1), ("exact_duplicates", 1), ("label_errors", 0), ("leaks", 0)]
)
def test_the_command_fails_on_what_it_is_told_to(file: Path, on: str, status: int) -> None:
    assert run(file, "--fail-on", on).exit_code == status


def test_the_command_finds_leaks_and_uncovered_queries(file: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.txt"
    queries.write_text("How do gluons bind quarks?\n", encoding="utf-8")
    shape = ("--prompt", "{text}", "--completion", "{reply}")
    done = run(file, *shape, "--against", file, "--queries", queries, "--fail-on", "leaks")
    assert done.exit_code == 1, done.output
    assert "mails.jsonl line 1" in done.output


def test_a_report_names_what_was_searched_for_leaks_in_vain() -> None:
    rows = Dataset.from_rows([{"prompt": f"What is {n} plus {n}?", "completion": str(2 * n)} for n in range(5)])
    other = Dataset.from_rows([{"prompt": "Who wrote Faust?", "completion": "Goethe wrote it."}])
    report = rows.report(against={"test": other})
    assert "test (1 row): no row or prompt is shared" in str(report)
    assert report.to_dict()["against"] == {"test": 1}


def test_the_command_refuses_a_file_beside_a_job(file: Path) -> None:
    for arguments in ((), (file, "--job", "job.yaml"), ("--job", "job.yaml", "--model", "some/model")):
        done = run(*arguments)
        assert isinstance(done.exception, SpecError), done.output
