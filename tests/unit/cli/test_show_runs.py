"""The list of runs stays readable where a model is a long path."""

from __future__ import annotations

import pytest

from ftsdk import Dataset, FineTuneJob, Local
from ftsdk.cli import show
from ftsdk.cli.show import short_path, show_runs
from ftsdk.protocol import Plan
from ftsdk.run.ledger import Ledger, Record
from ftsdk.run.listing import runs

DEEP = "/home/somebody/projects/customer-support/models/2026/checkpoints/tiny-llama-v2"


@pytest.mark.parametrize(
    ("path", "width", "shown"),
    [
        ("Qwen/Qwen3-8B", 16, "Qwen/Qwen3-8B"),
        (DEEP, 16, "…/tiny-llama-v2"),
        (DEEP, 30, "/home/somebody/…/tiny-llama-v2"),
        ("/models/" + "a" * 20 + "-v2", 12, "/mod…aaaa-v2"),
        ("m" * 20 + "-q4.gguf", 12, "mmmm…q4.gguf"),
    ],
)
def test_a_long_path_loses_its_middle_and_keeps_its_end(path: str, width: int, shown: str) -> None:
    assert short_path(path, width) == shown
    assert len(shown) <= width


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_each_run_is_one_line_however_long_its_path(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Dataset.from_rows([{"prompt": "a question", "completion": "an answer"}])
    spec = FineTuneJob(model="Qwen/Qwen3-8B", train=rows, backend=Local(device="cpu")).spec()
    for number, model in enumerate((DEEP, "Qwen/Qwen3-8B")):
        plan = Plan(backend="local", spec=spec.replace(model=spec.model.replace(id=model)), request={})
        Ledger().intend(Record(ref=f"local:20261123-ab12c{number}", name="mails", plan=plan.to_dict(), options={}))
    monkeypatch.setattr(show.out, "_width", width)  # the property would stay set afterwards
    show_runs(runs(refresh=False))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 3, lines
    assert lines[2].endswith("tiny-llama-v2") or lines[1].endswith("tiny-llama-v2")
    assert max(map(len, lines)) <= width
    assert ("started" in lines[0]) is (width >= 80)
