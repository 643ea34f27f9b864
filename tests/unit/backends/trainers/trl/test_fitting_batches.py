"""A batch that doesn't fit goes through the model in parts, and the step is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")
import torch
from trl.trainer.sft_trainer import SFTTrainer
from trl_trainers import Columns, TRLOnTokens, dpo_trainer_of, sft_trainer_of, some_pairs, some_rows, step_of

from ftsdk.backends.trainers.trl.methods.dpo import RenderedDPOTrainer
from ftsdk.backends.trainers.trl.methods.sft import RenderedSFTTrainer


@pytest.fixture
def rows() -> Columns:
    return some_rows()


@pytest.fixture
def pairs() -> Columns:
    return some_pairs()


def fail_above(trainer: Any, most: int, *, backward: bool, error: type[Exception] = RuntimeError) -> None:
    """Ask for more memory than there is where more rows than that go through the embedding, or come back to it."""
    inner = trainer.model.get_base_model() if hasattr(trainer.model, "get_base_model") else trainer.model

    def ask(tensor: Any) -> None:
        if tensor.shape[0] > most:
            if error is MemoryError:
                raise MemoryError
            torch.empty(2**50)

    def hook(module: Any, given: Any, output: Any) -> None:
        if not backward:
            ask(output)
        elif output.requires_grad:
            output.register_hook(ask)

    inner.model.layers[0].register_forward_hook(hook)


def assert_same_step(found: tuple[float, dict[str, Any]], expected: tuple[float, dict[str, Any]]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        assert (found[1][name] - gradient).norm() <= 1e-5 * gradient.norm(), name


@pytest.mark.parametrize(
    ("backward", "error"), [(False, RuntimeError), (True, RuntimeError), (True, MemoryError)], ids=str
)
def test_a_step_of_two_batches_is_made_again_in_parts(
    tiny_model: Path, tmp_path: Path, rows: Columns, backward: bool, error: type[Exception]
) -> None:
    options = {"max_steps": 1, "max_grad_norm": 0.0, "gradient_accumulation_steps": 2}
    options["per_device_train_batch_size"] = 6
    expected = step_of(sft_trainer_of(SFTTrainer, tiny_model, rows, tmp_path, **options))
    trainer = sft_trainer_of(RenderedSFTTrainer, tiny_model, rows, tmp_path, **options)
    messages: list[str] = []
    trainer.on_smaller_batches = messages.append
    fail_above(trainer, 2, backward=backward, error=error)
    assert_same_step(step_of(trainer), expected)
    assert messages == [
        "memory ran out; from here on 3 rows go through the model at once",
        "memory ran out; from here on 1 row goes through the model at once",
    ]


def test_memory_that_runs_out_in_a_later_batch_makes_the_earlier_one_again(
    tiny_model: Path, tmp_path: Path, rows: Columns
) -> None:
    options = {"max_steps": 1, "max_grad_norm": 0.0, "gradient_accumulation_steps": 2}
    options["per_device_train_batch_size"] = 6
    expected = step_of(sft_trainer_of(SFTTrainer, tiny_model, rows, tmp_path, **options))
    trainer = sft_trainer_of(RenderedSFTTrainer, tiny_model, rows, tmp_path, **options)
    calls: list[int] = []

    def ask(gradient: Any) -> None:
        calls.append(len(gradient))
        if len(calls) == 2:
            torch.empty(2**50)

    def hook(module: Any, given: Any, output: Any) -> None:
        if output.requires_grad:
            output.register_hook(ask)

    trainer.model.model.layers[0].register_forward_hook(hook)
    assert_same_step(step_of(trainer), expected)
    assert calls == [6, 6, 3, 3, 3, 3]


def test_pairs_stay_together(tiny_model: Path, tmp_path: Path, pairs: Columns) -> None:
    expected = step_of(dpo_trainer_of(TRLOnTokens, tiny_model, pairs, tmp_path, tuning="lora"))
    trainer = dpo_trainer_of(RenderedDPOTrainer, tiny_model, pairs, tmp_path, tuning="lora")
    fail_above(trainer, 6, backward=True)
    assert_same_step(step_of(trainer), expected)
    assert trainer.most_rows == 2


def test_a_validation_that_does_not_fit_is_made_in_parts(tiny_model: Path, tmp_path: Path, rows: Columns) -> None:
    trainer = sft_trainer_of(RenderedSFTTrainer, tiny_model, rows, tmp_path)
    expected = trainer.evaluate()["eval_loss"]
    fail_above(trainer, 3, backward=False)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-6)
    assert trainer.most_rows == 2


def test_one_row_that_does_not_fit_fails(tiny_model: Path, tmp_path: Path, rows: Columns) -> None:
    trainer = sft_trainer_of(RenderedSFTTrainer, tiny_model, rows, tmp_path, max_steps=1)
    fail_above(trainer, 0, backward=False)
    with pytest.raises(RuntimeError, match="memory"):
        trainer.train()
