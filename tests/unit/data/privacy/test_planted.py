"""The benchmark in small, and real data without personal data."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_figures import load

from ftsdk.data.privacy import find

SHARED_DATA = Path(__file__).parents[5] / "shared" / "data"


def test_planted_values_are_gone_and_clean_rows_unaltered() -> None:
    bench = load("bench_privacy")
    score = bench.score(load("planted_pii").rows(8_000, seed=11, planted=0.5))
    assert set(score.recall) == {*bench.LIMITS, "credential"}
    assert all(recall >= bench.LIMITS.get(kind, 0.99) for kind, recall in score.recall.items()), score.missed
    assert score.altered == []


def test_credentials_of_each_format_are_found_by_their_own_kind() -> None:
    planted = load("planted_pii")
    draw = planted.random.Random(5)
    for provider, form in planted.CREDENTIAL_FORMS.items():
        texts = [f"use {form(draw)} for now" for _ in range(50)]
        kinds = {finding.kind for findings in find(texts).values() for finding in findings}
        assert len(kinds) == 1, provider
        assert len(find(texts)) == 50, provider


def test_real_data_without_personal_data_is_unaltered() -> None:
    texts = load("bench_privacy").real_texts(SHARED_DATA)
    if not texts:
        pytest.skip("no real data beside this checkout: shared/data has CLINC150 and GSM8K")
    assert {name: find(rows) for name, rows in texts.items()} == {name: {} for name in texts}
