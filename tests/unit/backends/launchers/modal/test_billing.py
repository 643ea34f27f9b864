"""Prices of one's own for what Modal rents.

Any unit of time is understood, and a wrong one is told with where it stands.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ftsdk import Dataset, FineTuneJob, FullFineTune, Modal, SpecError, UnsupportedSpecError
from ftsdk.backends.launchers.modal.gpus import offers
from ftsdk.cli.app import app


@pytest.fixture
def own_prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text("prices:\n", encoding="utf-8")
    monkeypatch.setenv("FTSDK_PRICES", str(path))
    return path


def add(*arguments: str) -> None:
    done = CliRunner().invoke(app, ["prices", "add", "modal", *arguments, "--source", "contract"])
    assert done.exit_code == 0, done.output


def job(backend: Modal | None = None, **changes: Any) -> FineTuneJob:
    train = Dataset.from_rows([{"q": f"question {n}", "a": "yes"} for n in range(300)]).as_chat(
        prompt="{q}", completion="{a}"
    )
    return FineTuneJob(
        **{"model": "example/Tiny-7B-Instruct", "train": train, "backend": backend or Modal(gpu="L4"), **changes}
    )


def test_a_users_own_hourly_price_is_used_in_plan_cap_and_estimate(own_prices: Path) -> None:
    listed = job().estimate(is_exact=False).cost
    add("gpu/L4", "--usd", "0.60", "--unit", "usd_per_gpu_hour", "--gpu", "L4")
    add("gpu/H200", "--usd", "36", "--unit", "usd_per_gpu_hour", "--gpu", "H200")
    assert offers().gpus["L4"].usd_per_s == Decimal("0.60") / 3600
    assert offers().gpus["H100"].ceiling_usd_per_s == Decimal("0.01")
    made = job().plan()
    assert made.cost is not None
    assert listed is not None
    assert made.cost.likely < listed.likely
    assert "contract" in made.cost.source


@pytest.mark.parametrize("sku", ["cpu/physical-core", "gpu/L4"])
def test_a_price_in_an_unusable_unit_is_refused_with_its_file(own_prices: Path, sku: str) -> None:
    add(sku, "--usd", "0.05", "--unit", "usd_per_month")
    with pytest.raises(
        SpecError,
        match=r"the user's prices .*prices\.yaml.* in usd_per_month.*ftsdk prices add modal .*or take the row out",
    ):
        job().plan()


def test_without_a_gpu_the_estimated_time_costs_its_cores_and_its_memory() -> None:
    found = job(Modal(gpu="cpu", cpu=4, memory_gib=64)).estimate(is_exact=False)
    hourly = Decimal(3600) * (4 * Decimal("0.0000131") + 64 * Decimal("0.00000222"))
    assert found.seconds is not None
    assert found.cost is not None
    assert float(found.cost.likely) == pytest.approx(found.seconds.likely * float(hourly) / 3600, rel=0.01)
    assert [line.label for line in found.cost_lines] == ["CPU", "memory"]
    assert found.billing_terms is not None
    assert found.billing_terms.kind == "per_hour"
    assert "couldn't be estimated" not in found.cost.source


def test_a_plan_without_a_gpu_does_not_call_its_time_unknown() -> None:
    shown = str(job(Modal(gpu="cpu")).plan())
    assert "\nTime " in shown
    assert "couldn't be estimated" not in shown
    assert "at most $" not in shown


def test_a_container_without_a_gpu_has_memory_for_the_model() -> None:
    for changes, least in (({}, 60), ({"tuning": FullFineTune()}, 130)):
        made = job(Modal(gpu="cpu"), **changes).plan()
        asked = made.request["launch"]["memory_mib"] / 1024
        assert asked > least
        assert made.estimate is not None
        assert made.estimate.memory is not None
        assert (made.estimate.memory.verdict, made.estimate.memory.there_gib) == ("fits", asked)
    small = job(Modal(gpu="cpu", memory_gib=8)).plan()
    assert small.estimate is not None
    assert small.estimate.memory is not None
    assert small.estimate.memory.verdict == "no"


def test_the_host_of_a_gpu_has_memory_for_the_model_only() -> None:
    small, large = (
        job(Modal(gpu="H100"), model=f"example/Some-{size}").plan().request["launch"]["memory_mib"]
        for size in ("135M", "70B")
    )
    assert small < 22 * 1024 < large


def test_a_cost_whose_upper_end_is_a_dearer_cards_names_that_price() -> None:
    may_be_h200, is_h100 = (job(Modal(gpu=gpu)).estimate(is_exact=False).cost for gpu in ("H100", "H100!"))
    assert may_be_h200 is not None
    assert is_h100 is not None
    most = Decimal(job(Modal(gpu="H100")).plan().request["launch"]["usd_per_s"]) * 3600
    assert f"(up to ${most:.2f} if the provider gives a dearer card)" in may_be_h200.source
    assert "dearer" not in is_h100.source


@pytest.mark.parametrize("region", ["mars", "narrow", "", "US", "us-", "us west", "us\n"])
def test_what_cannot_be_a_region_is_refused_with_what_one_looks_like(region: str) -> None:
    with pytest.raises(UnsupportedSpecError, match="region-selection") as caught:
        job(Modal(region=region)).plan()
    assert [(gap.field, gap.offered) for gap in caught.value.gaps] == [("backend.region", ("us", "us-west"))]


@pytest.mark.parametrize("region", ["us", "eu-west", "ap-northeast-1"])
def test_a_region_goes_to_modal_as_it_is(region: str) -> None:
    assert job(Modal(region=region)).plan().request["launch"]["region"] == region
