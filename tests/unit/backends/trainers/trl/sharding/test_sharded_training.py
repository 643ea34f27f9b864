"""Two processes with Gloo, each with a share of the model: the code that NCCL would run, but for the device."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")

import torch
from forked_ranks import folder_of, in_ranks, train_in_ranks
from safetensors.torch import load_file
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from ftsdk import ORPO, Dataset, DoRA, EarlyStopping, FineTuneJob, FullFineTune, Local, LoRA, SimPO
from ftsdk.backends.hosted.trainer import Context, TrainingStopped
from ftsdk.backends.trainers.trl import TRLTrainer
from ftsdk.backends.trainers.trl.sharding.model import ShardsModel, share_of

pytestmark = pytest.mark.usefixtures("torch_is_loaded")
TUNINGS = [LoRA(rank=4, dropout=0.0), FullFineTune()]
TOPICS = ("travel", "work", "weather", "kitchen")


def chats(count: int = 64) -> Dataset:
    rows = [{"text": f"message {n}" + " indeed" * (n % 5), "label": TOPICS[n % 4]} for n in range(count)]
    return Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}")


def pairs() -> Dataset:
    rows = [
        {"q": f"message {n}" + " so" * (n % 4), "good": "travel" if n % 2 else "work it", "bad": "kitchen"}
        for n in range(48)
    ]
    return Dataset.from_rows(rows).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")


@pytest.fixture
def folder_for(tiny_model: Path, tmp_path: Path) -> Callable[..., Path]:
    """The folder of a run of four steps, over as many processes."""

    def make(processes: int, **changes: Any) -> Path:
        sharding = "full" if processes > 1 else "none"
        fields: dict[str, Any] = {
            "model": str(tiny_model),
            "train": chats(),
            "max_steps": 4,
            "batch_size": 8,
            "learning_rate": 5e-3,
            "max_grad_norm": 0.5,
            "checkpoint_steps": 2,
            "dtype": "float32",
            "backend": Local(processes=processes, device="cpu", sharding=sharding),
        }
        count = len(list(tmp_path.glob("run-*")))
        return folder_of(FineTuneJob(**{**fields, **changes}), tmp_path / f"run-{count}")

    return make


def trained(folder: Path, processes: int, *, resume_from: Path | None = None) -> dict[str, Any]:
    """Train, and return the weights as any reader of safetensors finds them."""
    outcomes = train_in_ranks(folder, processes, resume_from=resume_from)
    assert [o["outcome"] for o in outcomes] == ["trained"] * processes, (folder / "worker.log").read_text()[-3000:]
    (file,) = (folder / "artifact").glob("*.safetensors")
    return load_file(file)


def difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name].float() - other[name].float()).abs().max()) for name in one)


def facts_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / ".rank0.json").read_bytes())["training"]["info"]


def resumable(folder: Path, into: Path) -> Path:
    """A copy of a run that was killed after its second step, and its checkpoint."""
    shutil.copytree(folder, into)
    for leftover in (into / "artifact", into / "checkpoints" / "checkpoint-4"):
        shutil.rmtree(leftover)
    (into / "events.jsonl").unlink()
    return into


@pytest.mark.parametrize("tuning", TUNINGS, ids=lambda tuning: tuning.kind)
def test_shards_train_the_weights_of_one_process_and_resume_in_any_number(
    folder_for: Callable[..., Path], tmp_path: Path, tuning: Any
) -> None:
    alone = trained(folder_for(1, tuning=tuning), 1)
    folder = folder_for(2, tuning=tuning)
    assert difference(trained(folder, 2), alone) <= 1e-5
    shares = facts_of(folder)["sharding"]
    assert shares["held"] == [shares["parameters"] // 2] * 2
    copy = resumable(folder, tmp_path / "in-one")
    assert difference(trained(copy, 1, resume_from=copy / "checkpoints" / "checkpoint-2"), alone) <= 1e-5
    assert not list((folder / "checkpoints").rglob("*.distcp"))  # with a pickle beside it


@pytest.mark.slow
@pytest.mark.parametrize("tuning", [LoRA(rank=2, dropout=0.0), FullFineTune()], ids=lambda tuning: tuning.kind)
def test_four_shards_load_into_four_two_and_one(folder_for: Callable[..., Path], tmp_path: Path, tuning: Any) -> None:
    alone = trained(folder_for(1, tuning=tuning), 1)
    folder = folder_for(4, tuning=tuning)
    assert difference(trained(folder, 4), alone) <= 1e-5
    for processes in (4, 2, 1):
        copy = resumable(folder, tmp_path / f"in-{processes}")
        weights = trained(copy, processes, resume_from=copy / "checkpoints" / "checkpoint-2")
        assert difference(weights, alone) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"tuning": DoRA(rank=4, dropout=0.0)},
        {"method": ORPO(), "train": "pairs"},
        {"method": SimPO(), "train": "pairs"},
        {"method": ORPO(), "train": "pairs", "tuning": FullFineTune()},
        {"batch_size": 16, "tuning": FullFineTune()},
        {"max_grad_norm": 0.0},
    ],
    ids=str,
)
def test_what_may_be_sharded_trains_the_weights_of_one_process(
    folder_for: Callable[..., Path], changes: dict[str, Any]
) -> None:
    fields = {"tuning": LoRA(rank=4, dropout=0.0), **changes}
    if fields.get("train") == "pairs":
        fields["train"] = pairs()
    assert difference(trained(folder_for(2, **fields), 2), trained(folder_for(1, **fields), 1)) <= 1e-5


def test_each_rank_has_an_fsdp_module_of_sharded_parameters(folder_for: Callable[..., Path]) -> None:
    folder = folder_for(2, max_steps=1, tuning=FullFineTune())
    request = json.loads((folder / "run.json").read_bytes())["training"]

    def work(rank: int) -> None:
        def look() -> bool:
            (root,) = [
                thing
                for thing in gc.get_objects()
                if isinstance(thing, FSDPModule) and type(thing).__name__ == "FSDPLlamaForCausalLM"
            ]
            layers = [layer for layer in root.model.layers if isinstance(layer, FSDPModule)]
            weights = list(root.parameters())
            found = {
                "layers": len(layers),
                "sharded": all(isinstance(weight, DTensor) for weight in weights),
                "held": sum(weight.to_local().numel() for weight in weights),
                "all": sum(weight.numel() for weight in weights),
            }
            (folder / f"seen-{rank}.json").write_text(json.dumps(found))
            return False

        context = Context(folder=folder, emit=lambda _: None, is_cancelled=look, resume_from=None, is_main=rank == 0)
        TRLTrainer().train(request, context, folder / "artifact")

    gc.unfreeze()
    assert in_ranks(2, work, log=folder / "worker.log") == [0, 0], (folder / "worker.log").read_text()[-3000:]
    for rank in range(2):
        seen = json.loads((folder / f"seen-{rank}.json").read_bytes())
        assert seen["layers"] == 2
        assert seen["sharded"]
        assert seen["held"] * 2 == seen["all"]


def test_a_whole_model_isnt_taken_for_a_sharded_one() -> None:
    with pytest.raises(TrainingStopped, match=r"wasn't sharded.*2 parameters are whole"):
        share_of(torch.nn.Linear(2, 2))


def test_the_best_weights_of_early_stopping_come_from_shards(folder_for: Callable[..., Path]) -> None:
    # What is learned makes these answers less likely, so that the first validation is the best one.
    others = Dataset.from_rows([{"text": f"other {n}", "label": "#9x"} for n in range(12)])
    fields: dict[str, Any] = {
        "tuning": LoRA(rank=4, dropout=0.0),
        "validation": others.as_chat(prompt="{text}", completion="{label}"),
        "eval_steps": 2,
        "early_stopping": EarlyStopping(patience=1),
        "learning_rate": 0.1,
        "schedule": "constant",
        "max_steps": 8,
    }
    folder = folder_for(2, **fields)
    weights = trained(folder, 2)
    assert facts_of(folder)["best_step"] == 2
    assert facts_of(folder)["steps"] == 4
    for step, is_it in ((2, True), (4, False)):
        files = sorted((folder / "checkpoints" / f"checkpoint-{step}").rglob("*.safetensors"))
        shards = [load_file(file) for file in files]
        found = {
            key.removeprefix("weights/").replace(".default", ""): torch.cat([shard[key] for shard in shards])
            for key in shards[0]
            if key.startswith("weights/")
        }
        assert (difference(found, weights) == 0.0) == is_it


def test_all_ranks_stop_after_the_same_step_when_a_run_is_cancelled(folder_for: Callable[..., Path]) -> None:
    folder = folder_for(2)
    (folder / "cancel").write_text("now")
    assert [o["outcome"] for o in train_in_ranks(folder, 2)] == ["cancelled", "cancelled"]


def test_a_rank_makes_no_passes_of_its_own_where_memory_runs_out() -> None:
    class Halves:
        def sums_that_fit(self, model: Any, inputs: Any) -> Any:
            raise AssertionError("the other ranks would wait for ever")

    class Trainer(ShardsModel, Halves):
        is_sharded = True

        def row_sums(self, model: Any, inputs: Any) -> Any:
            raise MemoryError("out of memory")

    with pytest.raises(MemoryError, match="out of memory"):
        Trainer().sums_that_fit(None, {})
