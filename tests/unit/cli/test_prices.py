"""Prices on a terminal: what is sold can be copied, however narrow it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from prices import TODAY
from typer.testing import CliRunner

from ftsdk.cli.app import app
from ftsdk.cli.prices import price_lines
from ftsdk.cost import PriceBook


@pytest.mark.parametrize("provider", ["modal", "together"])
def test_offers_stay_whole_on_a_narrow_terminal(ftsdk_home: Path, provider: str) -> None:
    found = PriceBook.load(today=TODAY).prices(provider)
    sources = [row.source for row in found]
    narrow = [line.plain for line in price_lines(found, sources, TODAY, is_one_provider=True, width=80)]
    assert max(map(len, narrow)) <= 80
    assert narrow[::2] == [row.sku for row in found]
    assert all(f"{row.usd:f}" in line and str(row.as_of) in line for row, line in zip(found, narrow[1::2], strict=True))
    head, *wide = [line.plain for line in price_lines(found, sources, TODAY, is_one_provider=True, width=200)]
    assert head.split() == ["sku", "price", "as", "of", "age", "source"]
    assert [line.split()[0] for line in wide] == [row.sku for row in found]


def test_a_pipe_gets_one_line_a_price(ftsdk_home: Path) -> None:
    done = CliRunner(env={"COLUMNS": "40"}).invoke(app, ["prices", "list", "modal"])
    assert done.exit_code == 0, done.output
    (line,) = (line for line in done.output.splitlines() if line.startswith("multiplier/nonpreemptible-cpu-mem"))
    assert line.split()[1].startswith("x")
    assert line.rstrip().endswith("]")


def test_python_m_is_the_command_and_the_version_needs_no_other() -> None:
    done = subprocess.run([sys.executable, "-m", "ftsdk", "--version"], capture_output=True, text=True, check=True)
    import ftsdk

    assert done.stdout.strip() == ftsdk.__version__


def test_a_check_of_the_prices_fits_a_screen_unless_asked_for_more() -> None:
    short = CliRunner().invoke(app, ["prices", "check"]).output.splitlines()
    whole = CliRunner().invoke(app, ["prices", "check", "--verbose"]).output.splitlines()
    assert len(short) <= 24 < len(whole)
    assert short[-1] == whole[-1]
    assert any("more; --verbose shows them" in line for line in short)
