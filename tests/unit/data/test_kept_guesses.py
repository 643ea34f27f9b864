"""Guesses of tokens are kept for large data, and made anew when the file isn't whole or the rule is another."""

from __future__ import annotations

import pytest

from ftsdk import Dataset
from ftsdk._home import home

ROWS = [{"prompt": f"question {n} " * n, "completion": f"answer {n}"} for n in range(1, 9)]


@pytest.mark.parametrize("is_preference", [False, True])
def test_kept_guesses_equal_what_was_guessed(monkeypatch: pytest.MonkeyPatch, is_preference: bool) -> None:
    def data() -> Dataset:
        if is_preference:
            return Dataset.from_rows([{**row, "rejected": "no"} for row in ROWS]).as_preference(
                prompt="{prompt}", chosen="{completion}", rejected="{rejected}"
            )
        return Dataset.from_rows(ROWS)

    small = data()
    expected = small.ref()
    assert not (home() / "data" / "guesses").exists()
    monkeypatch.setattr("ftsdk.data.kept_guesses.KEPT_FROM", 2)
    assert data().ref() == expected
    (path,) = (home() / "data" / "guesses").iterdir()
    whole = path.read_bytes()
    with monkeypatch.context() as unable:
        unable.setattr("ftsdk.data.kept_guesses.keep_result", None)  # nothing is written again
        again = data()
        assert again.ref() == expected
    assert (again.token_guesses.sequences == small.token_guesses.sequences).all()
    assert (again.token_guesses.answers == small.token_guesses.answers).all()
    for torn in (b"", whole[:-1], whole[:-9] + b"123456789", b"\n" + whole.partition(b"\n")[2]):
        path.write_bytes(torn)
        assert data().ref() == expected
        assert path.read_bytes() == whole


def test_guesses_of_another_rule_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from ftsdk.data import kept_guesses

    monkeypatch.setattr(kept_guesses, "KEPT_FROM", 2)
    before = Dataset.from_rows(ROWS).ref().tokens
    monkeypatch.setattr("ftsdk.data.token_guess._PER_MESSAGE", (100, 200, 300))
    kept_guesses._rule.cache_clear()
    try:
        assert Dataset.from_rows(ROWS).ref().tokens != before
    finally:
        kept_guesses._rule.cache_clear()
