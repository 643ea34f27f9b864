"""Languages: many texts at once get the language that py3langid names for each."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ftsdk.data.quality.language_scores import classified

TEXTS = [
    "The parcel arrived two days late, and nobody could say where it had been.",
    "Das Paket kam zwei Tage zu spät, und niemand wusste, wo es gewesen war.",
    "ПОСЫЛКА ПРИШЛА НА ДВА ДНЯ ПОЗЖЕ, И НИКТО НЕ ЗНАЛ, ГДЕ ОНА БЫЛА.",
    "Пакет је стигао два дана касније и нико није знао где је био.",
    "Le colis est arrivé deux jours en retard.",
    "包裹晚到了两天,没有人知道它在哪里。",
    "",
    "7 7 7",
    "\ud800 half a pair",
]


def test_texts_together_get_the_languages_that_each_gets_alone() -> None:
    langid = pytest.importorskip("py3langid.langid")
    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    expected = [identifier.classify(text) for text in TEXTS]
    found = list(classified(identifier, TEXTS))
    assert [language for language, _ in found] == [language for language, _ in expected]
    assert [sure for _, sure in found] == pytest.approx([sure for _, sure in expected], abs=1e-4)


def test_another_version_of_the_library_classifies_texts_itself() -> None:
    identifier = SimpleNamespace(classify=lambda text: (text[:2], 1.0))
    assert list(classified(identifier, ["en: yes", "de: ja"])) == [("en", 1.0), ("de", 1.0)]
