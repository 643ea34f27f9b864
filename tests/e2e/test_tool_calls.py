"""Tool calls and reasoning through the real worker: what is trained is what the preview shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat_templates import REASONING, TOOLS_CHATML

from ftsdk import Dataset, FineTuneJob, Model
from ftsdk.data import Store

pytestmark = pytest.mark.e2e

WEATHER = {"type": "function", "function": {"name": "weather", "description": "Tell it.", "parameters": {}}}


def tool_rows() -> Dataset:
    def call(n: int) -> dict[str, Any]:
        function = {"name": "weather", "arguments": json.dumps({"city": f"rome {n}"})}
        return {"role": "assistant", "content": None, "tool_calls": [{"id": "call_0001", "function": function}]}

    return Dataset.from_rows(
        [
            {
                "messages": [
                    {"role": "user", "content": f"weather in rome {n}?"},
                    call(n),
                    {"role": "tool", "tool_call_id": "call_0001", "content": "dry"},
                    {"role": "assistant", "content": "no rain"},
                ],
                "tools": [WEATHER],
            }
            for n in range(12)
        ]
    )


def reasoning_rows() -> Dataset:
    return Dataset.from_rows(
        [
            {
                "messages": [
                    {"role": "user", "content": f"the topic of {n}?"},
                    {"role": "assistant", "content": "work", "reasoning_content": "it is about work"},
                    {"role": "user", "content": "and now?"},
                    {"role": "assistant", "content": "<think>\nat home\n</think>\n\nhome"},
                ]
            }
            for n in range(12)
        ]
    )


@pytest.mark.parametrize(
    ("make_rows", "template", "sequences"), [(tool_rows, TOOLS_CHATML, 12), (reasoning_rows, REASONING, 24)]
)
def test_what_is_trained_is_what_the_preview_shows(
    make_job: Callable[..., FineTuneJob],
    tiny_model: Path,
    make_rows: Callable[[], Dataset],
    template: str,
    sequences: int,
) -> None:
    from ftsdk.backends.trainers.trl.rows import read_rows
    from ftsdk.models import load_tokenizer, rendering_options

    data = make_rows()
    model = Model(id=str(tiny_model), chat_template=template)
    job = make_job(model=model, train=data, epochs=2, max_steps=None, batch_size=6)
    plan = job.plan()
    assert plan.workload is not None
    assert plan.workload.rows == sequences
    assert ("24 sequences, turn by turn" in str(plan)) == (sequences == 24)
    shown = job.preview(len(data))
    assert len(shown.rows) == sequences
    run = job.submit().wait(progress=False, poll_s=0.05)
    manifest = json.loads((run.collect().path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["info"]["steps"] == 2 * sequences // 6
    assert manifest["info"]["data"] == json.loads(json.dumps(shown.report.to_dict()))
    # The tensors of the worker, by its own function on the file that it read.
    tokenizer = load_tokenizer(model)
    tensors = read_rows(
        Store().get(data.fingerprint),
        tokenizer,
        fingerprint=data.fingerprint,
        method=job.method,
        max_truncated=0.0,
        **rendering_options(model, tokenizer, max_length=None),
    ).dataset
    assert list(tensors["input_ids"]) == [[token.id for token in row.tokens] for row in shown.rows]
    assert list(tensors["labels"]) == [
        [token.id if token.is_trained else -100 for token in row.tokens] for row in shown.rows
    ]
