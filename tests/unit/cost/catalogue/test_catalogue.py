"""The catalogue of models: every row has its source, and what is picked is what a practitioner would."""

from __future__ import annotations

import re
from datetime import date
from importlib import resources
from typing import Any

import pytest
import yaml

from ftsdk import Dataset, FineTuneJob, LoRA, QLoRA, SpecError
from ftsdk.backends.together.catalogue import catalogue as together_catalogue
from ftsdk.cost import known_models, model_named, pick_models
from ftsdk.cost.catalogue.fit import fits_in, smallest_card
from ftsdk.cost.catalogue.known_model import KnownModel
from ftsdk.cost.catalogue.plan_notes import model_notes
from ftsdk.cost.catalogue.services import services_that_tune
from ftsdk.spec import Model
from ftsdk.testing import a_spec

RAW: dict[str, Any] = yaml.safe_load((resources.files("ftsdk.cost.catalogue") / "models.yaml").read_text("utf-8"))
ROWS = [*RAW["models"], *({"hub": name, **row} for name, row in RAW["licences"].items())]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["hub"])
def test_every_row_has_a_source_and_a_day(row: dict[str, Any]) -> None:
    assert row["source"].startswith("https://")
    assert isinstance(row["read"], date)
    assert row["read"] >= date(2026, 11, 28)


def test_a_row_without_a_source_or_a_day_cannot_be_read() -> None:
    whole = model_named("Qwen/Qwen3-8B")
    for field in ("source", "read"):
        fields = {name: getattr(whole, name) for name in KnownModel.model_fields if name != field}
        with pytest.raises(SpecError, match=field):
            KnownModel(**fields)
    with pytest.raises(SpecError, match="source"):
        whole.replace(source="somebody said so")


def test_names_are_there_once_and_base_models_name_a_sibling_that_answers() -> None:
    names = [model.hub for model in known_models()]
    assert len(set(names)) == len(names)
    families = {model.family for model in known_models()}
    assert families == {"Llama", "Mistral", "Qwen", "DeepSeek", "Gemma", "gpt-oss", "SmolLM", "Phi"}
    for model in known_models():
        assert (model.kind == "base") == (model.instruct is not None)
        assert model.instruct is None or model_named(model.instruct).kind == "instruct"
        assert model.parameters_b >= (model.active_b or 0) > 0 or model.active_b is None
    with pytest.raises(SpecError, match=r"did you mean 'Qwen/Qwen3-8B'"):
        model_named("Qwen/Qwen3-8b-it")


SITUATIONS: list[tuple[str, str, dict[str, Any], Any]] = [
    ("mails into ten classes on a T4", "classification", {"gpu": "T4"}, "Qwen/Qwen3.5-2B"),
    ("classes on a phone", "classification", {"most_b": 0.6}, "Qwen/Qwen3-0.6B"),
    ("JSON from invoices on an L4", "json", {"gpu": "L4"}, "Qwen/Qwen3.5-4B"),
    ("a house style on a gaming card", "style", {"gpu": "RTX4090"}, "Qwen/Qwen3.5-9B"),
    ("a chat for 900 million users", "chat", {"users_millions": 900}, lambda m: m.family != "Llama"),
    ("a product name of one's own", "chat", {"gpu": "H100", "own_name": True}, lambda m: "Llama" not in m.hub),
    ("the house uses Llama", "chat", {"gpu": "H100", "family": "Llama"}, "meta-llama/Llama-3.1-8B-Instruct"),
    ("sums that take thinking", "reasoning", {"gpu": "H100"}, lambda m: m.thinking is not None and m.parameters_b > 7),
    ("contracts of 200,000 tokens", "chat", {"context": 200_000}, "Qwen/Qwen3.5-9B"),
    ("no GPU: Together tunes it", "chat", {"service": "together"}, "Qwen/Qwen3.5-9B"),
    ("nobody may accept terms", "chat", {"gated": False, "family": "Llama"}, None),
    ("a card that is too small", "reasoning", {"memory_gib": 3}, None),
    (
        "a Qwen of 3B for research",
        "extraction",
        {"commercial": False, "most_b": 3.5, "family": "Qwen"},
        "Qwen/Qwen2.5-3B-Instruct",
    ),
    ("the same in a product", "extraction", {"most_b": 3.5, "family": "Qwen"}, "Qwen/Qwen3.5-2B"),
    (
        "a Llama on a card of 12 GB",
        "extraction",
        {"memory_gib": 12, "family": "Llama"},
        "meta-llama/Llama-3.2-3B-Instruct",
    ),
    (
        "a Llama for a firm in the EU",
        "chat",
        {"family": "Llama", "region": "eu", "most": 9},
        lambda m: "Llama-4" not in m.hub,
    ),
]


@pytest.mark.parametrize(
    ("situation", "task", "conditions", "expected"), SITUATIONS, ids=[situation[0] for situation in SITUATIONS]
)
def test_a_practitioner_would_pick_the_same(
    situation: str, task: Any, conditions: dict[str, Any], expected: Any
) -> None:
    picked = pick_models(task, **conditions)
    if expected is None:
        assert picked == (), situation
    elif callable(expected):
        assert picked, situation
        assert all(expected(one.model) for one in picked), situation
    else:
        assert picked[0].model.hub == expected, situation
    for one in picked:
        assert one.model.kind == "instruct"
        assert conditions.get("commercial", True) is False or one.model.allows_commercial_use
        assert (one.tuning is not None) == ("gpu" in conditions or "memory_gib" in conditions)


def test_what_fits_is_computed_and_more_memory_never_takes_it_away() -> None:
    for model in known_models():
        for tuning in (LoRA(), QLoRA()):
            held = [fits_in(model, tuning, memory) for memory in (8, 16, 24, 48, 80, 192, 2048)]
            assert held == sorted(held), model.hub
    eight = model_named("meta-llama/Llama-3.1-8B-Instruct")
    small, large = smallest_card(eight, QLoRA()), smallest_card(eight, LoRA())
    assert small is not None
    assert large is not None
    assert (small.memory_gib or 0) < (large.memory_gib or 0) <= 48
    assert smallest_card(model_named("deepseek-ai/DeepSeek-V3.1"), QLoRA()) is None


def test_services_are_those_whose_catalogue_or_prices_name_the_very_model() -> None:
    assert "together" in services_that_tune(model_named("Qwen/Qwen3.5-9B"))
    assert services_that_tune(model_named("HuggingFaceTB/SmolLM2-135M-Instruct")) == ()
    offered = {model.hub for model in together_catalogue().models if model.service is not None}
    assert "meta-llama/Llama-3.1-8B-Instruct" in offered
    for model in known_models():
        assert ("together" in model.tuned_at) == (model.hub in offered), model.hub


def test_a_plan_warns_of_conditions_and_of_a_base_model_that_is_tuned_as_if_it_answered() -> None:
    notes = model_notes(a_spec(model=Model(id="meta-llama/Llama-3.1-8B")))
    assert len(notes) == 2
    assert 'has a name that begins with "Llama"' in notes[0]
    assert "no legal advice" in notes[0]
    assert "is a base model" in notes[1]
    assert "Tune meta-llama/Llama-3.1-8B-Instruct" in notes[1]
    templated = Model(id="meta-llama/Llama-3.1-8B", chat_template="{% for m in messages %}{{ m.content }}{% endfor %}")
    assert len(model_notes(a_spec(model=templated))) == 1
    assert model_notes(a_spec(model=Model(id="Qwen/Qwen3-8B"))) == ()
    assert model_notes(a_spec()) == ()


def test_a_licence_of_the_model_it_was_made_from_binds_too() -> None:
    model = model_named("deepseek-ai/DeepSeek-R1-Distill-Llama-8B")
    assert [licence.name for licence in model.licences] == ["mit", "llama3.1"]
    assert any("Llama" in condition for condition in model.conditions)


def test_a_licence_that_excludes_a_region_says_so_in_the_plan() -> None:
    scout = "meta-llama/Llama-4-Scout-17B-16E-Instruct"
    assert model_named(scout).licence.excluded_regions == ("EU",)
    assert "isn't granted to people who live in the European Union" in model_notes(a_spec(model=Model(id=scout)))[0]
    # The text models of Llama 3.2 aren't multimodal, which is what the clause is about.
    assert model_named("meta-llama/Llama-3.2-3B-Instruct").licence.excluded_regions == ()
    picked = pick_models("chat", family="Llama", most=9)
    assert scout in {one.model.hub for one in picked}


def test_sources_are_pinned_where_a_repository_has_them() -> None:
    for row in ROWS:
        for source in (row["source"], *row.get("more_sources", [])):
            if "github.com" in source:
                assert re.search(r"/blob/[0-9a-f]{40}/", source), source


def test_a_job_says_it_in_its_plan() -> None:
    rows = Dataset.from_rows([{"prompt": f"q{n}", "completion": "a"} for n in range(8)])
    plan = FineTuneJob(model="meta-llama/Llama-3.1-8B-Instruct", train=rows, backend="together").plan()
    assert any("Built with Llama" in note for note in plan.notes)
