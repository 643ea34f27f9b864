"""`ftsdk models`: the catalogue in a terminal."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ftsdk.cli.app import app
from ftsdk.cost import known_models


def said(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["models", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_model_is_a_row_that_fits_80_columns() -> None:
    lines = said("list").splitlines()
    for model in known_models():
        (row,) = [line for line in lines if line.startswith(f"{model.hub} ")]
        assert model.licence.name in row
        assert len(row) <= 80


def test_an_unknown_family_names_those_that_there_are() -> None:
    done = CliRunner().invoke(app, ["models", "list", "--family", "Nobody"])
    assert done.exit_code != 0
    assert "Qwen" in str(done.exception)


def test_a_model_is_shown_with_who_tunes_it_and_where_it_fits() -> None:
    shown = said("show", "meta-llama/Llama-3.1-8B-Instruct")
    assert "Service  together" in shown
    assert "QLoRA    T4 (16 GiB) or more" in shown
    assert (
        '  - a tuned model that you distribute, also one trained on its outputs, has a name that begins with "Llama"'
        in (shown)
    )


@pytest.mark.parametrize(
    ("conditions", "status"),
    [(("--gpu", "L4"), 0), (("--service", "together"), 0), (("--context", "100000000"), 1)],
)
def test_a_pick_says_what_fits_or_that_nothing_suits(conditions: tuple[str, ...], status: int) -> None:
    done = CliRunner().invoke(app, ["models", "pick", "json", *conditions])
    assert done.exit_code == status
    if status:
        assert "no model of the catalogue suits json" in done.stderr
    else:
        assert "licence" not in done.stderr
        assert ("LoRA fits" in done.stdout) == ("--gpu" in conditions)
