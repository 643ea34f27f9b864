"""Every kind of adapter gets from packed rows, with quick products, what TRL and peft give it from padded ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")
import torch
from trl.trainer.sft_trainer import SFTTrainer
from trl_trainers import Columns, sft_trainer_of, some_rows, step_of

from ftsdk.backends.trainers.trl.adapter_products import quick_adapters
from ftsdk.backends.trainers.trl.adapter_starts import KeepsStart, begin_at_weights, held_alpha, held_rank
from ftsdk.backends.trainers.trl.adapters import adapter_config, give_wrapped_head_a_bias
from ftsdk.backends.trainers.trl.methods.sft import RenderedSFTTrainer
from ftsdk.backends.trainers.trl.request import TrainingRequest, TuningRequest

OPTIONS = {"max_steps": 1, "max_grad_norm": 0.0}
LORA: dict[str, Any] = {"kind": "lora", "rank": 4, "alpha": 8.0, "target_modules": "all-linear"}
FACTORS = {"kind": "ia3", "target_modules": ["k_proj", "v_proj", "down_proj"]}


@pytest.fixture
def rows() -> Columns:
    return some_rows()


def tuning_of(**fields: Any) -> TuningRequest:
    return TuningRequest.from_dict(fields)


def trainer_with(
    kind: type[SFTTrainer], tuning: TuningRequest, tiny_model: Path, rows: Columns, into: Path, added: tuple[int, ...]
) -> Any:
    request = TrainingRequest.model_construct(tuning=tuning)
    trainer = sft_trainer_of(
        kind,
        tiny_model,
        rows,
        into,
        adapter=lambda model: adapter_config(request, model, added_tokens=added),
        **OPTIONS,
    )
    give_wrapped_head_a_bias(trainer.model)
    if tuning.init != "random":
        begin_at_weights(trainer.model, tuning)
        trainer.add_callback(KeepsStart(trainer.model))
        return trainer
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            if weight.requires_grad:
                weight += 0.1 * torch.randn_like(weight)
    return trainer


@pytest.mark.parametrize(
    ("fields", "added"),
    [
        pytest.param({**LORA, "init": "pissa"}, (), id="pissa"),
        pytest.param({**LORA, "init": "olora"}, (), id="olora"),
        pytest.param({**LORA, "rank_stabilized": True}, (), id="rank-stabilized"),
        pytest.param({**LORA, "layers": [1]}, (), id="layers"),
        pytest.param({**LORA, "target_modules": r".*\.(q|v)_proj"}, (), id="pattern"),
        pytest.param(FACTORS, (), id="ia3"),
        pytest.param(LORA, (1, 2, 3, 50), id="added-tokens"),
    ],
)
def test_loss_and_gradients_are_those_of_padded_rows(
    tiny_model: Path, tmp_path: Path, rows: Columns, fields: dict[str, Any], added: tuple[int, ...]
) -> None:
    tuning = tuning_of(**fields)
    loss, gradients = step_of(trainer_with(SFTTrainer, tuning, tiny_model, rows, tmp_path, added))
    ours = trainer_with(RenderedSFTTrainer, tuning, tiny_model, rows, tmp_path, added)
    messages: list[str] = []
    ours.compute_shared_tokens_once(60, messages.append)
    with quick_adapters(ours):
        our_loss, our_gradients = step_of(ours)
    assert "computed once" in messages[0]
    assert our_loss == pytest.approx(loss, rel=1e-5)
    assert our_gradients.keys() == gradients.keys()
    assert any(gradient.norm() > 1e-4 for gradient in gradients.values())
    for name, gradient in gradients.items():
        assert (our_gradients[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-9, name


@pytest.mark.parametrize("init", ["pissa", "olora"])
@pytest.mark.parametrize("is_stabilized", [False, True])
def test_a_start_in_the_weights_trains_as_in_peft(
    tiny_model: Path, tmp_path: Path, rows: Columns, init: str, is_stabilized: bool
) -> None:
    """Peft takes the start out of the base; ours takes it off beside the base. The trained halves are the same."""
    from peft import LoraConfig

    tuning = tuning_of(**LORA, init=init, rank_stabilized=is_stabilized)
    found = trainer_with(SFTTrainer, tuning, tiny_model, rows, tmp_path, ())
    wanted = sft_trainer_of(
        SFTTrainer,
        tiny_model,
        rows,
        tmp_path,
        adapter=lambda _: LoraConfig(
            task_type="CAUSAL_LM",
            r=4,
            lora_alpha=8,
            target_modules="all-linear",
            init_lora_weights=init,  # pyright: ignore[reportArgumentType]
            use_rslora=is_stabilized,
        ),
        **OPTIONS,
    )
    loss, gradients = step_of(wanted)
    our_loss, our_gradients = step_of(found)
    assert our_loss == pytest.approx(loss, rel=1e-5)
    assert our_gradients.keys() == gradients.keys()
    starts, layers = dict(wanted.model.named_modules()), 0
    for name, layer in found.model.named_modules():
        if not hasattr(layer, "lora_A") or "default" not in layer.lora_A:
            continue
        layers += 1
        down, up = f"{name}.lora_A.default.weight", f"{name}.lora_B.default.weight"
        # A singular vector has no sign of its own, and neither library chooses one: what the two halves do together
        # to the weights is compared.
        assert starts[name].scaling["default"] == pytest.approx(layer.scaling["default"])
        ours = [our_gradients[up][:, :4] @ layer.lora_A["default"].weight[:4]]
        peft = [gradients[up] @ starts[name].lora_A["default"].weight]
        ours += [layer.lora_B["default"].weight[:, :4] @ our_gradients[down][:4]]
        peft += [starts[name].lora_B["default"].weight @ gradients[down]]
        for one, other in zip(ours, peft, strict=True):
            assert (one - other).norm() <= 1e-5 * other.norm(), name
        assert not our_gradients[down][4:].any()
        assert not our_gradients[up][:, 4:].any()
    assert layers > 4
    assert held_rank(tuning) == 8
    assert held_alpha(tuning) / (8**0.5 if is_stabilized else 8) == pytest.approx(8 / (2 if is_stabilized else 4))
