"""Rows and adapters that the conformance tests of the hosted backends share."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from ftsdk import DPO, KTO, Dataset, Model
from ftsdk.data import Store
from ftsdk.protocol import Backend
from ftsdk.protocol.estimates import BillingTerms, Estimate
from ftsdk.spec import DataFormat, JobSpec
from ftsdk.testing import Sample, ScriptedBackend, a_spec, field_samples
from ftsdk.testing.conformance import Costly

__all__ = [
    "HostedSamples",
    "an_adapter",
    "billed_by_the_hour",
    "costly",
    "headers_of_a_model",
    "method_for",
    "rows",
]


def rows(data_format: DataFormat, n: int, word: str) -> Dataset:
    """A few rows that a tiny model can be trained on."""
    if data_format == "preference":
        pairs = [{"q": f"{word} {i}", "good": "yes", "bad": "no"} for i in range(n)]
        return Dataset.from_rows(pairs).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")
    if data_format == "unpaired":
        marked = [{"q": f"{word} {i}", "a": ("yes", "no")[i % 2], "good": i % 2 == 0} for i in range(n)]
        return Dataset.from_rows(marked).as_unpaired(prompt="{q}", completion="{a}", label="good")
    return Dataset.from_rows([{"q": f"{word} {i}", "a": "yes"} for i in range(n)]).as_chat(
        prompt="{q}", completion="{a}"
    )


def method_for(data_format: DataFormat) -> dict[str, Any]:
    """The field `method` for such rows: left out where the default fits."""
    return {"preference": {"method": DPO()}, "unpaired": {"method": KTO()}}.get(data_format, {})


def an_adapter(folder: Path, rank: int) -> Path:
    """A folder that looks like an adapter to whoever reads headers only, as plans do."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(
        json.dumps(
            {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": ["q_proj"], "use_dora": False}
        )
    )
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    return folder


def headers_of_a_model(folder: Path, *, positions: int = 256) -> Path:
    """A folder that looks like a model to whoever reads headers only, as plans do; needs no torch to make."""
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": positions})
    )
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    return folder


class HostedSamples:
    """What is trained where a worker really trains: `tiny` is the model, `folder` a place for adapters."""

    folder: ClassVar[Path]
    tiny: ClassVar[Path]

    def make_spec(self, *, data_format: DataFormat = "chat", with_validation: bool = False) -> JobSpec:
        train, validation = rows(data_format, 16, "question"), rows(data_format, 8, "another")
        store = Store()
        store.put(train)
        store.put(validation)
        method = method_for(data_format)
        held_out: dict[str, Any] = {"validation": validation.ref()} if with_validation else {}
        return JobSpec(
            model=Model(id=str(self.tiny)), train=train.ref(), batch_size=8, max_steps=2, **method, **held_out
        )

    def make_model(self, source: str) -> Model | None:
        if source == "hub":
            return Model(id="example/tiny-instruct")
        if source == "folder":
            return Model(id=str(self.tiny))
        return None  # a GGUF file is read in tests/unit/models

    def make_samples(self) -> Sequence[Sample]:
        adapters = [str(an_adapter(self.folder / f"adapter-{rank}", rank)) for rank in (4, 8)]
        return [
            replace(s, values=(adapters[0], adapters[1])) if s.path == "model.adapter" else s for s in field_samples()
        ]


def costly(backend: Backend, spec: JobSpec, terms: BillingTerms, **how: Any) -> Costly:
    """A run that its estimate would have refused: how its cost grows is said, and how much it will be isn't."""
    plan = backend.plan(spec)
    return Costly(
        backend=backend, plan=plan.replace(estimate=Estimate(backend=backend.name, billing_terms=terms)), **how
    )


def billed_by_the_hour(backend: ScriptedBackend) -> Costly:
    """A scripted run at a cent a second, with a dollar to spend."""
    terms = BillingTerms(kind="per_hour", usd=Decimal(36), fixed_usd=Decimal(0), source="a test")
    return costly(backend, a_spec(budget_usd=1), terms)
