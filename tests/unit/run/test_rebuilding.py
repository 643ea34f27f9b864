"""What a ledger can't be rebuilt from is listed with the reason."""

from __future__ import annotations

from pathlib import Path

import ftsdk


def test_a_folder_without_a_record_is_listed_with_the_reason(ftsdk_home: Path) -> None:
    (ftsdk_home / "runs" / "20261123-ab12cd").mkdir(parents=True)
    damaged = ftsdk_home / "runs" / "20261123-ef34ab"
    damaged.mkdir()
    (damaged / "record.local.json").write_text("{")
    assert ftsdk.runs().unreadable == ()
    lost = {one.ref: one.reason for one in ftsdk.runs(rebuild=True).unreadable}
    assert "it has no record.*.json, so it can't be put back" in lost["20261123-ab12cd"]
    assert "its record.local.json can't be read" in lost["20261123-ef34ab"]
    assert str(damaged) in lost["20261123-ef34ab"]
    assert "20261123-ab12cd" in str(ftsdk.runs(rebuild=True))
