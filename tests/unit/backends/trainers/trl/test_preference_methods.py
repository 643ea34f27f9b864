"""KTO, ORPO and SimPO against TRL's own trainers on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="needs the extra local")

import torch
from datasets import Dataset as HfDataset

from ftsdk import KTO, ORPO, Dataset, LoRA, SimPO
from ftsdk.backends.trainers.trl.methods import load_method
from ftsdk.backends.trainers.trl.request import TrainingRequest, TuningRequest
from ftsdk.backends.trainers.trl.train import _arguments
from ftsdk.data import render_dataset
from ftsdk.models import load_tokenizer
from ftsdk.spec import Model

# TRL 1.16 logs sums of KTO's log-probabilities without detaching them, of which torch warns once a process.
pytestmark = pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True to a scalar:UserWarning")
ROWS = 10
METHODS = [
    KTO(beta=0.2, desirable_weight=1.5, undesirable_weight=0.5),
    ORPO(beta=0.3),
    SimPO(beta=2.5, gamma=0.8),
]
by_kind = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)


def answers(n: int) -> tuple[str, str, str]:
    return f"what about message {n} in the city", "travel to rome" + " city" * (n % 3), "kitchen" + " alarm" * (n % 2)


def dataset(method: Any) -> Dataset:
    if method.data_format == "unpaired":
        rows = [
            {"prompt": answers(n)[0], "completion": answers(n)[1 + n % 2], "label": n % 2 == 0} for n in range(ROWS)
        ]
        return Dataset.from_rows(rows)
    return Dataset.from_rows(
        [dict(zip(("prompt", "chosen", "rejected"), answers(n), strict=True)) for n in range(ROWS)]
    )


def as_text(method: Any) -> HfDataset:
    """The rows as TRL's own trainers take them, rendered by hand."""

    def turn(text: str) -> str:
        return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"

    found = []
    for n in range(ROWS):
        asked, good, bad = answers(n)
        sides = (
            {"completion": f"{(good, bad)[n % 2]}<|im_end|>", "label": n % 2 == 0}
            if method.data_format == "unpaired"
            else {"chosen": f"{good}<|im_end|>", "rejected": f"{bad}<|im_end|>"}
        )
        found.append({"prompt": turn(asked), **sides})
    return HfDataset.from_list(found)


def request_of(
    method: Any, model: Path, tuning: TuningRequest, *, micro_batch: int = 4, packed_tokens: int | None = None
) -> TrainingRequest:
    return TrainingRequest(
        model=Model(id=str(model)), method=method, tuning=tuning, device="cpu", processes=1, dtype="float32",
        attention="sdpa" if packed_tokens else "eager", packed_tokens=packed_tokens, epochs=1.0, total_steps=3,
        batch_size=4, micro_batch_size=micro_batch, accumulation_steps=4 // micro_batch,
        learning_rate=1e-3, schedule="constant", warmup_ratio=0.0, weight_decay=0.0, max_grad_norm=1.0,
        max_truncated=0.0, seed=7, checkpoint_steps=100, train="0" * 64,
    )  # fmt: skip


class Nowhere:
    def __init__(self, folder: Path) -> None:
        self.folder = folder


def ours(
    method: Any, model: Path, folder: Path, tuning: TuningRequest, *, said: list[str] | None = None, **asked: Any
) -> Any:
    from transformers import AutoModelForCausalLM

    from ftsdk.backends.trainers.trl.adapters import adapter_config

    request = request_of(method, model, tuning, **asked)
    tokenizer = load_tokenizer(request.model)
    rendered = render_dataset(dataset(method).rows, tokenizer, train_on=method.rendered_train_on)
    columns = load_method(method.kind).columns(list(rendered.rows))
    shared = {
        "model": AutoModelForCausalLM.from_pretrained(model, dtype="float32"),
        "train_dataset": HfDataset.from_dict(dict(columns)),
        "eval_dataset": HfDataset.from_dict(dict(columns)),
        "processing_class": tokenizer,
        "callbacks": [],
        **({"peft_config": adapter_config(request, model)} if tuning.adapts else {}),
    }
    options = _arguments(request, Nowhere(folder), sequences=ROWS, has_validation=True)  # type: ignore[arg-type]
    options |= {"eval_steps": 100}
    return load_method(method.kind).make_trainer(
        request,
        shared,
        options,
        pad_token_id=tokenizer.pad_token_id,
        on_message=(said if said is not None else []).append,
    )


def theirs(method: Any, model: Path, folder: Path, *, micro_batch: int = 4) -> Any:
    """TRL's trainer with the same numbers, on the text of the rows."""
    from transformers import AutoModelForCausalLM, set_seed
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer

    from ftsdk.backends.trainers.trl.experimental import CPOConfig, CPOTrainer, ORPOConfig, ORPOTrainer

    set_seed(7)
    request = request_of(method, model, TuningRequest(kind="full"), micro_batch=micro_batch)
    options = _arguments(request, Nowhere(folder), sequences=ROWS, has_validation=False)  # type: ignore[arg-type]
    options |= {"max_length": 512}
    shared: dict[str, Any] = {
        "model": AutoModelForCausalLM.from_pretrained(model, dtype="float32"),
        "processing_class": load_tokenizer(request.model),
        "train_dataset": as_text(method),
    }
    match method:
        case KTO():
            shared["train_dataset"] = shared["train_dataset"].shuffle(seed=7)
            shared["ref_model"] = AutoModelForCausalLM.from_pretrained(model, dtype="float32")
            options |= {"train_sampling_strategy": "sequential"}
            options |= {"desirable_weight": method.desirable_weight, "undesirable_weight": method.undesirable_weight}
            return KTOTrainer(args=KTOConfig(**options, beta=method.beta), **shared)
        case ORPO():
            options |= {"remove_unused_columns": False}
            return ORPOTrainer(args=ORPOConfig(**options, beta=method.beta), **shared)
        case _:
            options |= {"remove_unused_columns": False}
            config = CPOConfig(**options, loss_type="simpo", cpo_alpha=0.0, beta=method.beta, simpo_gamma=method.gamma)
            return CPOTrainer(args=config, **shared)


def loss_and_gradients(trainer: Any) -> tuple[float, dict[str, Any]]:
    trainer.model.train()
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return float(loss.detach()), {
        name: value.grad for name, value in trainer.model.named_parameters() if value.grad is not None
    }


@by_kind
def test_loss_and_gradients_are_those_of_trl(method: Any, tiny_model: Path, tmp_path: Path) -> None:
    mine, my_gradients = loss_and_gradients(ours(method, tiny_model, tmp_path, TuningRequest(kind="full")))
    yours, your_gradients = loss_and_gradients(theirs(method, tiny_model, tmp_path))
    assert mine == pytest.approx(yours, abs=1e-5)
    assert my_gradients.keys() == your_gradients.keys()
    assert max(float(value.abs().max()) for value in your_gradients.values()) > 1e-3
    for name, value in my_gradients.items():
        assert float((value - your_gradients[name]).abs().max()) < 1e-5, name


@by_kind
def test_three_steps_end_with_the_weights_of_trl(method: Any, tiny_model: Path, tmp_path: Path) -> None:
    trainers = [
        ours(method, tiny_model, tmp_path / "a", TuningRequest(kind="full")),
        theirs(method, tiny_model, tmp_path / "b"),
    ]
    for trainer in trainers:
        trainer.train()
    mine, yours = (dict(trainer.model.named_parameters()) for trainer in trainers)
    assert max(float((value - yours[name]).abs().max()) for name, value in mine.items()) < 1e-5


@by_kind
def test_an_adapter_leaves_the_validation_what_training_computes(method: Any, tiny_model: Path, tmp_path: Path) -> None:
    tuning = LoRA(rank=4)
    request = TuningRequest(kind="lora", rank=4, alpha=tuning.effective_alpha, dropout=0.0, target_modules="all-linear")
    trainer = ours(method, tiny_model, tmp_path, request)
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    trainer.model.eval()
    with torch.no_grad():
        row_losses = trainer.row_sums(trainer.model, batch)["loss"]
        loss = float(trainer.compute_loss(trainer.model, batch))
    assert len(row_losses) == 4
    if method.kind == "orpo":  # TRL's SFT part is a mean over the tokens of all rows, which weighs long rows more
        assert float(row_losses.mean()) == pytest.approx(loss, abs=0.05)
    else:
        assert float(row_losses.mean()) == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize("packed_tokens", [1000, 40])
@by_kind
def test_packed_steps_are_those_of_trl(method: Any, tiny_model: Path, tmp_path: Path, packed_tokens: int) -> None:
    # KTO's micro-batches are part of its maths, and TRL's ORPO takes means over the tokens of a micro-batch.
    micro_batch = 4 if method.kind == "orpo" else 2
    said: list[str] = []
    full = TuningRequest(kind="full")
    mine = ours(method, tiny_model, tmp_path, full, said=said, micro_batch=micro_batch, packed_tokens=packed_tokens)
    yours = theirs(method, tiny_model, tmp_path, micro_batch=micro_batch)
    # The second step has a model that has moved away from its reference, and the third one has fewer rows.
    my_steps, your_steps = gradients_of_steps(mine), gradients_of_steps(yours)
    assert "computed once" in said[-1]
    assert len(my_steps) == len(your_steps) == 3
    for n, (my_gradients, your_gradients) in enumerate(zip(my_steps, your_steps, strict=True)):
        assert my_gradients.keys() == your_gradients.keys()
        mine_flat, yours_flat = (
            torch.cat([one[name].flatten() for name in your_gradients]) for one in (my_gradients, your_gradients)
        )
        # Adam blows differences of tiny gradients up, so that weights differ a little after the first step.
        assert (mine_flat - yours_flat).norm() <= (1e-5, 1e-4, 1e-4)[n] * yours_flat.norm()
    my_losses, your_losses = ([e["loss"] for e in one.state.log_history if "loss" in e] for one in (mine, yours))
    assert my_losses == pytest.approx(your_losses, rel=1e-5)


def gradients_of_steps(trainer: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    class Look(type(trainer.callback_handler.callbacks[0])):
        def on_pre_optimizer_step(self, *arguments: Any, model: Any, **others: Any) -> None:
            found.append({name: w.grad.clone() for name, w in model.named_parameters() if w.grad is not None})

    trainer.callback_handler.callbacks.insert(0, Look())
    trainer.train()
    return found


@by_kind
def test_the_validation_of_packed_rows_is_that_of_padded_ones(method: Any, tiny_model: Path, tmp_path: Path) -> None:
    request = TuningRequest(kind="lora", rank=4, alpha=8.0, dropout=0.0, target_modules="all-linear")
    trainer = ours(method, tiny_model, tmp_path, request, packed_tokens=40)
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:
                weight += 0.1 * torch.randn_like(weight)
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    trainer.model.eval()
    with torch.no_grad():
        packed = trainer.row_sums(trainer.model, batch)
        trainer.most_tokens = None
        padded = trainer.row_sums(trainer.model, batch)
    assert packed.keys() == padded.keys()
    for name, values in padded.items():
        assert torch.allclose(packed[name].float(), values.float(), rtol=1e-4, atol=1e-5), name


def test_processes_get_the_micro_batches_of_kto_that_they_would_have_one_by_one() -> None:
    from ftsdk.backends.trainers.trl.methods.kto import _micro_batches_by_process

    # Steps of two micro-batches of two rows for each of two processes; the last step has fewer rows.
    assert _micro_batches_by_process(11, 2, 2, 2) == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 10]


def test_kto_says_so_where_the_weights_are_far_from_the_paper(tiny_model: Path, tmp_path: Path) -> None:
    said: list[str] = []
    ours(KTO(desirable_weight=3.0), tiny_model, tmp_path, TuningRequest(kind="full"), said=said)
    assert len(said) == 1
    assert "good answers weigh 3.00 times what bad ones do (5 good, 5 bad rows)" in said[0]


def test_dropout_that_was_asked_for_is_kept(tiny_model: Path, tmp_path: Path) -> None:
    from torch import nn

    for dropout in (0.0, 0.3):
        request = TuningRequest(kind="lora", rank=4, alpha=8.0, dropout=dropout, target_modules="all-linear")
        trainer = ours(ORPO(), tiny_model, tmp_path, request)
        rates = {module.p for module in trainer.model.modules() if isinstance(module, nn.Dropout)}
        assert rates == ({dropout} if dropout else set())


def run_out_of_memory(model: Any, *, calls: int | None = None) -> list[int]:
    """Raise in the first pass with gradients, or in the first few of them."""
    made: list[int] = []

    def hook(module: Any, given: Any, output: Any) -> None:
        if torch.is_grad_enabled():
            made.append(len(given[0]))
            if calls is None or len(made) <= calls:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    model.model.layers[0].register_forward_hook(hook)
    return made


def test_kto_says_why_padded_rows_are_not_parted_where_the_memory_runs_out(tiny_model: Path, tmp_path: Path) -> None:
    trainer = ours(KTO(), tiny_model, tmp_path, TuningRequest(kind="full"))
    made = run_out_of_memory(trainer.model)
    with pytest.raises(torch.OutOfMemoryError, match="KTO compares the 4 rows that go through the model together") as e:
        trainer.train()
    assert "batch_size=" in str(e.value)
    assert len(made) == 1


def test_kto_takes_smaller_pieces_of_packed_rows_where_the_memory_runs_out(tiny_model: Path, tmp_path: Path) -> None:
    said: list[str] = []
    undisturbed = ours(KTO(), tiny_model, tmp_path / "a", TuningRequest(kind="full"), packed_tokens=1000)
    disturbed = ours(KTO(), tiny_model, tmp_path / "b", TuningRequest(kind="full"), packed_tokens=1000, said=said)
    run_out_of_memory(disturbed.model, calls=3)
    for trainer in (undisturbed, disturbed):
        trainer.train()
    assert [sentence for sentence in said if "memory ran out" in sentence]
    mine, expected = (dict(trainer.model.named_parameters()) for trainer in (disturbed, undisturbed))
    assert max(float((value - expected[name]).abs().max()) for name, value in mine.items()) < 1e-5
