"""What is planned with `sharding="full"`, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftsdk import (
    DPO,
    IA3,
    SFT,
    SSH,
    Dataset,
    FineTuneJob,
    FullFineTune,
    Local,
    LoRA,
    Modal,
    PrefixTuning,
    PromptTuning,
    QLoRA,
    Slurm,
)
from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.backends.hosted.sharding import sharding_gaps
from ftsdk.backends.trainers.trl import TRLTrainer
from ftsdk.errors import SpecError, UnsupportedSpecError

CLUSTER: dict[str, Any] = {"gpus": 4, "gpu": "A100-80GB"}
BACKENDS: list[Callable[[Any], Any]] = [
    lambda sharding: Local(processes=2, device="cpu", sharding=sharding),
    lambda sharding: SSH(host="gpu-box", **CLUSTER, sharding=sharding),
    lambda sharding: Slurm(**CLUSTER, nodes=2, sharding=sharding),
    lambda sharding: Modal(gpu="A100-80GB:4", sharding=sharding),
]
CHATS = Dataset.from_rows([{"q": f"message {n}", "a": "work"} for n in range(32)]).as_chat(
    prompt="{q}", completion="{a}"
)


@pytest.fixture
def job_on(model_of_headers: Path) -> Callable[..., FineTuneJob]:
    def make(backend: Any, **changes: Any) -> FineTuneJob:
        return FineTuneJob(model=str(model_of_headers), train=CHATS, backend=backend, batch_size=16, **changes)

    return make


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_hosted_backend_plans_shards(job_on: Callable[..., FineTuneJob], backend: Callable[[Any], Any]) -> None:
    plan, whole = job_on(backend("full")).plan(), job_on(backend("none")).plan()
    assert plan.request["sharding"] == plan.request["training"]["sharding"] == "full"
    assert "sharding" not in whole.request
    assert "sharding" not in whole.request["training"]
    assert plan.request["training"]["packed_tokens"] is None
    assert plan.workload is not None
    assert plan.workload.execution is not None
    assert plan.workload.execution.is_sharded
    assert any("spread over" in note and "(FSDP2)" in note for note in plan.notes)
    is_on_gpu = plan.request["training"]["device"] == "cuda"
    assert any("never run on GPUs" in note for note in plan.notes) == is_on_gpu


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"tuning": PromptTuning()}, "tuning"),
        ({"tuning": PrefixTuning()}, "tuning"),
        ({"tuning": IA3()}, "tuning"),
        ({"tuning": LoRA(init="pissa")}, "tuning.init"),
        ({"method": SFT(neftune_alpha=5)}, "method.neftune_alpha"),
        ({"optimizer": "adamw_8bit"}, "optimizer"),
    ],
)
def test_what_reads_or_sets_whole_weights_is_not_sharded(
    job_on: Callable[..., FineTuneJob], changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(UnsupportedSpecError) as error:
        job_on(Local(processes=2, device="cpu", sharding="full"), **changes).plan()
    assert [gap.field for gap in error.value.gaps] == [field]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_is_rebuilt_with_its_sharding(backend: Callable[[Any], Any]) -> None:
    sharded = backend("full")
    assert sharded.options["sharding"] == "full"
    assert type(sharded)(**sharded.options).options == sharded.options
    assert "sharding" not in backend("none").options


def test_another_word_is_refused_at_once() -> None:
    with pytest.raises(SpecError, match="sharding='ful' isn't known"):
        Local(processes=2, device="cpu", sharding="ful")  # type: ignore[arg-type]


def test_one_process_isnt_sharded(job_on: Callable[..., FineTuneJob]) -> None:
    with pytest.raises(UnsupportedSpecError, match="one process, which has the whole model anyway"):
        job_on(Local(processes=1, device="cpu", sharding="full")).plan()


def test_a_trainer_that_doesnt_shard_is_refused(job_on: Callable[..., FineTuneJob]) -> None:
    class Other:
        name = "other"

    spec = job_on("local").spec()
    hardware = Hardware(device="cuda", name="H100", processes=2, sharding="full")
    (gap,) = sharding_gaps(spec, hardware, Other())  # type: ignore[arg-type]
    assert gap.field == "backend.sharding"
    assert not sharding_gaps(spec, hardware, TRLTrainer())
    assert not sharding_gaps(spec, replace(hardware, sharding="none", processes=1), Other())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"tuning": QLoRA(rank=4)}, "tuning"), ({"dtype": "float16"}, "dtype"), ({"method": DPO()}, "method")],
    ids=["qlora", "float16", "reference"],
)
def test_what_was_never_proven_is_refused(
    job_on: Callable[..., FineTuneJob], changes: dict[str, Any], field: str
) -> None:
    if "method" in changes:
        rows = [{"q": f"message {n}", "good": "a", "bad": "b"} for n in range(32)]
        train = Dataset.from_rows(rows).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")
        job = job_on(SSH(host="gpu-box", **CLUSTER, sharding="full")).replace(train=train, **changes)
    else:
        job = job_on(SSH(host="gpu-box", **CLUSTER, sharding="full"), **changes)
    with pytest.raises(UnsupportedSpecError) as caught:
        job.plan()
    assert [gap.field for gap in caught.value.gaps] == [field]


@pytest.mark.parametrize("tuning", [LoRA(), FullFineTune()], ids=lambda tuning: tuning.kind)
def test_the_estimate_divides_what_is_sharded_and_counts_the_traffic(tuning: Any) -> None:
    def estimate(sharding: Any) -> Any:
        backend = SSH(host="gpu-box", gpus=8, gpu="A100-80GB", sharding=sharding)
        model = "mistralai/Mistral-7B-Instruct-v0.3"
        return FineTuneJob(model=model, train=CHATS, tuning=tuning, batch_size=16, backend=backend).estimate()

    whole, shards = estimate("none"), estimate("full")
    one, other = ({line.label: line.amount.likely for line in e.memory.lines} for e in (whole, shards))
    # Two layers and the embedding are whole while they are at work.
    assert one["weights"] / 8 < other["weights"] < one["weights"] / 3
    assert other["gradients and optimizer"] < one["gradients and optimizer"]
    assert other["context"] == one["context"]
    if tuning.adapts:
        # Its optimizer has nothing to do, so that only the traffic differs.
        time = [line.amount.likely for e in (whole, shards) for line in e.time_lines if line.label == "training"]
        assert time[1] > time[0]
