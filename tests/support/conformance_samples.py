"""Rows and adapters that the conformance tests of the hosted backends share."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk import Dataset
from ftsdk.backends.base import Backend
from ftsdk.backends.estimates import Accrual, Estimate
from ftsdk.spec import DataFormat, JobSpec
from ftsdk.testing import ScriptedBackend, a_spec
from ftsdk.testing.conformance import Costly

__all__ = ["an_adapter", "billed_by_the_hour", "costly", "rows"]


def rows(data_format: DataFormat, n: int, word: str) -> Dataset:
    """A few rows that a tiny model can be trained on."""
    if data_format == "preference":
        pairs = [{"q": f"{word} {i}", "good": "yes", "bad": "no"} for i in range(n)]
        return Dataset.from_rows(pairs).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")
    return Dataset.from_rows([{"q": f"{word} {i}", "a": "yes"} for i in range(n)]).as_chat(prompt="{q}", completion="{a}")


def an_adapter(folder: Path, rank: int) -> Path:
    """A folder that looks like an adapter to whoever reads headers only, as plans do."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": ["q_proj"], "use_dora": False})
    )
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    return folder


def costly(backend: Backend, spec: JobSpec, accrual: Accrual, **how: Any) -> Costly:
    """A run that its estimate would have refused: how its cost grows is said, and how much it will be isn't."""
    plan = backend.plan(spec)
    return Costly(backend=backend, plan=plan.replace(estimate=Estimate(backend=backend.name, accrual=accrual)), **how)


def billed_by_the_hour(backend: ScriptedBackend) -> Costly:
    """A scripted run at a cent a second, with a dollar to spend."""
    accrual = Accrual(kind="per_hour", usd=Decimal(36), fixed_usd=Decimal(0), source="a test")
    return costly(backend, a_spec(budget_usd=1), accrual)
