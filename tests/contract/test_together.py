"""Every request that the backend can send fits the service's public OpenAPI document."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from ftsdk import DPO, SFT, Dataset, EarlyStopping, FullFineTune, LoRA, Model, Together, UnsupportedSpecError
from ftsdk.data import Store
from ftsdk.spec import JobSpec

pytest.importorskip("together", reason="the extra 'together' isn't installed")
from ftsdk.backends.together.client import Wire
from ftsdk.backends.together.rows import render_file
from ftsdk.backends.together.translate import estimate_arguments

MODEL = Model(id="meta-llama/Llama-3.1-8B-Instruct")
TUNINGS = (LoRA(), LoRA(rank=8, alpha=4.0, dropout=0.1, target_modules=("q_proj", "v_proj")), FullFineTune())
METHODS = (SFT(), SFT(train_on="completion"), SFT(train_on="all"), DPO(), DPO(beta=0.3))
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {
        "epochs": 4,
        "learning_rate": 3e-5,
        "schedule": "linear",
        "warmup_ratio": 0.1,
        "weight_decay": 0.01,
        "max_grad_norm": 0.5,
        "seed": 3,
    },
    {"schedule": "constant", "packing": False, "batch_size": 8},
    {"with_validation": True},
    {"with_validation": True, "early_stopping": EarlyStopping(patience=2, min_delta=0.01)},
    {"max_length": 2048},
)


def rows(preference: bool, word: str) -> Dataset:
    if preference:
        pairs = [{"q": f"{word} {i}", "good": "yes", "bad": "no"} for i in range(16)]
        return Dataset.from_rows(pairs).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")
    return Dataset.from_rows([{"q": f"{word} {i}", "a": "yes"} for i in range(16)]).as_chat(
        prompt="{q}", completion="{a}"
    )


def specs() -> Iterator[JobSpec]:
    for method, tuning, options in itertools.product(METHODS, TUNINGS, OPTIONS):
        others = {name: value for name, value in options.items() if name != "with_validation"}
        if isinstance(method, DPO):
            others.pop("max_length", None)  # refused: the service shares its limit between the two answers
        held_out = (
            {"validation": rows(isinstance(method, DPO), "held out").ref()} if "with_validation" in options else {}
        )
        yield JobSpec(
            model=MODEL,
            train=rows(isinstance(method, DPO), "question").ref(),
            method=method,
            tuning=tuning,
            **held_out,
            **others,
        )


@pytest.fixture(scope="module")
def wire(prism: str) -> Wire:
    return Wire(key="any", base_url=prism, project_id=None, timeout_s=60, max_retries=0)


@pytest.fixture(scope="module")
def limits(wire: Wire) -> Mapping[str, Any]:
    answer = wire.limits(MODEL.id)
    assert answer is not None
    assert "lora_training" in answer
    return answer


@pytest.fixture(scope="module")
def file_id(wire: Wire, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a file that went up as the backend sends it: announced, put, preprocessed."""
    folder = tmp_path_factory.mktemp("upload")
    store = Store(folder / "store")
    data = rows(preference=False, word="question")
    store.put(data)
    rendered = folder / "train.jsonl"
    render_file(store.get(data.fingerprint), rendered, train_on="completion", name="train")
    found = wire.upload(rendered)
    assert found
    return found


def test_every_create_and_every_estimate_fits_the_document(wire: Wire, limits: Mapping[str, Any], file_id: str) -> None:
    sent = 0
    for spec in specs():
        try:
            create = Together().plan(spec).request["create"]
        except UnsupportedSpecError:
            continue  # refused offline, so nothing is sent
        validation = file_id if spec.validation is not None else ""
        assert wire.create(
            {**create, "training_file": file_id, "validation_file": validation, "suffix": "ftsdk-contract"}, limits
        )
        estimate = {
            **estimate_arguments(create),
            "training_file": file_id,
            **({"validation_file": file_id} if validation else {}),
        }
        assert "estimation_available" in wire.estimate(estimate)
        sent += 1
    assert sent >= 60


def test_everything_that_is_read_fits_the_document(wire: Wire, file_id: str) -> None:
    assert wire.file(file_id)["id"]
    assert isinstance(wire.files(), list)
    assert isinstance(wire.jobs(), list)
    assert wire.job("ft-1")["status"]
    assert isinstance(wire.events("ft-1"), list)
    assert isinstance(wire.metrics("ft-1"), list)
    assert isinstance(wire.checkpoints("ft-1"), list)
    wire.cancel("ft-1")


def test_a_download_is_asked_for_as_the_document_says(wire: Wire, tmp_path: Path) -> None:
    into = tmp_path / "weights.tar"
    wire.download("ft-1", checkpoint="adapter", into=into)
    assert into.stat().st_size > 0


CREATE = {
    "training_file": "file-1",
    "model": "some/model",
    "training_method": {"method": "sft", "train_on_inputs": False},
    "training_type": {"type": "Lora", "lora_r": 8, "lora_alpha": 16},
}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 200),
        ({"training_file": None}, 422),
        ({"n_epochs": "three"}, 422),
        ({"batch_size": "least"}, 422),
        ({"training_method": {"method": "ppo"}}, 422),
        ({"training_type": {"type": "Lora", "lora_alpha": 16}}, 422),
    ],
    ids=[
        "as it should be",
        "no file",
        "epochs in words",
        "an unknown batch size",
        "an unknown method",
        "LoRA without a rank",
    ],
)
def test_a_create_that_does_not_fit_is_refused_so_the_document_bites(
    prism: str, change: Mapping[str, Any], status: int
) -> None:
    body = {name: value for name, value in {**CREATE, **change}.items() if value is not None}
    # Past the client, which checks some of this by itself.
    assert (
        httpx.post(f"{prism}/v1/fine-tunes", json=body, headers={"Authorization": "Bearer any"}, timeout=60).status_code
        == status
    )
