"""Adding and checking prices: what was noted stays, what is wrong is told."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prices import TODAY, a_gpu_price, a_price
from typer.testing import CliRunner

from ftsdk.cli.app import app
from ftsdk.cost import PriceBook
from ftsdk.cost.pricebook.book import parse_rows
from ftsdk.cost.pricebook.book_check import check
from ftsdk.cost.pricebook.own_prices import add_price, row_text
from ftsdk.errors import SpecError


def test_a_price_is_appended_and_what_was_there_stays(tmp_path: Path) -> None:
    file = tmp_path / "new" / "prices.yaml"
    add_price(a_price(), file)
    first = file.read_text()
    add_price(a_price(usd=0.6, as_of="2026-11-20"), file)
    assert file.read_text().startswith(first)
    book = PriceBook.load(user=file, today=TODAY)
    assert [row.usd for row in book.history("acme")] == [Decimal("0.5"), Decimal("0.6")]
    assert book.price("acme", "ft/lora-sft/x").usd == Decimal("0.6")
    assert sorted(path.name for path in file.parent.iterdir()) == ["prices.yaml"]


def test_comments_survive_and_a_file_of_comments_gets_its_head(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("# mine\n")
    add_price(a_price(), file)
    assert file.read_text().startswith("# mine\n")
    assert PriceBook.load(user=file, today=TODAY).price("acme", "ft/lora-sft/x").layer == "user"


def test_a_second_price_of_one_day_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    add_price(a_price(), file)
    before = file.read_bytes()
    with pytest.raises(SpecError, match="isn't overwritten"):
        add_price(a_price(usd=9), file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "prices: []\n",
        "prices:\n- {provider: a, sku: b, unit: usd_per_job, usd: 1, source: s, as_of: 2026-11-01}\nprovider: a\n",
    ],
)
def test_a_file_that_cant_be_appended_to_is_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match="by hand"):
        add_price(a_price(), file)
    assert file.read_text() == text


@given(
    note=st.text(min_size=1, max_size=60),
    sku=st.text(min_size=1, max_size=30),
    usd=st.decimals(Decimal("0.0000001"), Decimal(10**6), places=7),
)
def test_whatever_a_note_says_it_is_read_back_as_it_was(note: str, sku: str, usd: Decimal) -> None:
    price = a_gpu_price(usd, note=note, sku=sku, layer="user")
    assert parse_rows("prices:\n" + row_text(price), layer="user", where="x") == (price,)


def test_the_packaged_book_has_nothing_wrong(book: PriceBook) -> None:
    found = check(book)
    assert [finding for finding in found if finding.is_error] == []
    kinds = {finding.kind for finding in found}
    assert {"old", "stale", "conflict", "unconfirmed"} <= kinds


def test_the_check_names_what_is_wrong() -> None:
    rows = [
        a_price(),
        a_price(),
        a_price(sku="b", as_of="2026-12-01"),
        a_price(sku="c", source="somebody said"),
        a_price(sku="d", usd_min=1),
    ]
    found = check(PriceBook(rows, today=TODAY))
    assert [(finding.kind, finding.sku) for finding in found if finding.is_error] == [
        ("contradiction", "d"),
        ("duplicate", "ft/lora-sft/x"),
        ("future", "b"),
        ("no address", "c"),
    ]


def test_the_check_holds_api_prices_against_the_package(book: PriceBook) -> None:
    pytest.importorskip("genai_prices", reason="the extra 'cost' isn't installed")
    found = [finding for finding in check(book) if finding.kind == "disagreement"]
    assert {finding.sku for finding in found} == {
        f"api/meta-llama/Llama-3.3-70B-Instruct-Turbo/{part}" for part in ("input", "output")
    }
    assert "$1.04 here, $0.88 by" in str(found[0])


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["prices", *arguments])
    if isinstance(result.exception, SpecError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


ADD = (
    "add",
    "runpod",
    "pod-secure/L4",
    "--unit",
    "usd_per_gpu_hour",
    "--source",
    "our contract",
    "--gpu",
    "L4",
    "--as-of",
    "2026-11-20",
)


def test_the_command_line_adds_lists_and_checks(ftsdk_home: Path) -> None:
    assert "from the user's prices" in run(*ADD, "--usd", "0.41")
    (row,) = [row for row in json.loads(run("list", "runpod", "--json")) if row["sku"] == "pod-secure/L4"]
    assert (row["usd"], row["layer"], row["staleness"]) == (0.41, "user", "fresh")
    shown = run("list", "runpod")
    assert "[1] https://www.runpod.io/pricing" in shown
    assert "our contract" in shown
    assert len(json.loads(run("list", "--history", "--json"))) > len(json.loads(run("list", "--json")))
    assert "0 wrong" in run("check")
    with pytest.raises(SpecError, match="isn't overwritten"):
        run(*ADD, "--usd", "0.40")
    with (ftsdk_home / "prices.yaml").open("a") as file:
        file.write((ftsdk_home / "prices.yaml").read_text().partition("prices:\n")[2])
    assert "duplicate: runpod pod-secure/L4" in run("check", code=1)
    assert json.loads(run("check", "--json", code=1))[0]["is_error"] is True


def test_a_project_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(*ADD, "--usd", "0.41", "--project")
    assert PriceBook.load(today=TODAY).price("runpod", "pod-secure/L4").layer == "project"


@pytest.mark.parametrize(
    ("usd", "says"), [("0", "greater than 0"), ("a lot", "amount such as 0.49"), ("-1", "greater than 0")]
)
def test_an_impossible_amount_is_refused_by_the_command_line(usd: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        run(*ADD, "--usd", usd)


def test_the_command_line_tells_an_apis_price() -> None:
    pytest.importorskip("genai_prices", reason="the extra 'cost' isn't installed")
    assert "$1.25 in" in run("api", "openai/gpt-4o", "--batch")
    assert json.loads(run("api", "anthropic/claude-haiku-4-5", "--json"))["output_usd_per_mtok"] == 5
