"""The record of a run: facts from one place, statements from people only, and signatures that hold for one content."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ftsdk import SFT, Dataset, FineTuneJob, Privacy, SpecError
from ftsdk.run.ledger import Record
from ftsdk.run.technical_record.coverage import COVERAGE
from ftsdk.run.technical_record.gather import technical_record
from ftsdk.run.technical_record.record import TechnicalRecord
from ftsdk.run.technical_record.statements import SignOff, Statements, form, read_statements

TRAIN = Dataset.from_rows([{"prompt": f"train {n}", "completion": "yes"} for n in range(40)], name="mails | <b>")
MANIFEST = {
    "files": {"adapter_model.safetensors": {"bytes": 3, "sha256": "ab" * 32}},
    "info": {
        "versions": {"trl": "1.16.0"},
        "privacy": {"epsilon": 7.9, "delta": 1e-4, "unit": "one row of the training data, added or removed"},
    },
}


def a_record(model: str = "HuggingFaceTB/SmolLM2-135M-Instruct") -> Record:
    job = FineTuneJob(model=model, train=TRAIN, method=SFT(privacy=Privacy(epsilon=8, delta=1e-4)))
    plan = {
        "backend": "local",
        "spec": job.spec().to_dict(),
        "request": {},
        "hardware": {"device": "cuda", "name": "NVIDIA L4", "processes": 1},
    }
    outcome = {"state": "succeeded", "seconds": 1800.0, "steps": 30, "tokens": 12_345, "cost_usd": 0.4}
    return Record(
        ref="local:a",
        name=None,
        plan=plan,
        options={},
        outcome=outcome,
        state="succeeded",
        submitted_at=1_764_000_000.0,
    )


def record_with(tmp_path: Path, statements: Statements | None = None, **options: Any) -> TechnicalRecord:
    given = {"region": "DE", "power_w": None, **options}
    return technical_record(a_record(), MANIFEST, tmp_path, statements=statements, **given)


def test_the_record_has_what_the_run_knows(tmp_path: Path) -> None:
    made = record_with(tmp_path)
    text = str(made)
    for fact in (
        TRAIN.fingerprint,
        "apache-2.0",
        "1 x NVIDIA L4",
        "12,345",
        "$0.40",
        "381 g of CO2",
        "epsilon",
        "ab" * 32,
        "1.16.0",
    ):
        assert fact in text
    assert made.to_dict()["facts"]["privacy"]["epsilon"] == 7.9
    assert "not legal advice" not in text
    assert "none of this is legal advice" in text


def test_nothing_is_said_for_a_person(tmp_path: Path) -> None:
    made = record_with(tmp_path)
    assert set(made.missing) == set(Statements.model_fields) - {"sign_offs"}
    assert "not stated: to be filled in by a person" in str(made)
    assert not made.is_signed
    assert "nobody" in str(made)
    stated = record_with(tmp_path, Statements(provider="ACME, Road 1", intended_purpose="sort mails"))
    assert "ACME, Road 1" in str(stated)
    assert "provider" not in stated.missing
    has = {row["point"]: row["has"] for row in stated.to_dict()["coverage"]}
    assert has["XI 1.1(a)"] == "intended_purpose"
    assert has["XI 1.2(e)"] == "Energy"
    assert has["IV 2(h)"] == "-"


def test_a_signature_holds_for_one_content(tmp_path: Path) -> None:
    stated = Statements(provider="ACME")
    digest = record_with(tmp_path, stated).digest
    signed = stated.replace(
        sign_offs=(SignOff(name="A. Person", role="head", signed_on=date(2026, 11, 28), digest=digest),)
    )
    made = record_with(tmp_path, signed)
    assert made.digest == digest
    assert made.is_signed
    changed = record_with(tmp_path, signed.replace(known_limits="none known"))
    assert not changed.is_signed
    assert "NOT for this content" in str(changed)


def test_the_form_is_read_back(tmp_path: Path) -> None:
    made = record_with(tmp_path)
    file = tmp_path / "statements.yaml"
    file.write_text(form(made.digest), encoding="utf-8")
    assert read_statements(file) == Statements()
    text = file.read_text(encoding="utf-8").replace("provider:", "provider: ACME")
    text = text.replace("#  - {name: , role: ,", "  - {name: A. Person, role: head,")
    file.write_text(text, encoding="utf-8")
    found = read_statements(file)
    assert found.provider == "ACME"
    assert found.sign_offs[0].digest == made.digest
    file.write_text("prvider: ACME", encoding="utf-8")
    with pytest.raises(SpecError, match="prvider"):
        read_statements(file)
    with pytest.raises(SpecError, match="can't be read"):
        read_statements(tmp_path / "none.yaml")


@pytest.mark.parametrize("ending", [".md", ".html", ".json"])
def test_the_record_is_written_and_escaped(tmp_path: Path, ending: str) -> None:
    made = record_with(tmp_path)
    text = made.write(tmp_path / f"record{ending}").read_text(encoding="utf-8")
    assert made.digest in text
    if ending == ".json":
        assert json.loads(text)["run"] == "local:a"
    else:
        assert "<b>" not in text.replace("<b>Note:</b>", "")
    with pytest.raises(SpecError, match=r"\.md, \.html or \.json"):
        made.write(tmp_path / "record.pdf")


def test_energy_without_a_known_device_is_not_made_up(tmp_path: Path) -> None:
    record = a_record()
    plan = {**record.plan, "hardware": {"device": "cpu", "name": "a CPU", "processes": 1}}
    unknown = Record(**{**vars(record), "plan": plan})
    made = technical_record(unknown, None, tmp_path, statements=None, region=None, power_w=None)
    assert made.facts["energy"] is None
    assert {row["point"]: row["has"] for row in made.to_dict()["coverage"]}["XI 1.2(e)"] == "-"


def test_points_name_sections_and_statements_that_exist(tmp_path: Path) -> None:
    titles = {section.title for section in record_with(tmp_path).sections}
    assert {entry.by_facts for entry in COVERAGE if entry.by_facts} <= titles
    assert {name for entry in COVERAGE for name in entry.by_statements} <= set(Statements.model_fields)
