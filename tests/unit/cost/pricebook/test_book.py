"""One question has one answer, of the newest row in force in the topmost layer, or an error that names the nearest."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prices import TODAY, a_gpu_price, a_price

from ftsdk.cost import Price, PriceBook
from ftsdk.cost.pricebook.book import parse_rows
from ftsdk.cost.pricebook.price import Unit
from ftsdk.errors import SpecError


def rows(*lines: str) -> str:
    return "prices:\n" + "".join(f"  - {{{line}}}\n" for line in lines)


ROW = (
    "provider: runpod, sku: pod-secure/L4, unit: usd_per_gpu_hour, usd: {usd}, gpu: L4, source: "
    "'https://acme.example', as_of: {day}"
)


def test_every_packaged_price_has_an_address_a_day_and_no_twin(book: PriceBook) -> None:
    history = book.history()
    assert len(history) >= 200
    keys = [(row.provider, row.sku, row.as_of) for row in history]
    assert len(set(keys)) == len(keys)
    for row in history:
        assert row.source.startswith("https://"), row
        assert row.as_of <= TODAY, row
        assert row.layer == "packaged"


def test_the_newest_price_in_force_answers(book: PriceBook) -> None:
    price = book.price("together", "ft/lora-sft/Qwen/Qwen3.5-9B")
    assert (price.usd, price.as_of) == (Decimal("0.34"), date(2026, 10, 7))


def test_a_promotion_counts_until_its_last_day_and_no_longer(book: PriceBook) -> None:
    by_day = {
        day: book.price("together", "dedicated/1xH100-80GB", on=date.fromisoformat(day)).usd
        for day in ("2026-06-01", "2026-09-30", "2026-10-07")
    }
    assert [str(usd) for usd in by_day.values()] == ["6.49", "3.99", "5.49"]
    with pytest.raises(SpecError, match="in force on 2026-05-01"):
        book.price("together", "dedicated/1xH100-80GB", on=date(2026, 5, 1))


def test_a_superseded_price_is_history_and_not_an_answer(book: PriceBook) -> None:
    assert book.price("together", "ft/full-sft/<=16B", on=date(2026, 9, 10)).usd == Decimal("0.54")
    with pytest.raises(SpecError, match=r"the last that is known.*0\.54"):
        book.price("together", "ft/full-sft/<=16B")
    assert "ft/full-sft/<=16B" in {row.sku for row in book.history("together")}
    assert "ft/full-sft/<=16B" not in {row.sku for row in book.prices("together")}


@pytest.mark.parametrize(
    ("provider", "sku", "says"),
    [
        ("togehter", "ft/minimum", "did you mean 'together'"),
        ("together", "ft/lora-sft/Qwen3.5-9B", "'ft/lora-sft/Qwen/Qwen3.5-9B'"),
        ("runpod", "pod-secure/L40", "'pod-secure/L40S'"),
        ("runpod", "POD-SECURE/L4", "ftsdk prices add"),
    ],
)
def test_an_unknown_name_raises_with_the_nearest_and_never_matches_loosely(
    book: PriceBook, provider: str, sku: str, says: str
) -> None:
    with pytest.raises(SpecError) as caught:
        book.price(provider, sku)
    assert says in str(caught.value)


def test_later_layers_win_even_with_an_older_day(tmp_path: Path) -> None:
    user, project = tmp_path / "user.yaml", tmp_path / "project.yaml"
    user.write_text(rows(ROW.format(usd=0.41, day="2026-01-01")))
    project.write_text(rows(ROW.format(usd=0.42, day="2026-01-02")))
    call = a_gpu_price(0.43, provider="runpod", sku="pod-secure/L4", gpu="L4", as_of="2026-01-03")
    seen: list[tuple[str, str]] = []
    layers: tuple[dict[str, Any], ...] = (
        {},
        {"user": user},
        {"user": user, "project": project},
        {"user": user, "project": project, "overrides": [call]},
    )
    for arguments in layers:
        price = PriceBook.load(**arguments, today=TODAY).price("runpod", "pod-secure/L4")
        seen.append((str(price.usd), price.layer))
    assert seen == [("0.49", "packaged"), ("0.41", "user"), ("0.42", "project"), ("0.43", "call")]


def test_the_users_file_comes_from_the_environment_and_must_exist(
    tmp_path: Path, ftsdk_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ftsdk_home.mkdir()
    (ftsdk_home / "prices.yaml").write_text(rows(ROW.format(usd=0.41, day="2026-11-01")))
    assert PriceBook.load(today=TODAY).price("runpod", "pod-secure/L4").layer == "user"
    monkeypatch.setenv("FTSDK_PRICES", str(tmp_path / "mine.yaml"))
    with pytest.raises(SpecError, match=r"mine\.yaml doesn't exist"):
        PriceBook.load(today=TODAY)
    (tmp_path / "mine.yaml").write_text("")
    assert PriceBook.load(today=TODAY).price("runpod", "pod-secure/L4").layer == "packaged"


def test_the_projects_file_is_read_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ftsdk-prices.yaml").write_text(rows(ROW.format(usd=0.42, day="2026-11-01")))
    price = PriceBook.load(today=TODAY).price("runpod", "pod-secure/L4")
    assert (price.layer, "from the project's prices" in str(price)) == ("project", True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (rows(ROW.format(usd=0, day="2026-11-01")), "greater than 0"),
        (rows(ROW.format(usd=-1, day="2026-11-01")), "greater than 0"),
        (rows(ROW.format(usd=".nan", day="2026-11-01")), "row 1"),
        (rows(ROW.format(usd=0.4, day="yesterday")), "valid date"),
        (rows(ROW.format(usd=0.4, day="2026-11-01") + ", usd_per_hour: 1"), "unknown option 'usd_per_hour'"),
        (rows(ROW.format(usd=0.4, day="2026-11-01").replace("gpu: L4, ", "")), "needs 'gpu'"),
        (rows(ROW.format(usd=0.4, day="2026-11-01") + ", layer: call"), "'layer' says from which book"),
        (rows(ROW.format(usd=0.4, day="2026-11-01").replace("usd_per_gpu_hour", "usd_per_hour")), "unit"),
        (rows(ROW.format(usd=0.4, day="2026-11-01") + ", valid_until: 2026-10-01"), "before"),
        ("prices: 3", "isn't a price file"),
        ("- a", "isn't a price file"),
        ("prices: [3]", "row 1"),
        ("prices: []\nprice: []", "unknown key 'price'"),
        ("prices: [", "invalid YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_row(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as caught:
        PriceBook.load(user=file, today=TODAY)
    assert says in str(caught.value)
    assert "wrong.yaml" in str(caught.value)


def test_amounts_are_what_was_written() -> None:
    (price,) = parse_rows(rows(ROW.format(usd=0.0000131, day="2026-11-01")), layer="user", where="x")
    assert price.usd == Decimal("0.0000131")


def test_an_announced_price_counts_from_its_first_day() -> None:
    book = PriceBook([a_price(usd=1), a_price(usd=2, as_of="2026-11-02", valid_from="2027-01-01")], today=TODAY)
    sku = ("acme", "ft/lora-sft/x")
    assert [book.price(*sku, on=day).usd for day in (None, date(2026, 12, 31), date(2027, 1, 1))] == [1, 1, 2]


@pytest.mark.parametrize(("days", "state"), [(0, "fresh"), (60, "fresh"), (61, "old"), (180, "old"), (181, "stale")])
def test_a_price_is_old_over_60_days_and_stale_over_180(days: int, state: str) -> None:
    price = a_price()
    day = price.as_of + timedelta(days=days)
    assert (price.age_days(day), price.staleness(day)) == (days, state)


def test_a_price_says_amount_unit_source_day_and_status(book: PriceBook) -> None:
    shown = str(book.price("together", "ft/minimum"))
    for part in ("$4 per job", "https://www.together.ai/pricing", "2026-10-07", "sources disagree"):
        assert part in shown
    assert "as of 2026-02," in a_price(as_of="2026-02-01", as_of_precision="month", status="unconfirmed").cited
    assert "x1.5" in str(book.price("modal", "multiplier/region-broad"))


def test_a_price_comes_back_from_its_dict_equal() -> None:
    price = a_gpu_price("0.49", note="a: b", valid_until=date(2026, 12, 1))
    assert Price.from_dict(json.loads(json.dumps(price.to_dict()))) == price


@given(asked=st.sampled_from(get_args(Unit)), has=st.sampled_from(get_args(Unit)))
def test_units_cant_be_mixed(asked: Unit, has: Unit) -> None:
    price = a_gpu_price(unit=has)
    if asked == has:
        assert price.usd_in(asked) == 2
    else:
        with pytest.raises(SpecError, match="choose a price of that unit"):
            price.usd_in(asked)


@given(
    days=st.lists(st.dates(date(2026, 1, 1), date(2026, 12, 31)), min_size=1, max_size=6, unique=True),
    on=st.dates(date(2026, 1, 1), date(2027, 1, 1)),
)
def test_the_price_of_a_day_is_the_last_that_was_noted_by_then(days: list[date], on: date) -> None:
    book = PriceBook([a_price(as_of=day, usd=number + 1) for number, day in enumerate(days)], today=on)
    known = [day for day in days if day <= on]
    found = book.find("acme", "ft/lora-sft/x")
    assert (found.as_of if found else None) == (max(known) if known else None)


def test_of_two_rows_of_one_day_the_later_counts() -> None:
    assert PriceBook([a_price(usd=1), a_price(usd=2)], today=TODAY).price("acme", "ft/lora-sft/x").usd == 2


def test_an_unknown_unit_or_provider_is_refused_in_a_list(book: PriceBook) -> None:
    with pytest.raises(SpecError, match="did you mean 'usd_per_gpu_hour'"):
        book.prices(unit="usd_per_gpu_hours")
    with pytest.raises(SpecError, match="did you mean 'runpod'"):
        book.prices("runpot")
    assert {price.unit for price in book.prices("runpod", "usd_per_gpu_hour")} == {"usd_per_gpu_hour"}


def test_a_clock_before_the_packaged_prices_leaves_them_in_effect() -> None:
    assert PriceBook.load().today >= max(row.as_of for row in PriceBook.load(today=TODAY).history())


def test_how_a_provider_bills_is_data_with_a_source(book: PriceBook) -> None:
    rule = book.rule("together", "endpoint")
    assert rule is not None
    assert (rule.step_s, rule.is_idle_billed, rule.is_cold_start_billed) == (60, True, False)
    assert rule.source.startswith("https://")
    assert book.rule("together", "laundry") is None


def test_the_room_loads_neither_torch_nor_charts_nor_the_price_package() -> None:
    code = (
        "import sys; from ftsdk.cost import *; PriceBook.load()\n"
        "print([m for m in ('torch', 'matplotlib', 'genai_prices', 'together', 'httpx') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_every_public_name_is_sorted_and_can_be_had() -> None:
    import ftsdk.cost

    names: list[str] = getattr(ftsdk.cost, "__all__")  # noqa: B009  (lazy, so type checkers don't see it)
    assert list(names) == sorted(names, key=lambda name: (not name[0].isupper(), name))
    for name in names:
        assert getattr(ftsdk.cost, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'prise'"):
        _ = ftsdk.cost.prise  # pyright: ignore[reportAttributeAccessIssue]


def test_without_the_price_package_an_apis_price_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['genai_prices'] = None\n"
        "from ftsdk.cost import api_price\n"
        "try: api_price('openai/gpt-4o')\n"
        "except ImportError as error: print(error)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 'pip install "ftsdk[cost]"' in shown
