from __future__ import annotations

import os

import pytest

from ftsdk import MissingExtraError, SpecError
from ftsdk.data.privacy import named_entities, scrub

MODEL = os.environ.get("FTSDK_SPACY_MODEL", "en_core_web_sm")


def test_names_are_found_by_a_model_of_the_users() -> None:
    pytest.importorskip("presidio_analyzer", reason="the extra 'pii' isn't installed")
    spacy = pytest.importorskip("spacy")
    if not spacy.util.is_package(MODEL):
        pytest.skip(f"no spaCy pipeline {MODEL!r}; FTSDK_SPACY_MODEL names another")
    texts = ["Please ask Maria Gonzalez about it. Maria Gonzalez knows.", "nobody is named here"]
    clean = scrub(texts, found=named_entities(texts, MODEL))
    assert clean.texts == ["Please ask [PERSON_1] about it. [PERSON_1] knows.", texts[1]]


def test_a_missing_engine_or_model_is_named() -> None:
    with pytest.raises((MissingExtraError, SpecError), match=r"ftsdk\[pii\]|none is downloaded"):
        named_entities(["a"], "no-such-pipeline")
