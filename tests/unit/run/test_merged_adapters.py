"""Adapters that are added up: the sum is what peft makes of it, or the exact one, and it opens anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from ftsdk import Model, ModelError, SpecError, merge_adapters
from ftsdk.models import load_model
from ftsdk.runfolder.manifest import verify

IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])
MakeAdapter = Callable[..., Model]


@pytest.fixture
def base(tiny_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)


@pytest.fixture
def adapter_of(tiny_model: Path, tmp_path: Path) -> MakeAdapter:
    """Writes an adapter whose both matrices are drawn from a seed."""

    def make(name: str, *, seed: int, base: Path = tiny_model, **options: Any) -> Model:
        torch.manual_seed(seed)
        plain: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        wanted: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **options}
        made: Any = get_peft_model(plain, LoraConfig(task_type="CAUSAL_LM", **wanted))
        with torch.no_grad():
            for key, weight in made.named_parameters():
                if "lora_" in key:
                    weight.copy_(0.1 * torch.randn_like(weight))
        made.save_pretrained(tmp_path / name)
        return Model(id=str(base), adapter=str(tmp_path / name))

    return make


def logits_of(model: Any) -> Any:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def both(base: Any, one: Model, other: Model) -> Any:
    """Peft's model with both adapters loaded, and in effect at once."""
    model = PeftModel.from_pretrained(base, str(one.adapter), adapter_name="one")
    model.load_adapter(str(other.adapter), adapter_name="other")
    model.base_model.set_adapter(["one", "other"])
    return model


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True, "r": 8},
        {"target_modules": ["q_proj", "down_proj"]},
        {"target_modules": ["v_proj"], "layers_to_transform": [1]},
    ],
    ids=str,
)
def test_the_exact_sum_is_both_adapters_at_once_in_plain_peft(
    adapter_of: MakeAdapter, base: Any, tmp_path: Path, options: dict[str, Any]
) -> None:
    one, other = adapter_of("one", seed=1), adapter_of("other", seed=2, **options)
    merged = merge_adapters([one, other], tmp_path / "sum")
    ours = logits_of(load_model(merged, dtype="float32", device="cpu"))
    untuned = logits_of(base)
    assert float((ours - untuned).abs().max()) > 1e-2
    theirs = logits_of(both(base, one, other))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["svd", "linear", "ties", "dare_linear", "dare_ties"])
def test_other_sums_are_those_of_peft(adapter_of: MakeAdapter, base: Any, tmp_path: Path, method: Any) -> None:
    one, other = adapter_of("one", seed=1), adapter_of("other", seed=2)
    density = 0.4 if method not in ("svd", "linear") else None
    merged = merge_adapters([one, other], tmp_path / "sum", weights=[0.7, -0.4], method=method, density=density, seed=3)
    model = both(base, one, other)
    torch.manual_seed(3)
    model.base_model.add_weighted_adapter(
        ["one", "other"], [0.7, -0.4], "sum", combination_type=method, density=density
    )
    model.base_model.set_adapter("sum")
    found = load_model(merged, dtype="float32", device="cpu")
    ours = {name: layer for name, layer in found.named_modules() if hasattr(layer, "lora_A")}
    assert len(ours) > 4
    # What is drawn is drawn layer by layer: in the order of the names here, of the modules in peft.
    if not method.startswith("dare"):
        torch.testing.assert_close(logits_of(found), logits_of(model), rtol=1e-4, atol=1e-5)
    for name, layer in model.named_modules():
        if name in ours and not method.startswith("dare"):
            wanted = layer.get_delta_weight("sum")
            assert (ours[name].get_delta_weight("default") - wanted).norm() <= 1e-4 * wanted.norm()
    if method.startswith("dare"):
        first = next(iter(sorted(ours)))
        kept = (ours[first].lora_A["default"].weight != 0).float().mean()
        assert 0.3 < float(kept) < 0.9
        again = merge_adapters(
            [one, other], tmp_path / "again", weights=[0.7, -0.4], method=method, density=density, seed=3
        )
        files = [Path(str(model.adapter)) / "adapter_model.safetensors" for model in (merged, again)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_the_folder_says_what_it_was_made_of(adapter_of: MakeAdapter, tmp_path: Path, tiny_model: Path) -> None:
    one, other = adapter_of("one", seed=1), adapter_of("other", seed=2, r=2)
    merged = merge_adapters([one, other], tmp_path / "sum", weights=[1.0, 0.5])
    folder = tmp_path / "sum"
    manifest = verify(folder)
    assert (manifest["kind"], manifest["base"]) == ("adapter", tiny_model.name)
    assert manifest["merged"]["method"] == "cat"
    assert manifest["merged"]["weights"] == [1.0, 0.5]
    assert [part["name"] for part in manifest["merged"]["adapters"]] == ["one", "other"]
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["r"], config["lora_alpha"], config["use_rslora"]) == (6, 6, False)
    assert "1 x one, 0.5 x other" in (folder / "README.md").read_text(encoding="utf-8")
    assert merged.id == str(tiny_model)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"weights": [1.0]}, SpecError, "1 numbers for 2 adapters"),
        ({"weights": [0.0, 0.0]}, SpecError, "not all of them 0"),
        ({"method": "mean"}, SpecError, "none of cat, svd, linear"),
        ({"density": 0.5}, SpecError, "density is for dare_linear, dare_ties, ties"),
        ({"rank": 4}, SpecError, "rank is for method='svd'"),
        ({"method": "linear", "other": {"r": 2}}, ModelError, "have the ranks 4, 2"),
        ({"other": {"use_dora": True}}, ModelError, "magnitudes of DoRA"),
        ({"other": {"trainable_token_indices": [1, 2]}}, ModelError, "such as those of added tokens"),
    ],
    ids=str,
)
def test_what_has_no_sum_is_refused(
    adapter_of: MakeAdapter, tmp_path: Path, change: dict[str, Any], error: type[Exception], said: str
) -> None:
    options = dict(change)
    one, other = adapter_of("one", seed=1), adapter_of("other", seed=2, **options.pop("other", {}))
    with pytest.raises(error, match=said):
        merge_adapters([one, other], tmp_path / "sum", **options)
    assert not (tmp_path / "sum").exists()


def test_different_bases_and_folders_in_use_are_refused(
    adapter_of: MakeAdapter, tmp_path: Path, tiny_model: Path
) -> None:
    import shutil

    copy = Path(shutil.copytree(tiny_model, tmp_path / "another"))
    one, other = adapter_of("one", seed=1), adapter_of("other", seed=2, base=copy)
    with pytest.raises(ModelError, match="updates of different weights have no sum"):
        merge_adapters([one, other], tmp_path / "sum")
    with pytest.raises(ModelError, match="has no adapter"):
        merge_adapters([one, one.replace(adapter=None)], tmp_path / "sum")
    with pytest.raises(SpecError, match="there is one"):
        merge_adapters([one], tmp_path / "sum")
    with pytest.raises(SpecError, match="isn't empty"):
        merge_adapters([one, one], tmp_path)
