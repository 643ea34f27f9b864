"""The working folder of a page: the small files that its code blocks name."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftsdk.evals.metrics.metric import _METRICS
from ftsdk.evals.scorers.scorer import _SCORERS
from ftsdk.evals.suites.suite import _SUITES

PROJECT = Path(__file__).parents[2]
ROWS_PER_CATEGORY = 8
LONGEST_MAIL = 160
"""Characters: the tiny model has 512 positions and little more than a letter in a token."""


@pytest.fixture
def workplace(tmp_path: Path, ftsdk_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder with 64 short support mails and 32 preference pairs.

    Runs that a page leaves behind are stopped, and the scorers and metrics that it defines are forgotten: another page
    or test in this process may use the same names.
    """
    for registry in (_SCORERS, _METRICS, _SUITES):
        monkeypatch.setattr(registry, "_defined", {})
    folder = tmp_path / "page"
    folder.mkdir()
    seen: Counter[str] = Counter()
    mails: list[str] = []
    for line in (PROJECT / "examples" / "data" / "support_emails.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if len(row["text"]) <= LONGEST_MAIL and seen[row["category"]] < ROWS_PER_CATEGORY:
            seen[row["category"]] += 1
            mails.append(line)
    (folder / "support_emails.jsonl").write_text("\n".join(mails) + "\n", encoding="utf-8")
    pairs = [
        {"question": f"Where is parcel {n}?", "good": f"Parcel {n} arrives on Friday.", "bad": "No idea."}
        for n in range(32)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    monkeypatch.chdir(folder)
    yield folder
    if (ftsdk_home / "ledger.sqlite").exists():
        import ftsdk

        for run in ftsdk.runs():
            if not run.status().is_terminal:
                run.cancel(wait_s=60)
