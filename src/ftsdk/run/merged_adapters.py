"""`merge_adapters`: several LoRA adapters of one base become one, a plain LoRA that any tool opens."""

from __future__ import annotations

import json
import math
import shutil
import uuid
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ftsdk.errors import ModelError, SpecError
from ftsdk.models import base_name, model_identity, read_json
from ftsdk.models.adapter_files import check_adapter
from ftsdk.models.adapter_sums import MERGE_METHODS, PRUNING_METHODS, MergeMethod, Update, add_up
from ftsdk.models.export.adapter_weights import AdapterPlan, read_adapter
from ftsdk.models.headers import read_safetensors_header
from ftsdk.models.torch_stack import late_imports
from ftsdk.run.run import Run
from ftsdk.runfolder.manifest import seal
from ftsdk.spec import Model

if TYPE_CHECKING:
    from ftsdk.models.export.adapter_weights import LowRank

__all__ = ["merge_adapters"]

_DENSITY = 0.2
"""Of peft's guide to model merging, and of the TIES paper (https://arxiv.org/abs/2306.01708)."""
_NOT_COPIED = frozenset({"adapter_config.json", "adapter_model.safetensors", "manifest.json", "README.md"})
_PREFIX = "base_model.model."


def merge_adapters(
    adapters: Sequence[Run | Model | str],
    into: str | Path,
    *,
    weights: Sequence[float] | None = None,
    method: MergeMethod = "cat",
    rank: int | None = None,
    density: float | None = None,
    seed: int = 42,
) -> Model:
    """Add up LoRA adapters of one base, and write the sum as one: `merge_adapters([run_a, run_b], "both")`.

    Whether the sum does what its parts do has to be measured: evaluate it on the data of each.

    Args:
        adapters: At least two: runs or their refs, or models with an `adapter`.
        into: A new or empty folder.
        weights: What each counts, also below zero. None: 1 each with `"cat"` and `"svd"`, as if both were loaded at
            once.
        method: `"cat"` is the exact sum, of a rank that is the sum of the ranks; `"svd"` is the closest one of a lower
            rank. `"linear"`, `"ties"`, `"dare_linear"` and `"dare_ties"` are those of peft: they add up the matrices of
            adapters of equal rank one by one, which is a rough approximation.
        rank: Of `"svd"`: the rank of the result. None: the largest of the adapters.
        density: Of `"ties"` and both `"dare"`: the share of the numbers that is kept. None: 0.2.
        seed: Of both `"dare"`, which draw what they keep.

    Returns:
        The base with the merged adapter: to evaluate, export, serve, or train further.

    Raises:
        SpecError: An option is invalid, or the folder isn't empty.
        ModelError: One of them has no LoRA, they have different bases or chat templates, or train more than LoRA's
            matrices.
        RunNotReadyError: A run hasn't succeeded.
        MissingExtraError: The extra `local` isn't installed.
    """
    target = Path(into).expanduser()
    models = [_model_of(one) for one in adapters]
    counted = _checked(models, target, weights, method, rank, density)
    plans = [_plan_of(model) for model in models]
    _check_bases(models)
    if method not in ("cat", "svd"):
        _check_ranks(models, plans, method)
    keeps = _DENSITY if density is None else density
    most = rank or max(one.rank for plan in plans for one in plan.low_rank.values())
    tensors = _sums(plans, counted, method, rank=most, density=keeps, seed=seed)
    made: dict[str, Any] = {"method": method, "weights": counted}
    if method == "svd":
        made["rank"] = most
    if method in PRUNING_METHODS:
        made["density"] = keeps
    if method.startswith("dare"):
        made["seed"] = seed
    made["adapters"] = [
        {
            "name": Path(str(model.adapter)).name,
            "run": one.ref if isinstance(one, Run) else None,
            "sha256": _digest(plan),
        }
        for one, model, plan in zip(adapters, models, plans, strict=True)
    ]
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    draft.mkdir(parents=True)
    try:
        _write(draft, models, plans, tensors, made)
        if target.is_dir():
            target.rmdir()
        draft.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return models[0].replace(adapter=str(target.resolve()))


def _model_of(one: Run | Model | str) -> Model:
    if isinstance(one, str):
        one = Run.open(one)
    return one.model() if isinstance(one, Run) else one


def _checked(
    models: Sequence[Model],
    target: Path,
    weights: Sequence[float] | None,
    method: str,
    rank: int | None,
    density: float | None,
) -> list[float]:
    """Return the weights, once all options are found to be possible."""
    if len(models) < 2:
        raise SpecError(f"merge_adapters takes at least two adapters; there {'is one' if models else 'are none'}")
    if method not in MERGE_METHODS:
        raise SpecError(f"method={method!r} is none of {', '.join(MERGE_METHODS)}")
    counted = [1.0] * len(models) if weights is None else [float(weight) for weight in weights]
    if weights is None and method not in ("cat", "svd"):
        counted = [1.0 / len(models)] * len(models)
    if len(counted) != len(models):
        raise SpecError(f"weights has {len(counted)} numbers for {len(models)} adapters: write one for each")
    if not all(map(math.isfinite, counted)) or not any(counted):
        raise SpecError(f"weights={counted} must be finite numbers, and not all of them 0")
    if rank is not None and (method != "svd" or rank < 1):
        raise SpecError("rank is for method='svd', and at least 1: the rank of the others follows from the adapters")
    if density is not None and (method not in PRUNING_METHODS or not 0 < density <= 1):
        raise SpecError(f"density is for {', '.join(sorted(PRUNING_METHODS))}, above 0 and at most 1")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SpecError(f"{target} isn't empty: name a new folder")
    return counted


def _plan_of(model: Model) -> AdapterPlan:
    """Return what an adapter changes, and refuse what isn't LoRA's two matrices."""
    if model.adapter is None:
        raise ModelError(f"{model} has no adapter: all of its weights were trained, or none. Only LoRA can be merged")
    check_adapter(model.adapter)
    header = read_safetensors_header(Path(model.adapter).expanduser() / "adapter_model.safetensors")
    # Whether they are weights of the base is seen when the adapter is loaded.
    stems = {name.removeprefix(_PREFIX).partition(".lora_")[0] for name in header.shapes if ".lora_" in name}
    others = {name.removeprefix(_PREFIX) for name in header.shapes}
    plan = read_adapter(model.adapter, {*(f"{stem}.weight" for stem in stems), *others, *_row_weights(others)})
    more = None
    if plan.rows or plan.replaced:
        more = "rows or whole weights beside its low-rank matrices, such as those of added tokens"
    elif any(one.magnitude is not None for one in plan.low_rank.values()):
        more = "the magnitudes of DoRA"
    elif any(one.is_embedding for one in plan.low_rank.values()):
        more = "a low-rank update of the embedding"
    if more is not None or not plan.low_rank:
        raise ModelError(
            f"the adapter {model.adapter} trains {more or 'nothing'}, which has no sum with another's. Merge it "
            "into its base instead: model.export(folder, to='merged')"
        )
    return plan


def _row_weights(names: set[str]) -> set[str]:
    parts = (name.partition(".token_adapter.")[0].removesuffix(".trainable_tokens_delta") for name in names)
    return {f"{part}.weight" for part in parts}


def _check_bases(models: Sequence[Model]) -> None:
    first = models[0]
    wanted = model_identity(first.replace(adapter=None, chat_template=None))
    for other in models[1:]:
        if model_identity(other.replace(adapter=None, chat_template=None)) != wanted:
            raise ModelError(
                f"{first.adapter} is an adapter of {first.replace(adapter=None)}, and {other.adapter} one of "
                f"{other.replace(adapter=None)}: updates of different weights have no sum"
            )
        if other.chat_template != first.chat_template or _template(other) != _template(first):
            raise ModelError(
                f"{first.adapter} and {other.adapter} were trained with different chat templates, and the merged model "
                "would be asked with one of them. Train both with the same one: Model(chat_template=...)"
            )


def _template(model: Model) -> str | None:
    file = Path(str(model.adapter)).expanduser() / "chat_template.jinja"
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _check_ranks(models: Sequence[Model], plans: Sequence[AdapterPlan], method: str) -> None:
    for name in sorted({name for plan in plans for name in plan.low_rank}):
        ranks = [plan.low_rank[name].rank for plan in plans if name in plan.low_rank]
        if len(set(ranks)) > 1:
            raise ModelError(
                f"method={method!r} adds up matrices one by one, and those of {name.removesuffix('.weight')} have the "
                f"ranks {', '.join(map(str, ranks))} in {', '.join(str(model.adapter) for model in models)}: write "
                "method='cat' or 'svd'"
            )


def _sums(
    plans: Sequence[AdapterPlan],
    weights: Sequence[float],
    method: MergeMethod,
    *,
    rank: int,
    density: float,
    seed: int,
) -> dict[str, tuple[Any, Any]]:
    """Return the matrices of each changed weight, by its name in the base."""
    with late_imports("merging adapters"):
        import torch
        from safetensors import safe_open
    found: dict[str, tuple[Any, Any]] = {}
    files: list[Any] = [safe_open(plan.weights, framework="pt") for plan in plans]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name in sorted({name for plan in plans for name in plan.low_rank}):
            updates: list[Update] = []
            for plan, file, weight in zip(plans, files, weights, strict=True):
                one: LowRank | None = plan.low_rank.get(name)
                if one is not None:
                    down, up = file.get_tensor(one.a), file.get_tensor(one.b)
                    updates.append(Update(down=down, up=up, factor=weight * one.scale))
            if len({(one.down.shape[1], one.up.shape[0]) for one in updates}) > 1:
                raise ModelError(f"the adapters have matrices of different sizes for {name}: their bases differ")
            found[name] = add_up(updates, method, rank=rank, density=density)
    return found


def _write(
    into: Path,
    models: Sequence[Model],
    plans: Sequence[AdapterPlan],
    tensors: Mapping[str, tuple[Any, Any]],
    made: Mapping[str, Any],
) -> None:
    from safetensors.torch import save_file

    first = plans[0].folder
    for file in sorted(first.iterdir()):
        if file.is_file() and file.name not in _NOT_COPIED:
            shutil.copyfile(file, into / file.name)
    modules = {name.removesuffix(".weight"): down.shape[0] for name, (down, _) in tensors.items()}
    largest = max(modules.values())
    stated = [read_json(plan.folder / "adapter_config.json", str(plan.folder)) for plan in plans]
    fewer = {name: rank for name, rank in sorted(modules.items()) if rank != largest}
    config = {
        **{key: stated[0].get(key) for key in ("base_model_name_or_path", "revision", "fan_in_fan_out", "task_type")},
        "peft_type": "LORA",
        "inference_mode": True,
        # A scale of 1, whatever the adapters have: theirs, which may be alpha / sqrt(rank), is in the matrices.
        "r": largest,
        "lora_alpha": largest,
        "rank_pattern": fewer,
        "alpha_pattern": fewer,
        "use_rslora": False,
        "use_dora": False,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": _targets(stated, modules),
    }
    (into / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    file = {
        f"{_PREFIX}{name.removesuffix('.weight')}.lora_{side}.weight": matrix.contiguous()
        for name, pair in tensors.items()
        for side, matrix in zip("AB", pair, strict=True)
    }
    save_file(file, into / "adapter_model.safetensors", metadata={"format": "pt"})
    base = base_name(models[0])
    sources = ", ".join(
        f"{weight:g} x {Path(str(m.adapter)).name}" for weight, m in zip(made["weights"], models, strict=True)
    )
    card = f"---\nlibrary_name: peft\n---\n# A sum of adapters of {base}\n\nMade by `ftsdk.merge_adapters`, "
    (into / "README.md").write_text(card + f'method="{made["method"]}": {sources}.\n', encoding="utf-8")
    versions = {name: version(name) for name in ("ftsdk", "torch", "peft")}
    seal(into, {"kind": "adapter", "base": base, "merged": dict(made), "versions": versions})


def _targets(stated: Sequence[Mapping[str, Any]], modules: Mapping[str, int]) -> list[str]:
    """Return short names where they mean the same layers in each adapter, else whole names."""
    lists = [one.get("target_modules") for one in stated]
    is_simple = all(isinstance(names, list) for names in lists) and not any(
        one.get("layers_to_transform") is not None for one in stated
    )
    if is_simple and not any("." in name for names in lists for name in cast("list[str]", names)):
        return sorted({name.rpartition(".")[2] for name in modules})
    return sorted(modules)


def _digest(plan: AdapterPlan) -> str:
    from ftsdk.models.identity import file_sha256

    return file_sha256(plan.weights)
