"""Amounts with more digits than a float: every digit of them arrives, whichever way they come."""

from __future__ import annotations

import copy
import json
import pickle
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ftsdk import Dataset, FineTuneJob, Local
from ftsdk._numbers import ExactFloat
from ftsdk._yaml import parse_yaml
from ftsdk.backends.registry import get_backend
from ftsdk.cli.app import app
from ftsdk.cli.overrides import with_overrides
from ftsdk.cost import Price
from ftsdk.cost.comparison.crossover_file import CrossoverFile
from ftsdk.cost.pricebook.book import parse_rows
from ftsdk.cost.pricebook.own_prices import add_price
from ftsdk.errors import SpecError
from ftsdk.spec.job import JobFields

LONG = "12.3456789012345678901"
ROW = (
    f"prices:\n- {{provider: p, sku: s, unit: usd_per_job, usd: {LONG}, source: me, as_of: 2026-11-01, "
    f"tiers: [{{above_input_tokens: 5, usd: 0.{'1' * 30}}}]}}\n"
)


def test_a_long_budget_in_yaml_keeps_its_digits() -> None:
    assert JobFields.from_dict(parse_yaml(f"budget_usd: {LONG}", "job.yaml")).budget_usd == Decimal(LONG)


def test_a_long_budget_in_json_keeps_its_digits() -> None:
    assert JobFields.from_json(f'{{"budget_usd": {LONG}}}').budget_usd == Decimal(LONG)


def test_a_long_budget_on_the_command_line_keeps_its_digits() -> None:
    assert JobFields.from_dict(with_overrides({}, [f"budget_usd={LONG}"])).budget_usd == Decimal(LONG)


def test_a_job_with_a_long_budget_is_written_and_read_back_equal() -> None:
    rows = Dataset.from_rows([{"prompt": "a", "completion": "b"}])
    job = FineTuneJob(model="org/name", train=rows, budget_usd=Decimal(LONG), backend=Local(usd_per_hour=Decimal(LONG)))
    again = FineTuneJob.from_dict(parse_yaml(job.to_yaml(), "job.yaml"))
    assert again.budget_usd == Decimal(LONG)
    assert again.resolved_backend.options["usd_per_hour"] == LONG


def test_a_long_price_of_the_hardware_keeps_its_digits() -> None:
    for price in (Decimal(LONG), parse_yaml(LONG, "job.yaml"), LONG):
        backend = get_backend("local", {"usd_per_hour": price})
        assert get_backend("local", json.loads(json.dumps(dict(backend.options)))).options["usd_per_hour"] == LONG


def test_a_price_file_keeps_every_digit(tmp_path: Path) -> None:
    (price,) = parse_rows(ROW, layer="user", where="prices.yaml")
    assert price.usd == Decimal(LONG)
    assert price.tiers[0].usd == Decimal(f"0.{'1' * 30}")
    assert add_price(price, tmp_path / "prices.yaml") == price
    assert Price.from_json(price.to_json()) == price


def test_a_crossover_file_keeps_every_digit() -> None:
    file = CrossoverFile.from_dict(
        parse_yaml(
            f"workload: {{requests_per_month: 1, input_tokens: 1, output_tokens: 1}}\napi: {{model: a/b, "
            f"input_usd_per_mtok: {LONG}}}\nself_hosted: {{model: a/b, gpu: L4, provider: runpod}}\ntraining: {LONG}\n",
            "crossover.yaml",
        )
    )
    assert not isinstance(file.api, str)
    assert (file.training, file.api.input_usd_per_mtok) == (Decimal(LONG), Decimal(LONG))


def test_a_long_number_that_is_no_money_is_a_float() -> None:
    fields = JobFields.from_dict(parse_yaml(f"learning_rate: 0.0001{'0' * 20}1\nepochs: {LONG}", "job.yaml"))
    assert (fields.learning_rate, fields.epochs) == (0.0001, float(LONG))


def test_a_quoted_amount_that_a_float_holds_is_still_text() -> None:
    with pytest.raises(SpecError, match="write it without quotes"):
        JobFields.from_dict({"budget_usd": "20"})


@pytest.mark.parametrize("text", ["1.0e+400", "1.0e-400", "1.0e-99999999", "1.0e+99999999", f"1{'0' * 30}.5"])
def test_an_amount_that_nobody_pays_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="budget_usd"):
        JobFields.from_dict(parse_yaml(f"budget_usd: {text}", "job.yaml"))


def test_a_float_in_sixties_is_refused() -> None:
    with pytest.raises(SpecError, match=r"YAML reads 1:30.5 as 90.5"):
        parse_yaml("timeout_s: 1:30.5", "job.yaml")


def test_what_was_written_is_copied_and_pickled_along() -> None:
    number = parse_yaml(LONG, "job.yaml")
    for same in (copy.deepcopy(number), pickle.loads(pickle.dumps(number))):
        assert isinstance(same, ExactFloat)
        assert (same, same.written) == (float(LONG), Decimal(LONG))


def test_an_option_that_is_no_amount_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "job.yaml").write_text("model: org/name\ntrain: {file: rows.jsonl}\n")
    shown = CliRunner().invoke(app, ["estimate", str(tmp_path / "job.yaml"), "--usd-per-hour", "cheap"])
    assert isinstance(shown.exception, SpecError)
    assert "--usd-per-hour must be an amount" in str(shown.exception)
