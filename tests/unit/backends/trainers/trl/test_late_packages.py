from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, FineTuneJob, Local, LoRA, QLoRA
from ftsdk.backends.trainers.trl.late_packages import leave_out_unused, quick_imports
from ftsdk.backends.trainers.trl.request import TrainingRequest


def request_of(model: str, tuning: Any) -> TrainingRequest:
    rows = Dataset.from_rows([{"text": f"message {n}", "label": "ab"[n % 2]} for n in range(8)])
    train = rows.as_chat(prompt="{text}", completion="{label}")
    plan = FineTuneJob(model=model, train=train, tuning=tuning, backend=Local(device="cpu")).plan()
    return TrainingRequest.read(plan.request["training"])


@pytest.mark.parametrize(("tuning", "is_left_out"), [(LoRA(), True), (QLoRA(), False)], ids=["lora", "qlora"])
def test_bitsandbytes_is_left_out_unless_weights_are_in_4_bits(
    model_of_headers: Path, tuning: Any, is_left_out: bool
) -> None:
    modules: dict[str, Any] = {}
    leave_out_unused(request_of(str(model_of_headers), tuning), modules)
    assert ("bitsandbytes" in modules) is is_left_out


def test_it_stays_for_a_model_that_is_quantised_already_or_not_here_yet(model_of_headers: Path) -> None:
    config = json.loads((model_of_headers / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes"}
    (model_of_headers / "config.json").write_text(json.dumps(config))
    for name in (str(model_of_headers), "example/never-downloaded"):
        modules: dict[str, Any] = {}
        leave_out_unused(request_of(name, LoRA()), modules)
        assert not modules


def test_what_was_imported_before_stays(model_of_headers: Path) -> None:
    modules: dict[str, Any] = {"bitsandbytes": "there"}
    leave_out_unused(request_of(str(model_of_headers), LoRA()), modules)
    assert modules == {"bitsandbytes": "there"}


def test_imports_are_quick_only_where_nothing_was_imported_yet() -> None:
    modules: dict[str, Any] = {}
    with quick_imports(modules):
        assert modules == {"scipy": None, "sklearn": None}
        assert not gc.isenabled()
    assert modules == {}
    assert gc.isenabled()
    modules = {"transformers": "there"}
    with quick_imports(modules):
        assert modules == {"transformers": "there"}
        assert gc.isenabled()


def test_packages_that_were_there_stay_and_a_failed_import_leaves_no_trace() -> None:
    modules: dict[str, Any] = {"scipy": "there"}
    with pytest.raises(ImportError), quick_imports(modules):
        raise ImportError
    assert modules == {"scipy": "there"}
    assert gc.isenabled()
