"""The page on Together names the models and the figures that the catalogue has."""

from __future__ import annotations

from pathlib import Path

from ftsdk.backends.together.catalogue import KnownModel, catalogue
from ftsdk.backends.together.mapping import diagnosis_of
from ftsdk.cost import PriceBook
from ftsdk.testing import a_spec
from ftsdk.testing.together import SCENARIOS

BOOK = PriceBook.load()
PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "together.md").read_text(encoding="utf-8")


def row_of(model: KnownModel) -> str:
    doubt = " (name not known)" if model.service is None else " (name inferred)" if model.inferred else ""
    price = catalogue().price_per_mtok(model, a_spec(), BOOK) if model.lora else None
    cells = (
        f"`{model.hub}`{doubt}",
        model.sft_context or "unknown",
        model.dpo_context or "unknown",
        model.lora.max_rank if model.lora else "-",
        "yes" if model.full else "-",
        "unknown" if price is None else f"{'≤ ' if price.is_upper_bound else ''}{price.usd:.2f}",
        f"${catalogue().minimum(model, BOOK).usd:.2f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def name_of(model: KnownModel) -> str:
    return f"- `{model.hub}`: `{model.service}`"


def test_the_models_on_the_page_are_those_of_the_catalogue() -> None:
    table = PAGE.partition("## Models")[2]
    shown = [line for line in table.splitlines() if line.startswith(("| `", "- `"))]
    models = catalogue().models
    wanted = [row_of(model) for model in models] + [
        name_of(model) for model in models if model.service not in (None, model.hub)
    ]
    assert shown == wanted, "write the table and the list anew:\n" + "\n".join(wanted)
    assert f"read {catalogue().as_of}" in table


def test_the_minimum_on_the_page_is_that_of_the_catalogue() -> None:
    assert f"A job costs at least ${catalogue().minimum(None, BOOK).usd:.2f}, a few models more" in PAGE


def test_the_scenarios_and_the_diagnoses_on_the_page_exist() -> None:
    (told,) = [line for line in PAGE.splitlines() if line.startswith("SCENARIOS = (")]
    assert {word for word in SCENARIOS if f'"{word}"' in told} == set(told.split('"')[1::2])
    for word in ("user_error", "error"):
        assert (
            f"The job ends as `{word}` | `RunFailedError`, with the diagnosis "
            f"`{diagnosis_of(word, [], step=None).kind}`" in PAGE
        )
